"""`autoscaler demo` as a stranger runs it: in a process of its own, watched from outside."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from docker.api.client import APIClient

from autoscaler.configuration.loading import load

CHAPTERS = ["from_zero", "follow", "update", "rollback", "heal", "to_zero"]
START = "from autoscaler.cli.main import main; main()"
MOST_S = 400

pytestmark = pytest.mark.timeout(MOST_S)


class Demo:
    """A running demo whose temporary directory lies in a directory of the test's own, the mark of its processes."""

    def __init__(self, place: Path, *options: str) -> None:
        self.place = place
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AUTOSCALER_")}
        self._talk = (place / "talk").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, "demo", "--json", *options],
            stdout=subprocess.PIPE,
            stderr=self._talk,
            env=environ | {"TMPDIR": str(place)},
            text=True,
        )

    def talk(self) -> str:
        return (self.place / "talk").read_text()

    def await_talk(self, words: str, seconds: float = 240.0) -> None:
        until = time.monotonic() + seconds
        while words not in self.talk():
            assert self.process.poll() is None, self.talk()
            assert time.monotonic() < until, f"{words!r} was not said: {self.talk()}"
            time.sleep(0.1)

    def end(self) -> tuple[int, dict[str, Any]]:
        out, _ = self.process.communicate(timeout=MOST_S)
        assert len(out.splitlines()) == 1, out + self.talk()
        return self.process.returncode, json.loads(out)

    def processes(self) -> list[psutil.Process]:
        """All processes that the demo made and that still are, however they came to be."""
        mark = f"{self.place}/autoscaler-demo-"
        return [p for p in psutil.process_iter(["cmdline"]) if any(mark in word for word in p.info["cmdline"] or [])]

    def member(self) -> psutil.Process:
        """The `autoscaler run` of this demo."""
        (member,) = [process for process in self.processes() if "run" in process.info["cmdline"]]
        return member

    def leftovers(self) -> list[str]:
        return [str(path) for path in self.place.glob("autoscaler-demo-*")] + [str(p) for p in self.processes()]

    def close(self) -> None:
        for process in [*self.processes(), psutil.Process(self.process.pid)] if self.process.poll() is None else []:
            process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._talk.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    running: list[Demo] = []

    def begin(*options: str) -> Demo:
        running.append(Demo(tmp_path, *options))
        return running[-1]

    yield begin
    for demo in running:
        demo.close()


def told(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {chapter["name"]: chapter for chapter in report["chapters"]}


def assert_whole_story(demo: Demo, code: int, report: dict[str, Any]) -> None:
    assert report["ok"], demo.talk()
    assert code == 0
    assert [chapter["name"] for chapter in report["chapters"]] == CHAPTERS
    chapters = told(report)
    assert all(chapter["ok"] for chapter in report["chapters"])
    assert all(chapters[name]["failed_requests"] == 0 for name in ("follow", "update", "rollback"))
    assert all(chapters[name]["requests"] > 20 for name in ("follow", "update", "rollback"))
    assert all(chapter["events"] > 0 and chapter["seconds"] > 0 for chapter in report["chapters"])
    assert (chapters["follow"]["replicas_peak"], chapters["follow"]["replicas_end"]) == (5, 3)
    assert chapters["update"]["verdict"] == "applied"
    assert chapters["rollback"]["verdict"] == "rolled_back"
    assert chapters["rollback"]["reason"]["text"]
    assert report["verified_chain"]
    assert report["replicas_created"] >= 10  # five for the load, three new ones, a broken one, one healed
    assert set(report["active_tasks_max"]) == {"deploy", "monitor", "rollback", "schedule", "scale", "update"}
    assert demo.leftovers() == []


def test_the_whole_story_is_seen_on_real_replicas_and_decided_again_event_for_event(start: Any) -> None:
    demo = start("--keep")
    code, report = demo.end()
    (kept,) = demo.place.glob("autoscaler-demo-*")
    (policy,) = load(kept / "autoscaler.yaml", {}).configuration.services["shop"].policies
    assert policy.use == "quantile_headroom"
    replay = [sys.executable, "-c", START, "-c", str(kept / "autoscaler.yaml"), "replay", "--from", "1h", "--json"]
    found = json.loads(subprocess.run(replay, capture_output=True, text=True, check=True).stdout)
    assert (found["same"], found["differences"]) == (True, [])
    assert found["decisions"]["now"] == found["decisions"]["then"] >= 6  # up, up, down, a version, back, to zero
    assert demo.processes() == []
    shutil.rmtree(kept)
    assert_whole_story(demo, code, report)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_an_interrupted_story_leaves_nothing_behind(start: Any, number: signal.Signals) -> None:
    demo = start()
    demo.await_talk("shop.s1.r1.2 has started")
    demo.process.send_signal(number)
    code, report = demo.end()
    assert code == 130
    assert not report["ok"]
    assert told(report)["follow"]["why"] == "interrupted"
    assert demo.leftovers() == []


def test_a_killed_autoscaler_fails_the_chapter_it_was_in(start: Any) -> None:
    demo = start()
    demo.await_talk("shop.s1.r1.2 has started")
    demo.member().kill()
    code, report = demo.end()
    assert code == 1
    assert not report["ok"]
    assert told(report)["from_zero"]["ok"]
    assert not told(report)["follow"]["ok"]
    assert "the autoscaler itself ended by signal SIGKILL" in told(report)["follow"]["why"]
    assert report["why"].startswith("chapter follow: ")
    assert [name for name in CHAPTERS[2:] if told(report)[name]["ok"]] == []
    assert demo.leftovers() == []


def test_a_kept_directory_holds_a_configuration_like_anybodys(start: Any) -> None:
    demo = start("--keep")
    demo.await_talk("shop.s0.r1.1 has started")
    demo.process.send_signal(signal.SIGINT)
    demo.end()
    (kept,) = demo.place.glob("autoscaler-demo-*")
    assert list(load(kept / "autoscaler.yaml", {}).configuration.services) == ["shop"]
    assert demo.processes() == []


def test_an_image_without_docker_is_wrong_usage(start: Any) -> None:
    demo = start("--image", "python:3.12-slim")
    assert demo.process.wait(60) == 2
    assert "--docker" in demo.talk()
    assert demo.leftovers() == []


async def names_on(broker: str) -> list[str]:
    """Every topic and group of the broker."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        return [*await admin.list_topics(), *(group for group, *_ in await admin.list_consumer_groups())]
    finally:
        await admin.close()


async def test_the_story_is_the_same_on_kafka_and_docker(start: Any, kafka_broker: Any, docker_host: str) -> None:
    demo = start("--kafka", str(kafka_broker), "--docker", docker_host)
    code, report = await asyncio.to_thread(demo.end)
    assert_whole_story(demo, code, report)
    assert (report["stream"], report["target"]) == ("kafka", "docker")
    assert [name for name in await names_on(str(kafka_broker)) if name.startswith("demo-")] == []
    engine = APIClient(base_url=docker_host, version="auto")
    try:
        assert engine.containers(all=True, filters={"name": "demo-"}) == []
        assert [image for image in engine.images() if str(image["RepoTags"]).startswith("['demo-")] == []
    finally:
        engine.close()
