"""A member in a process of its own, for the tests that kill it: takes over what it gets, appends, says what it did.

``python -m tests.adapters.stream_process KIND PLACE PREFIX CLUSTER MEMBER [PARTITION]``; with a partition it appends to
that one without end, each time two state records and an audit record of one number.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from contextlib import suppress
from pathlib import Path

from autoscaler.adapters.streams import member_for
from autoscaler.configuration.settings import StreamSettings
from autoscaler.errors import StreamError
from autoscaler.ports.stream import Append, Outgoing, StreamMember, Topic
from tests.contract.stream_kinds import PARTITIONS, SESSION_S


def say(*words: object) -> None:
    """Print a line for the test that started this process."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def numbered(partition: int, number: int, size: int = 1000) -> Append:
    """An append whose three records carry the same number."""
    value = b"%d " % number + b"x" * size
    return Append(
        partition,
        (
            Outgoing(Topic.STATE, b"a", value),
            Outgoing(Topic.AUDIT, b"a", value),
            Outgoing(Topic.STATE, b"b", value),
        ),
        {},
    )


def number_of(value: bytes | None) -> int:
    """The number in a value that `numbered` made."""
    return int((value or b"").split(b" ")[0])


class Owner:
    """Takes over whatever is assigned."""

    def __init__(self, member: StreamMember) -> None:
        self.member = member
        self.owned: set[int] = set()
        self.changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def assigned(self, partitions: frozenset[int]) -> None:
        say("assigned", *sorted(partitions))
        for partition in partitions:
            task = asyncio.create_task(self._take_over(partition))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def revoked(self, partitions: frozenset[int]) -> None:
        say("revoked", *sorted(partitions))
        self.owned -= partitions

    async def _take_over(self, partition: int) -> None:
        try:
            restored = await self.member.take_over(partition)
            await self.member.seek(partition, restored.beginnings)
        except StreamError as error:
            say("failed", partition, error)
            return
        self.owned.add(partition)
        self.changed.set()
        say("owns", partition)


async def run(kind: str, place: str, prefix: str, cluster: str, name: str, partition: int | None) -> None:
    """Until killed."""
    settings = StreamSettings(
        kind="kafka" if kind == "kafka" else "embedded",
        brokers=(place,),
        path=Path(place),
        prefix=prefix,
        partitions=PARTITIONS,
        member=name,
        session_timeout_s=SESSION_S,
    )
    member = member_for(settings, cluster)
    owner = Owner(member)
    await member.open(owner)
    appending = None if partition is None else asyncio.create_task(append(member, owner, partition))
    while True:
        with suppress(StreamError):
            await member.poll(0.2)
        if appending is not None and appending.done():
            appending.result()


async def append(member: StreamMember, owner: Owner, partition: int) -> None:
    """Append for ever, as long as the partition is ours."""
    for number in itertools.count():
        while partition not in owner.owned:
            owner.changed.clear()
            await owner.changed.wait()
        try:
            await member.append(numbered(partition, number))
        except StreamError as error:
            owner.owned.discard(partition)
            say("refused", number, type(error).__name__)
        else:
            say("appended", number)


if __name__ == "__main__":
    chosen = int(sys.argv[6]) if len(sys.argv) > 6 else None
    asyncio.run(run(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5], chosen))
