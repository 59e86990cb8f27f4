"""Whatever a hand does to a container of ours is put right, and nothing foreign is touched."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from autoscaler.ports.stream import Topic
from tests.parts.images import engine
from tests.parts.relay import relay
from tests.system.grounds import DockerGround
from tests.system.installation import QUICK_UPDATE, Installation, ground_of
from tests.system.patience import eventually, throughout
from tests.system.trail import CLOCK_S, Recorded, at_rest, judge, noted, trail

pytestmark = pytest.mark.timeout(120)

NOTICED_S = 2.0
"""Longest time from a hand's deed to the successor's creation, on a machine that has other work as well."""


@pytest.fixture
async def shop(served: Callable[..., Installation]) -> Installation:
    """A service with two replicas, at rest."""
    installation = served()
    # So many deeds in one service would be answered ever more slowly.
    rules = QUICK_UPDATE | {"restart": {"attempts": 100, "delay": "200ms"}}
    installation.services = {"web": installation.service(replicas=2, update=rules)}
    await installation.open()
    installation.start()
    await at_rest(installation, "web")
    return installation


def _serving(ground: DockerGround) -> str:
    return next(replica.name for replica in ground.standing() if replica.running)


async def test_every_deed_of_a_hand_is_answered_with_a_new_replica_and_a_word_in_the_trail(shop: Installation) -> None:
    ground = ground_of(shop)
    foreign = _foreign(ground)
    deeds: list[tuple[str, Callable[[Any, str], object], tuple[str, ...]]] = [
        ("stopped", lambda client, name: client.stop(name, timeout=1), ("exited with code",)),
        (
            "removed",
            lambda client, name: client.remove_container(name, force=True),
            ("is gone", "exited with code 137"),
        ),
        ("paused", lambda client, name: client.pause(name), ("it is paused",)),
        ("renamed", lambda client, name: client.rename(name, f"{name}-old"), ("it is called",)),
        (
            "updated",
            lambda client, name: client.update_container(name, restart_policy={"Name": "always"}),
            ("is always",),
        ),
    ]
    try:
        for deed, do, words in deeds:
            before = {made.name for made in ground.made()}
            victim = _serving(ground)
            done_at = time.time()
            with engine(ground.urls[0]) as client:
                do(client, f"{ground.cluster}.{victim}")
            made = await eventually(
                f"a successor of what was {deed}",
                lambda before=before: [m for m in ground.made() if m.name not in before],
                bool,
            )
            assert made[0].at - done_at < NOTICED_S + 1.0, deed
            await noted(shop, f"a word of what was {deed}", partial(_says, words, done_at))
            await eventually(
                f"two as they were made, after one was {deed}", lambda: _whole(ground), lambda whole: whole == 2
            )
            await at_rest(shop, "web")
        await judge(shop)
        with engine(ground.urls[0]) as client:
            shown = client.inspect_container(foreign)
        assert (shown["State"]["Running"], shown["RestartCount"]) == (True, 0)
    finally:
        with engine(ground.urls[0]) as client:
            client.remove_container(foreign, force=True)


async def test_a_killed_container_is_found_by_the_event_stream_and_by_nothing_else(
    served: Callable[..., Installation], record_property: Callable[[str, object], None]
) -> None:
    shop = served()
    ground = ground_of(shop)
    revision = ground.revision("one")
    # No probe of the replica comes in the time of the test, nor does the look at the whole host each minute.
    shop.services = {"web": shop.service(revision=revision | {"health": revision["health"] | {"every": "1h"}})}
    with relay(ground.urls[0]) as before:
        shop.extra = {
            "targets": {"here": ground.target() | {"hosts": [{"name": "h1", "url": f"tcp://127.0.0.1:{before.port}"}]}}
        }
        await shop.open()
        shop.start()
        await at_rest(shop, "web")
        victim = _serving(ground)
        ground.kill(victim)
        told = await noted(shop, "the death", lambda r: "exited with code 137" in r.data["reason"]["text"])
        await shop.wanted("web", 1, revision=1)
        await at_rest(shop, "web")
        await judge(shop)
    (died,) = [e for e in ground.watch.of(ground.cluster, "die") if e.name.endswith(victim)]
    record_property("from the engine's die event to our record, in seconds", round(told.at - died.at, 3))
    asked = [head for at, head in before.heads if died.at - CLOCK_S <= at <= told.at + CLOCK_S]
    assert [head for head in asked if head.startswith("GET ") and "/containers/json" not in head], "it was looked at"
    listed = [head for head in asked if "/containers/json" in head and "limit=1" not in head]
    assert not listed, "the host was not listed"


def _says(words: tuple[str, ...], since: float, recorded: Recorded) -> bool:
    return recorded.at >= since - 0.1 and any(word in recorded.data["reason"]["text"] for word in words)


def _whole(ground: DockerGround) -> int:
    """How many containers of ours there are, if all run under a name of ours and no hand's policy."""
    with engine(ground.urls[0]) as client:
        found = client.containers(all=True, filters={"label": f"io.eventscaler.cluster={ground.cluster}"})
        shown = [client.inspect_container(summary["Id"]) for summary in found]
    as_made = [
        s for s in shown
        if s["State"]["Status"] == "running" and s["HostConfig"]["RestartPolicy"]["Name"] == "no"
        and not s["Name"].endswith("-old")
    ]  # fmt: skip
    return len(as_made) if len(as_made) == len(shown) else -len(shown)


