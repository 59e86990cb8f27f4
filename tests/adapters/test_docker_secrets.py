"""Secrets inside real containers: files that the container's user alone reads, and nobody else sees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.core.actions import Resolve
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.world import ObservedReplica
from tests.contract.arena_docker import CLUSTER_LABEL, DockerArena
from tests.contract.replicas import Asks
from tests.parts import images

pytestmark = pytest.mark.timeout(60)

CANARY = "canary-9b2c"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A secret's file."""
    (tmp_path / "key").write_text(f"{CANARY}\n", encoding="utf-8")
    return tmp_path / "key"


def with_secret(spec: RevisionSpec, file: Path) -> RevisionSpec:
    return replace(spec, secrets=(("KEY", str(file)),))


def change(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


async def printed(asks: Asks, replica: ObservedReplica) -> Sequence[str]:
    ended = await asks.ended(replica.name)
    return [line.decode() async for line in asks.target.logs(ended, follow=True, tail=100)]


@pytest.mark.parametrize(("user", "number"), [("", 0), ("nobody", 65534), ("1234", 1234), ("65534:0", 65534)], ids=str)
@pytest.mark.parametrize("read_only", [False, True], ids=["", "read-only"])
async def test_a_secret_is_a_file_that_only_the_containers_user_reads(
    arena: DockerArena, asks: Asks, file: Path, user: str, number: int, *, read_only: bool
) -> None:
    script = "cat $KEY_FILE; test -w $KEY_FILE && echo writable; echo end"
    spec = replace(with_secret(arena.shell(script), file), user=user, read_only=read_only)
    running = await asks.run(spec)
    lines = await printed(asks, running)
    assert [line for line in lines if line != "writable"] == [CANARY, "end"]
    with images.engine(arena.url) as client:
        _, shown = client.get_archive(running.id, "/run/secrets/KEY")
        stream, _ = client.get_archive(running.id, "/run/secrets/KEY")
        header = b"".join(stream)[:512]
    assert shown["mode"] & 0o777 == 0o400
    assert int(header[108:115], 8) == number


async def test_nothing_that_the_engine_tells_of_a_container_holds_its_secret(
    arena: DockerArena, asks: Asks, file: Path
) -> None:
    running = await asks.run(with_secret(arena.serves(), file))
    with images.engine(arena.url) as client:
        shown = json.dumps(client.inspect_container(running.id))
        diff = json.dumps(client.diff(running.id))
        exported = b"".join(client.export(running.id))
        assert CANARY not in shown + diff
        assert CANARY.encode() not in exported
        assert "KEY_FILE=/run/secrets/KEY" in shown
        mine = client.volumes(filters={"label": f"{CLUSTER_LABEL}={arena.cluster}"})["Volumes"]
        assert len(mine) == 1
        await asks.stop(running)
        await asks.remove(running)
        assert not client.volumes(filters={"label": f"{CLUSTER_LABEL}={arena.cluster}"})["Volumes"]


async def test_what_a_hand_leaves_of_a_secret_is_removed_at_the_next_creation(
    arena: DockerArena, asks: Asks, file: Path
) -> None:
    spec = with_secret(arena.serves(), file)
    running = await asks.run(spec)
    with images.engine(arena.url) as client:
        foreign = client.create_volume(labels={CLUSTER_LABEL: "another"})["Name"]
        mine = {"label": f"{CLUSTER_LABEL}={arena.cluster}"}
        client.remove_container(running.id, force=True)
        (left,) = client.volumes(filters=mine)["Volumes"]
        await asks.run(spec, attempt=2)
        (present,) = client.volumes(filters=mine)["Volumes"]
        assert present["Name"] != left["Name"]
        client.remove_volume(foreign)


async def test_new_content_of_a_secret_does_not_run_before_it_was_accepted(
    arena: DockerArena, asks: Asks, file: Path
) -> None:
    spec = with_secret(arena.serves(), file)
    accepted = await asks.target.resolve(Resolve("web", spec))
    spec = replace(spec, secret_marks=accepted.secret_marks)
    await asks.run(spec)
    change(file, "canary-other\n")
    second = await asks.create(spec, slot=1, attempt=2)
    outcome = await asks.start(second, spec)
    assert (outcome.result, outcome.blame) == ("refused", "host")
    assert f"secret KEY: its file {file} has changed" in outcome.text
    assert "canary" not in outcome.text
    assert (await asks.shown(second.name)).condition == "created"
    again = await asks.target.resolve(Resolve("web", with_secret(arena.serves(), file)))
    assert again.secret_marks != accepted.secret_marks
    assert (await asks.start(second, replace(spec, secret_marks=again.secret_marks))).result == "done"


async def test_a_secret_without_its_file_is_refused_before_anything_is_touched(
    arena: DockerArena, asks: Asks, tmp_path: Path
) -> None:
    outcome = await asks.target.resolve(Resolve("web", with_secret(arena.unresolved(), tmp_path / "gone")))
    assert outcome.result == "refused"
    assert f"secret KEY: its file {tmp_path / 'gone'} cannot be read" in outcome.text
