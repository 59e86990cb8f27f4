"""Tells the whole story: sets the parts up, goes through the chapters, takes all away again, whatever happened."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoscaler.adapters.streams import admin_for
from autoscaler.cli.connecting import client_of
from autoscaler.cli.demo.board import Board, Chapter
from autoscaler.cli.demo.census import Census
from autoscaler.cli.demo.chapters import TOLD, UNHARMED, Scene
from autoscaler.cli.demo.configuration_file import stream_of, write_configuration
from autoscaler.cli.demo.member_process import MemberProcess, environment
from autoscaler.cli.demo.process_stage import ProcessStage
from autoscaler.cli.demo.publisher import Publisher
from autoscaler.cli.demo.stage import DemoFailed, Stage
from autoscaler.cli.demo.traffic import Traffic
from autoscaler.cli.demo.trail import Trail, verify
from autoscaler.configuration.loading import load
from autoscaler.configuration.settings import Configuration
from autoscaler.errors import AutoscalerError
from autoscaler.ports.stream import StreamClient

STARTS_MAX = 3


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for."""

    brokers: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    image: str = ""
    keep: bool = False


@dataclass(slots=True)
class Ending:
    """What came of it, beside the chapters on the board."""

    ok: bool = False
    why: str = ""
    replicas_created: int = 0
    requests_unsent: int = 0
    verified_chain: bool | None = None
    chain: str = ""
    tasks_max: dict[str, int] = field(default_factory=dict)
    left_behind: list[str] = field(default_factory=list)
    kept: Path | None = None


def a_board() -> Board:
    """All chapters ahead."""
    return Board([Chapter(name, promise) for name, (promise, _) in TOLD.items()])