def _foreign(ground: DockerGround) -> str:
    with engine(ground.urls[0]) as client:
        made = client.create_container("t/stubborn:1", name=f"{ground.cluster}.web.s0.r9.1")
        client.start(made["Id"])
        return str(made["Id"])


async def test_a_crash_loop_after_the_update_is_answered_ever_more_slowly(served: Callable[..., Installation]) -> None:
    installation = served()
    rules = QUICK_UPDATE | {"restart": {"attempts": 1, "delay": "200ms", "window": "10m"}}
    installation.services = {"web": installation.service(replicas=1, update=rules)}
    await installation.open()
    installation.start()
    await at_rest(installation, "web")
    ground = ground_of(installation)
    for _ in range(2):
        ground.kill(_serving(ground))
        if len(ground.made()) < 2:
            await installation.wanted("web", 1, revision=1)
            await at_rest(installation, "web")
    made = len(ground.made())
    # The second death in the window is past the attempts: its slot waits for 30 s.
    await throughout("no further container", ground.made, lambda seen: len(seen) <= made + 1, for_s=3.0)


async def test_a_secret_is_nowhere_but_in_its_containers_file_and_new_content_is_a_new_revision(
    served: Callable[..., Installation],
) -> None:
    installation = served()
    canary, newer = "canary-7f3a91", "canary-8e2b70"
    secret = installation.directory / "db"
    secret.write_text(f"{canary}\n")
    revision = installation.ground.revision("one") | {"secrets": {"DB_PASSWORD": "db"}}
    installation.services = {"web": installation.service(replicas=1, revision=revision)}
    await installation.open()
    member = installation.start()
    await at_rest(installation, "web")
    ground = ground_of(installation)
    await installation.deploy("web", "two", "d-2")
    await installation.wanted("web", 1, revision=2)
    await at_rest(installation, "web")
    secret.write_text(f"{newer}\n")
    changed_at = time.time()
    ground.kill(_serving(ground))
    await noted(installation, "a word of the change", partial(_says, (f"{secret} has changed",), changed_at))
    await installation.deploy("web", "two", "d-3")
    await installation.wanted("web", 1, revision=3)
    await at_rest(installation, "web")
    with engine(ground.urls[0]) as client:
        (listed,) = client.containers(filters={"label": f"io.eventscaler.cluster={ground.cluster}"})
        shown = client.inspect_container(listed["Id"])
        events = client.events(since=0, until=int(time.time()), decode=True)
        told = [event for event in events if ground.cluster in json.dumps(event)]
        stream, _ = client.get_archive(listed["Id"], "/run/secrets/DB_PASSWORD")
        assert newer.encode() in b"".join(stream), "the container has it"
    assert told
    assert "canary" not in json.dumps([shown, told])
    for topic in Topic:
        async for _, message in installation.client.read(topic):
            written = (message.key or b"") + (message.value or b"") + repr(message.headers).encode()
            assert b"canary" not in written
    assert len(await trail(installation.client, "web")) > 5
    assert "canary" not in member.log.read_text()
    for command in (("check", "--show"), ("status", "--json"), ("explain", "web", "--json"), ("audit", "web")):
        code, out, said = await installation.call(*command)
        assert code == 0, said
        assert "canary" not in out + said, command
    await judge(installation)
