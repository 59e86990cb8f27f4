"""What only the embedded stream promises: one owner, whole appends under kill -9, no growth without end."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from autoscaler.adapters.embedded import log
from autoscaler.adapters.embedded.bell import Bell, bell_directory, ring_all
from autoscaler.adapters.embedded.member import EmbeddedMember
from autoscaler.adapters.topics import topic_name
from autoscaler.errors import ConfigurationError, StreamError
from autoscaler.ports.stream import Append, Outgoing, Topic
from tests.adapters.stream_process import number_of, numbered
from tests.adapters.streams_in_processes import ROOT, member_process
from tests.contract.stream_kinds import (
    PARTITIONS,
    EmbeddedStream,
    Recorder,
    collect,
    everything,
    own_all,
)


@pytest.fixture
async def stream(tmp_path: Path) -> AsyncIterator[EmbeddedStream]:
    opened = EmbeddedStream(tmp_path)
    await opened.set_up()
    yield opened
    await opened.close()


def arguments(stream: EmbeddedStream, *more: str) -> tuple[str, ...]:
    return ("embedded", str(stream.path), stream.settings.prefix, stream.cluster, "m1", *more)


async def test_a_second_owner_is_refused_with_the_pid_of_the_first(stream: EmbeddedStream) -> None:
    async with member_process(*arguments(stream)) as first:
        await first.says("owns")
        second = stream.member()
        with pytest.raises(StreamError, match=f"owned by process {first.pid} "):
            await second.open(Recorder())
        await first.kill()
        await own_all(second)


async def test_an_observer_owns_a_ledger_of_its_own_and_reads_the_live_inputs(
    stream: EmbeddedStream, tmp_path: Path
) -> None:
    live, client = stream.member(), stream.client()
    await own_all(live)
    await live.append(numbered(0, 1))
    watching = EmbeddedStream(tmp_path)
    object.__setattr__(watching.settings, "prefix", "autoscaler.observe")
    observer = watching.member()
    _, restored = await own_all(observer)
    await client.open()

    await client.publish(Topic.METRICS, b"web", b"v")

    assert not restored[0].messages
    assert await collect(live, 1)
    assert await collect(observer, 1)
    await observer.append(numbered(0, 2))
    assert [number_of(message.value) for message in await everything(client, Topic.AUDIT)] == [1]
    await watching.close()


async def test_kill_9_in_the_middle_of_appends_leaves_whole_ones(stream: EmbeddedStream) -> None:
    client = stream.client()
    await client.open()
    seen = 0
    for turn in range(4):
        async with member_process(*arguments(stream, "0")) as process:
            await process.says("appended")
            await asyncio.sleep(0.05 * (turn + 1))
            await process.kill()
        said = [int(line.split()[1]) for line in process.lines if line.startswith("appended")]

        audit = [number_of(message.value) for message in await everything(client, Topic.AUDIT, 0)]
        state = [number_of(message.value) for message in await everything(client, Topic.STATE, 0)]

        assert state[0::2] == state[1::2] == audit
        assert audit[seen : seen + len(said)] == said
        assert len(audit) - seen <= len(said) + 1
        seen = len(audit)


async def test_another_process_is_heard_at_once(stream: EmbeddedStream) -> None:
    member = stream.member()
    await own_all(member)
    await member.poll(0.1)
    program = (
        "import asyncio, sys, time\n"
        "from pathlib import Path\n"
        "from autoscaler.adapters.embedded.client import EmbeddedClient\n"
        "from autoscaler.configuration.settings import StreamSettings\n"
        "from autoscaler.ports.stream import Topic\n"
        "async def main():\n"
        "    client = EmbeddedClient(StreamSettings(path=Path(sys.argv[1]), partitions=3), 'c')\n"
        "    await client.open()\n"
        "    print(time.monotonic())\n"
        "    await client.publish(Topic.CONTROL, b'web', b'pause')\n"
        "    await client.close()\n"
        "asyncio.run(main())\n"
    )
    emitting = asyncio.create_task(
        asyncio.to_thread(subprocess.check_output, [sys.executable, "-c", program, str(stream.path)], cwd=ROOT)
    )

    await collect(member, 1)

    heard_at = time.monotonic()
    assert heard_at - float(await emitting) < 0.4


async def test_without_named_pipes_the_owner_looks_by_itself(stream: EmbeddedStream) -> None:
    bell_directory(stream.path).write_text("no directory")
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()

    await client.publish(Topic.CONTROL, b"web", b"v")

    assert await collect(member, 1, seconds=5.0)


async def test_pipes_of_the_dead_are_removed_and_nothing_is_left_behind(tmp_path: Path) -> None:
    database = tmp_path / "stream.db"
    bell = Bell(database)
    bell.hang()
    os.mkfifo(bell_directory(database) / "1-0")

    await asyncio.to_thread(ring_all, database)

    assert await bell.wait(1.0)
    assert len(list(bell_directory(database).iterdir())) == 1
    bell.unhang()
    assert not bell_directory(database).exists()


async def test_a_full_database_refuses_an_append_whole_and_takes_the_next(stream: EmbeddedStream) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()

    def limit(pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    connection = await member._writer.run(lambda found: found, "look inside")  # type: ignore[attr-defined]
    used = await member._writer.run(  # type: ignore[attr-defined]
        lambda found: found.execute("PRAGMA page_count").fetchone()[0], "look inside"
    )
    await member._writer.run(lambda _: limit(used + 2), "fill")  # type: ignore[attr-defined]

    with pytest.raises(StreamError, match="full") as raised:
        await member.append(numbered(0, 1, size=100_000))
    await member._writer.run(lambda _: limit(1_000_000), "make room")  # type: ignore[attr-defined]
    await member.append(numbered(0, 2, size=100_000))

    assert raised.value.outcome == "unavailable"
    assert [number_of(message.value) for message in await everything(client, Topic.AUDIT)] == [2]


async def test_the_state_keeps_the_latest_of_each_key_and_the_recent_ones(stream: EmbeddedStream) -> None:
    member = stream.member()
    await own_all(member)
    await member.append(Append(0, (Outgoing(Topic.STATE, b"old", b"kept"), Outgoing(Topic.STATE, b"gone", None)), {}))
    for number in range(15):
        await member.append(Append(0, tuple(Outgoing(Topic.STATE, b"k", b"%d" % number) for _ in range(100)), {}))

    await keep_house(stream, "UPDATE messages SET at = at")

    client = stream.client()
    await client.open()
    kept = await everything(client, Topic.STATE, 0)
    assert (kept[0].key, kept[0].value) == (b"old", b"kept")
    assert b"gone" not in [message.key for message in kept]
    assert len(kept) == log.RECENT + 1
    assert {message.key: message.value for message in (await member.take_over(0)).messages} == {
        b"old": b"kept",
        b"k": b"14",
    }


async def test_retention_removes_old_messages_and_gives_no_offset_twice(stream: EmbeddedStream) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    places = [await client.publish(Topic.METRICS, b"web", b"v") for _ in range(3)]

    await keep_house(stream, "UPDATE messages SET at = 0; UPDATE streams SET at = 0")

    partition = places[0].partition
    assert await everything(client, Topic.METRICS) == []
    restored = await member.take_over(partition)
    assert restored.beginnings[Topic.METRICS] == restored.ends[Topic.METRICS] == 3
    assert (await client.publish(Topic.METRICS, b"web", b"v")).offset == 3


async def keep_house(stream: EmbeddedStream, first: str) -> None:
    """Change something and keep house, on a connection of our own."""

    def work() -> None:
        connection = sqlite3.connect(stream.path, isolation_level=None)
        for statement in first.split("; "):
            connection.execute(statement)
        names = {role: topic_name(stream.settings.prefix, role) for role in Topic}
        streams, _, _ = log.prepare(connection, names, PARTITIONS, exact=True)
        log.keep_house(connection, streams)
        connection.close()

    await asyncio.to_thread(work)


async def test_a_missing_directory_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    stream = EmbeddedStream(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match=r"stream\.path: .*nowhere does not exist"):
        await EmbeddedMember(stream.settings, "c").open(Recorder())


async def test_several_processes_may_make_the_file_at_the_same_moment(tmp_path: Path) -> None:
    stream = EmbeddedStream(tmp_path)
    clients = [stream.client() for _ in range(12)]

    await asyncio.gather(*(client.open() for client in clients))
    await asyncio.gather(*(client.publish(Topic.CONTROL, b"web", b"v") for client in clients))

    assert sum((await clients[0].ends(Topic.CONTROL)).values()) == len(clients)
    await stream.close()
