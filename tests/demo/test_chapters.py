"""Chapters believe the replicas and nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import pytest

from autoscaler.cli.demo.board import Board, Chapter, Seen
from autoscaler.cli.demo.census import Census
from autoscaler.cli.demo.chapters import STEADY, Scene, rollback, to_zero, update
from autoscaler.cli.demo.publisher import Publisher
from autoscaler.cli.demo.stage import DemoFailed
from autoscaler.cli.demo.traffic import Traffic
from autoscaler.cli.demo.trail import Trail
from autoscaler.ports.stream import Place, Topic

PATIENCE_S = 1.0


class Street:
    """A stage of servers in this process: ``versions`` says what the replicas answer, ``status`` with which status."""

    parts = "a street"

    def __init__(self, *versions: str) -> None:
        self.versions = list(versions)
        self.status: dict[str, int] = {}
        self.ports: list[int] = []
        self.serving: set[asyncio.Task[None]] = set()

    def look(self) -> Sequence[Seen]:
        return [
            Seen(f"pid {number}", f"shop.s{number}", "local", version, f"127.0.0.1:{self.ports[number]}")
            for number, version in enumerate(self.versions)
        ]

    def identity(self, answer: Mapping[str, Any]) -> str:
        return str(answer["id"])

    def revision(self, version: str, *, broken: bool = False) -> dict[str, Any]:
        return {"command": ["shop", version]}

    def shortened(self, text: str) -> str:
        return text

    async def serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                version = self.versions[number]
                body = json.dumps({"version": version, "id": f"pid {number}"}).encode()
                head = f"HTTP/1.1 {self.status.get(version, 200)} X\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
        with suppress(ConnectionError):
            await writer.wait_closed()


class Stream:
    """A client whose audit trail says at once what a deployment's verdict is."""

    def __init__(self, verdict: str) -> None:
        self.verdict = verdict
        self.trail: Trail | None = None

    async def publish(self, topic: Topic, key: bytes, value: bytes, headers: Any = ()) -> Place:
        event = json.loads(value)
        if topic is Topic.DEPLOYMENTS and self.trail is not None:
            reason = {"text": "so it is said"}
            data = {"verdict": self.verdict, "terminal": True, "kind": "update", "event": {"id": event["id"]}}
            standing = {"demand": STEADY, "revision": 2}
            data |= {"reason": reason, "before": standing, "after": standing}
            self.trail._take({"subject": "shop", "type": "io.eventscaler.decided.v1", "data": data})
        return Place(topic, 0, 0)


@asynccontextmanager
async def a_scene(street: Street, verdict: str) -> AsyncIterator[Scene]:
    """Everybody at work on ``street``; customers go to its first replica."""
    servers = []
    for number in range(max(1, len(street.versions))):
        server = await asyncio.start_server(lambda r, w, n=number: street.serve(n, r, w), "127.0.0.1", 0)
        servers.append(server)
        street.ports.append(server.sockets[0].getsockname()[1])
    board, stream = Board([]), Stream(verdict)
    traffic = Traffic(f"127.0.0.1:{street.ports[0]}", lambda answer: "")
    traffic.rate = 50.0
    trail = Trail(stream, board, street.shortened)  # type: ignore[arg-type]
    stream.trail = trail
    census = Census(street, board, PATIENCE_S)  # type: ignore[arg-type]
    publisher = Publisher(stream, traffic, board)  # type: ignore[arg-type]
    working = [asyncio.create_task(each) for each in (census.run(), traffic.run())]
    try:
        yield Scene(street, board, census, traffic, publisher, trail)  # type: ignore[arg-type]
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await traffic.close()
        await asyncio.wait(street.serving)
        for server in servers:
            server.close()
            await server.wait_closed()


async def test_an_update_is_seen_where_every_replica_answers_with_the_new_version() -> None:
    async with a_scene(Street("2.0", "2.0", "2.0"), "applied") as scene:
        assert "3 of 3" in await update(scene, Chapter("update", ""))


async def test_an_update_that_the_trail_calls_applied_fails_on_one_old_replica() -> None:
    async with a_scene(Street("2.0", "1.0", "2.0"), "applied") as scene:
        with pytest.raises(DemoFailed, match=r"not seen .* 3 replicas of version 2\.0.*shop\.s1 version 1\.0 ok"):
            await update(scene, Chapter("update", ""))


async def test_an_update_with_another_verdict_fails_with_its_reason() -> None:
    async with a_scene(Street("2.0", "2.0", "2.0"), "rolled_back") as scene:
        with pytest.raises(DemoFailed, match="the verdict is rolled_back, not applied: so it is said"):
            await update(scene, Chapter("update", ""))


async def test_a_rollback_of_a_version_that_nobody_ever_saw_is_not_believed() -> None:
    async with a_scene(Street("2.0", "2.0", "2.0"), "rolled_back") as scene:
        with pytest.raises(DemoFailed, match=r"not seen .* a replica of version 3\.0"):
            await rollback(scene, Chapter("rollback", ""))


async def test_a_rollback_fails_while_the_broken_version_still_runs() -> None:
    street = Street("2.0", "2.0", "3.0")
    street.status["3.0"] = 500
    async with a_scene(street, "rolled_back") as scene:
        with pytest.raises(DemoFailed, match=r"shop\.s2 version 3\.0 status 500"):
            await rollback(scene, Chapter("rollback", ""))


async def test_a_rollback_fails_where_a_customer_was_served_by_the_broken_version() -> None:
    async with a_scene(Street("2.0", "2.0", "2.0"), "rolled_back") as scene:
        scene.traffic.by_version["3.0"] += 1
        scene.census.ever["gone"] = Seen("gone", "shop.s9", "local", "3.0", "")
        with pytest.raises(DemoFailed, match=r"1 customers were sent to version 3\.0"):
            await rollback(scene, Chapter("rollback", ""))


async def test_zero_is_not_reached_while_a_replica_is_left() -> None:
    async with a_scene(Street("2.0"), "") as scene:
        await scene.census.until("the first count", lambda: scene.census.counts > 0)
        with pytest.raises(DemoFailed, match=r"no replica at all; seen: shop\.s0"):
            await to_zero(scene, Chapter("to_zero", ""))


async def test_customers_that_get_no_answer_are_failures_and_are_not_tried_again() -> None:
    async with a_scene(Street("2.0"), "") as scene:
        scene.stage.status["2.0"] = 503  # type: ignore[attr-defined]
        await scene.census.until("a failure", lambda: scene.traffic.failed > 0)
        await scene.traffic.silence()
        assert scene.traffic.failed <= scene.traffic.requests
        assert "status 503" in scene.traffic.failures[-1]