class Story:
    """One telling. `tell` once."""

    def __init__(self, wishes: Wishes, board: Board) -> None:
        token = secrets.token_hex(4)
        self.ending = Ending()
        self._wishes = wishes
        self._board = board
        self._cluster = f"demo-{token}"
        self._directory = Path(tempfile.gettempdir()) / f"autoscaler-demo-{token}"
        self._environ = environment(keep_security=bool(wishes.brokers))
        self._stage = self._a_stage()
        self._configuration: Configuration | None = None
        self._client: StreamClient | None = None
        self._client_open = False
        self._member: MemberProcess | None = None
        self._background: list[asyncio.Task[Any]] = []
        stream = "Kafka" if wishes.brokers else "an embedded stream"
        board.parts = f"{stream}, {self._stage.parts}, the embedded router"

    def _a_stage(self) -> Stage:
        if self._wishes.engines:
            from autoscaler.cli.demo.docker_stage import DockerStage

            return DockerStage(self._wishes.engines, self._cluster, self._wishes.image)
        return ProcessStage(self._directory, self._cluster)

    async def tell(self) -> None:
        """Go through it all; what came of it is in `ending` and on the board. Cancelled, it cleans up as well."""
        try:
            await self._play()
        except AutoscalerError as error:
            self.ending.why = str(error)
        finally:
            for chapter in self._board.chapters:
                if chapter.progress == "under way":
                    chapter.progress, chapter.why = "failed", "interrupted"
                elif chapter.progress == "ahead":
                    chapter.progress = "not reached"
            await self._clear_surely()
        told = all(chapter.progress == "ok" for chapter in self._board.chapters)
        if told and not self.ending.verified_chain:
            self.ending.why = f"the audit chain is broken: {self.ending.chain}"
        elif told and self.ending.left_behind:
            self.ending.why = "; ".join(self.ending.left_behind)
        self.ending.ok = told and not self.ending.why

    # Setting up.

    async def _play(self) -> None:
        self._board.say(f"On stage: {self._board.parts}. Everything lives in {self._directory}.")
        self._directory.mkdir(mode=0o700)
        await _to_the_end(self._stage.prepare)
        scene, member = await self._open()
        try:
            for chapter in self._board.chapters:
                await self._tell_chapter(chapter, scene, member)
        finally:
            await self._end_background()
            await scene.traffic.close()
            self.ending.requests_unsent = scene.traffic.unsent
            self.ending.replicas_created = len(scene.census.ever)
            self.ending.tasks_max = member.tasks_max
        code = await member.stop()
        if code != 0:
            raise DemoFailed(f"told to end, {member.obituary()}")
        self.ending.verified_chain, self.ending.chain = await verify(self._opened_client())

    async def _open(self) -> tuple[Scene, MemberProcess]:
        member, route = await self._start_member()
        client = self._opened_client()
        board, stage = self._board, self._stage
        census, traffic = Census(stage, board), Traffic(route, stage.identity)
        publisher, trail = Publisher(client, traffic, board), Trail(client, board, stage.shortened)
        watchers = (census.run(), traffic.run(), publisher.run(), trail.follow(), member.watch(board))
        self._background = [asyncio.create_task(each) for each in (*watchers, _count(traffic, board))]
        return Scene(stage, board, census, traffic, publisher, trail), member

    async def _start_member(self) -> tuple[MemberProcess, str]:
        """The autoscaler itself; once more with other ports where one of them was taken in the meantime."""
        path = self._directory / "autoscaler.yaml"
        stream = stream_of(self._wishes.brokers, self._cluster)
        for attempt in range(1, STARTS_MAX + 1):
            face, route = await asyncio.to_thread(write_configuration, path, self._stage, self._cluster, stream)
            self._configuration = load(path, self._environ).configuration
            await self._open_client(self._configuration)
            self._board.say("The autoscaler starts: autoscaler run --config autoscaler.yaml.")
            self._member = member = MemberProcess(path, face, self._environ)
            try:
                await member.start()
            except DemoFailed as error:
                await member.stop()
                if attempt == STARTS_MAX or "is taken" not in str(error):
                    raise
                continue
            self._board.say(
                f"It is ready: process {member.pid}, http://{face}/metrics; the shop is at http://{route}/."
            )
            return member, route
        raise AssertionError("the last attempt returns or raises")

    async def _open_client(self, configuration: Configuration) -> None:
        if self._client_open:
            return
        if self._wishes.brokers:
            admin = admin_for(configuration.stream, configuration.cluster)
            try:
                await admin.create_topics()
            finally:
                await admin.close()
        self._client = client_of(configuration)
        await self._client.open()
        self._client_open = True

    def _opened_client(self) -> StreamClient:
        if self._client is None:
            raise AssertionError("the client is opened before the member starts")
        return self._client

    # Telling.

    async def _tell_chapter(self, chapter: Chapter, scene: Scene, member: MemberProcess) -> None:
        traffic, publisher, board = scene.traffic, scene.publisher, self._board
        chapter.progress = "under way"
        board.say(f"{chapter.name}: {chapter.promise}", "chapter")
        began_at, published = time.monotonic(), publisher.published
        requests, failed = traffic.requests, traffic.failed
        try:
            chapter.note = await self._attended(TOLD[chapter.name][1](scene, chapter), member)
            chapter.progress = "ok"
        except AutoscalerError as error:
            chapter.why = str(error)
        finally:
            chapter.seconds = time.monotonic() - began_at
            chapter.events = publisher.published - published
            chapter.requests, chapter.failed_requests = traffic.requests - requests, traffic.failed - failed
        if chapter.failed_requests and chapter.name in UNHARMED and not chapter.why:
            seen = "; ".join(dict.fromkeys(traffic.failures))
            chapter.why = f"{chapter.failed_requests} of {chapter.requests} requests failed: {seen}"
        if chapter.why:
            chapter.progress = "failed"
            board.say(f"{chapter.name} failed: {chapter.why}", "failed")
            raise DemoFailed(f"chapter {chapter.name}: {chapter.why}")
        counted = f"{chapter.requests} requests, {chapter.failed_requests} failed"
        board.say(f"{chapter.name} ok after {chapter.seconds:.1f} s: {chapter.note} ({counted})", "ok")

    async def _attended(self, chapter: Any, member: MemberProcess) -> str:
        """The chapter's finding; fails at once where the autoscaler or one of the demo's own watchers ends."""
        telling: asyncio.Task[str] = asyncio.create_task(chapter)
        ended = asyncio.create_task(member.ended())
        try:
            await asyncio.wait({telling, ended, *self._background}, return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                return telling.result()
            if ended.done():
                raise DemoFailed(ended.result())
            for task in self._background:
                if task.done():
                    task.result()
            raise DemoFailed("a watcher of the demo ended")
        finally:
            for task in (telling, ended):
                task.cancel()
            await asyncio.gather(telling, ended, return_exceptions=True)

    # Taking away.

    async def _clear_surely(self) -> None:
        """Clear up; a cancellation that comes meanwhile takes effect afterwards."""
        clearing = asyncio.create_task(self._clear())
        try:
            await asyncio.shield(clearing)
        except asyncio.CancelledError:
            await clearing
            raise

    async def _end_background(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _clear(self) -> None:
        """Nothing that this telling made is left; what cannot be taken away is named. Each step is made whatever the
        ones before it came to: the autoscaler ends first, so that nothing is made anew, the directory goes last."""
        async with AsyncExitStack() as steps:
            for step in (self._remove_directory, self._delete_topics, self._clear_stage, self._close_client):
                steps.push_async_callback(step)
            if self._member is not None:
                await self._member.stop()

    async def _close_client(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _clear_stage(self) -> None:
        self.ending.left_behind += await asyncio.to_thread(self._stage.clear)

    async def _delete_topics(self) -> None:
        if self._wishes.brokers and self._configuration is not None:
            from autoscaler.cli.demo.kafka_topics import delete_topics

            left = await delete_topics(self._configuration)
            # Brokers that never answered hold nothing of ours.
            self.ending.left_behind += left if self._client_open else []

    async def _remove_directory(self) -> None:
        if self._wishes.keep:
            self.ending.kept = self._directory
        elif self._directory.exists():
            await asyncio.to_thread(shutil.rmtree, self._directory)


async def _to_the_end(call: Callable[[], None]) -> None:
    """Make a blocking call; where we are cancelled meanwhile, wait for its end, so that it can be cleared up after."""
    calling = asyncio.create_task(asyncio.to_thread(call))
    try:
        await asyncio.shield(calling)
    except asyncio.CancelledError:
        await asyncio.wait({calling})
        raise


async def _count(traffic: Traffic, board: Board) -> None:
    """Keep the customers' counts on the board until cancelled."""
    while True:
        board.requests, board.failed_requests = traffic.requests, traffic.failed
        board.answered = dict(traffic.by_replica)
        await asyncio.sleep(0.2)


def report(board: Board, ending: Ending, wishes: Wishes) -> dict[str, Any]:
    """The whole as one JSON object."""
    document: dict[str, Any] = {
        "ok": ending.ok,
        "seconds": round(board.elapsed_s, 1),
        "stream": "kafka" if wishes.brokers else "embedded",
        "target": "docker" if wishes.engines else "process",
        "chapters": [chapter.document() for chapter in board.chapters],
        "replicas_created": ending.replicas_created,
        "requests_unsent": ending.requests_unsent,
        "verified_chain": ending.verified_chain,
        "active_tasks_max": ending.tasks_max,
    }
    return document | {"why": ending.why} if ending.why else document
