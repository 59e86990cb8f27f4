"""Runs one shard on real time: takes its batches, appends what it concludes, lets its actions out, wakes for its
deadlines.

One task for a shard; the member starts it when the partition is assigned and ends it when it is taken away. The order
within a turn is fixed: take, verify, conclude, append, commit, act.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from autoscaler.core.actions import Action, Outcome, Remove, StopReplica
from autoscaler.core.deployments import edited_later
from autoscaler.core.records import Record
from autoscaler.core.stimuli import Configured, DeploymentArrived, ImagesPruned, PolicyVote
from autoscaler.engine.actuator import Actuator
from autoscaler.engine.clock import SystemClock
from autoscaler.engine.decoding import Decode, decoded
from autoscaler.engine.failpoints import hit
from autoscaler.engine.intake import Letter
from autoscaler.engine.shadows import Asked
from autoscaler.engine.shard import Shard, ShardSetup
from autoscaler.engine.supervision import Supervision
from autoscaler.engine.takeover import LEASE_S, TakenOver, rebuild
from autoscaler.errors import Fenced, LedgerError, StreamError, TooLarge
from autoscaler.plugin_host import ScoreRequest
from autoscaler.plugin_host.evaluation import EvaluationRequest
from autoscaler.ports.stream import INPUTS, Append, Batch, Outgoing, StreamMember, Topic

LEASE_MARGIN_S = 2.0
WARM_S = 2.0
RETRY_S = 0.5
APPEND_S = 12.0
BACKLOG_MESSAGES = 20_000
BEHIND_MESSAGES = 2_000
BEHIND_S = 1.0
SLICE_MESSAGES = 2_000
SAMPLES_A_TURN = 60_000
EVENTS_A_TURN = 100
REJECTED_A_TURN = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunnerParts:
    """What all runners of a member share. ``foreign``: asks policies in the worker process, ``shadows`` those that
    decide nothing; ``score``: plugins about hosts; ``verify``: about a deployment, a refusal text or None; ``decode``:
    decoder plugins. ``publish``: forwards a message. ``noted``: durable records. ``began``: a shard was taken over."""

    stream: StreamMember
    clock: SystemClock
    setup: ShardSetup
    actuator: Actuator
    foreign: Callable[[Sequence[EvaluationRequest]], Awaitable[list[tuple[PolicyVote, ...]]]]
    shadows: Callable[[Sequence[EvaluationRequest]], Awaitable[list[tuple[PolicyVote, ...]]]]
    score: Callable[[ScoreRequest], Awaitable[Mapping[str, Mapping[str, int]]]] | None
    verify: Callable[[Shard, DeploymentArrived], Awaitable[str | None]] | None
    decode: Decode | None
    publish: Callable[[Outgoing], Awaitable[None]]
    noted: Callable[[Shard, Sequence[Record]], None]
    began: Callable[[Shard], None]
    supervision: Supervision


class Runner:
    """One owned partition at work."""

    def __init__(self, partition: int, parts: RunnerParts, lost: Callable[[int], None]) -> None:
        self.partition = partition
        self.shard: Shard | None = None
        self._parts = parts
        self._lost = lost
        self._inbox: deque[Batch] = deque()
        self._acting: set[asyncio.Task[None]] = set()
        self._shadowing: asyncio.Task[None] | None = None
        self._retake = False
        self._paused = False
        self._revoked = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sent_at = float("-inf")
        self._stop_allowed_at = 0.0
        self._warm_until: tuple[int, float] = (0, 0.0)
        self.progress_at = 0.0
        self._evaluated_at = 0.0

    def begin(self) -> None:
        """Take the partition over and run."""
        self._task = self._parts.supervision.start(self._run(), name=f"shard {self.partition}")

    def put(self, batch: Batch) -> None:
        """New messages; read on is paused while too many wait."""
        self._inbox.append(batch)
        if not self._paused and sum(len(waiting.messages) for waiting in self._inbox) > BACKLOG_MESSAGES:
            self._paused = True
            self._parts.stream.pause(self.partition, INPUTS)
        self._wake.set()

    def look_again(self) -> None:
        """Something that its services go by has changed."""
        self._wake.set()

    def retake(self) -> None:
        """Where the partition is read from has been lost: take it over again."""
        self._retake = True
        self._wake.set()

    def observed(self, service: str) -> None:
        """What the hosts show of the service has changed; an empty name: hosts came or went, look at all."""
        if self.shard is None:
            return
        if service:
            self.shard.observed(service, self._parts.clock.wall())
        else:
            self.shard.replan()
            for name, state in self.shard.states.items():
                if state.pending is not None or state.replicas:
                    self.shard.observed(name, self._parts.clock.wall())
        self._wake.set()

    def outcome(self, outcome: Outcome) -> None:
        """An action of this shard ended."""
        if self.shard is not None:
            self.shard.outcome(outcome, self._parts.clock.wall())
            self._wake.set()

    def pruned(self, service: str, images: ImagesPruned) -> None:
        """Images that no kept revision needs were removed."""
        if self.shard is not None:
            self.shard.tell(service, images)
            self._wake.set()

    def settled(self, action: Action) -> None:
        """A replica may be planned for again."""
        if self.shard is not None:
            self.shard.cleared(action.service, action.key)
            self.shard.observed(action.service, self._parts.clock.wall())
            self._wake.set()

    async def end(self, timeout_s: float, *, release: bool) -> None:
        """Stop acting at once; with ``release`` save checkpoints and tell the next owner, within ``timeout_s``."""
        self._revoked = True
        self._wake.set()
        if self._shadowing is not None:
            self._shadowing.cancel()
        if self._task is not None:
            # A turn is let finish: an append that is cut off has an unknown fate, and after it nothing may be written.
            ended, _ = await asyncio.wait({self._task}, timeout=timeout_s / 4)
            if not ended:
                self._task.cancel()
                release = False
        if self._acting:
            # The next owner may act at once on a release, so no call of ours may still be under way then.
            _, under_way = await asyncio.wait(self._acting, timeout=timeout_s / 4)
            release = release and not under_way
        shard = self.shard
        if release and shard is not None:
            try:
                async with asyncio.timeout(timeout_s / 2):
                    await self._let_go(shard)
            except (StreamError, TimeoutError) as error:
                log.warning("partition not released in order", partition=self.partition, error=str(error))
        self.shard = None

    async def _let_go(self, shard: Shard) -> None:
        now = self._parts.clock.wall()
        while (append := shard.checkpoints(now)) is not None:
            await self._parts.stream.append(append)
            shard.committed(now)
        await self._parts.stream.append(shard.release(now))

    # The task.

    async def _run(self) -> None:
        while not self._revoked:
            try:
                await self._take_over()
                await self._turns()
            except Fenced as error:
                log.warning("partition lost to another member", partition=self.partition, error=str(error))
                self.shard = None
                self._lost(self.partition)
                return
            except StreamError as error:
                self._parts.setup.counters.append_failures += 1
                log.warning("taking the partition over again", partition=self.partition, error=str(error))
                self.shard = None
                await asyncio.sleep(RETRY_S)
            except LedgerError as error:
                log.error("partition stopped: its records are unreadable", partition=self.partition, error=str(error))
                self.shard = None
                return

    async def _take_over(self) -> None:
        stream, clock = self._parts.stream, self._parts.clock
        self._inbox.clear()
        restored = await stream.take_over(self.partition)
        hit("during_restore")
        now = clock.wall()
        taken = rebuild(self.partition, self._parts.setup, restored, now)
        self._sent_at = clock.monotonic()
        await stream.append(taken.append)
        taken.shard.committed(now)
        horizon_s = max((s.scaling.down_window_s for s in self._parts.setup.services.values()), default=300.0)
        metrics_from = await stream.seek_time(self.partition, Topic.METRICS, now - horizon_s)
        positions = {**taken.positions, Topic.METRICS: metrics_from}
        await stream.seek(self.partition, positions)
        # What came in meanwhile was read from where the reader stood before, and comes again.
        self._inbox.clear()
        self._retake = False
        # Paused by this runner, or by a former one of the same partition.
        stream.resume(self.partition, INPUTS)
        self._paused = False
        self._stop_allowed_at = clock.monotonic() + max(0.0, taken.held_until - now)
        self._begin_shard(taken, metrics_from, restored.ends.get(Topic.METRICS, 0), now)

    def _begin_shard(self, taken: TakenOver, metrics_from: int, metrics_end: int, now: float) -> None:
        shard = taken.shard
        self._warm_until = (metrics_end, self._parts.clock.monotonic() + WARM_S)
        shard.warming = metrics_from < metrics_end
        shard.read_again(Topic.METRICS, metrics_from, metrics_end)
        for topic, count in taken.skipped.items():
            log.error("events were lost to retention before they were read", topic=topic.value, count=count)
        for service, settings in self._parts.setup.services.items():
            if not shard.owns(service):
                continue
            state = shard.states.get(service)
            if state is not None or settings.revision is not None:
                shard.tell(service, Configured(now))
            if state is not None and edited_later(state, settings):
                log.warning("the configuration's revision was changed; deploy it to run it", service=service)
        self.shard = shard
        self._parts.began(shard)
        log.info("partition taken over", partition=self.partition, token=shard.record.token, services=len(shard.states))
        self._wake.set()

    async def _turns(self) -> None:
        while not self._revoked:
            shard = self.shard
            assert shard is not None  # noqa: S101 - set by the take-over before any turn
            await self._await_work(shard)
            self._wake.clear()
            if self._retake:
                raise StreamError("where the partition is read from has been lost", "unknown")
            shard.due(self._parts.clock.wall())
            await self._take(shard)
            if shard.has_work:
                await self._turn(shard)
            self.progress_at = self._parts.clock.monotonic()

    async def _await_work(self, shard: Shard) -> None:
        if self._wake.is_set() or self._inbox or shard.has_work:
            return
        due = shard.next_due()
        timeouts = [due - self._parts.clock.wall()] if due is not None else []
        if shard.warming:
            timeouts.append(self._warm_until[1] - self._parts.clock.monotonic())
        if shard.behind:
            timeouts.append(self._evaluated_at + BEHIND_S - self._parts.clock.monotonic())
        timeout_s = max(0.0, min(timeouts)) if timeouts else None
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            pass  # the deadline itself is the news

    async def _take(self, shard: Shard) -> None:
        taken = events = 0
        while self._inbox and events < EVENTS_A_TURN and shard.rejected < REJECTED_A_TURN and taken < SAMPLES_A_TURN:
            batch = self._inbox.popleft()
            size = SLICE_MESSAGES if batch.topic is Topic.METRICS else EVENTS_A_TURN - events
            part, rest = batch.messages[:size], batch.messages[size:]
            if rest:
                self._inbox.appendleft(replace(batch, messages=rest))
            shard.take(replace(batch, messages=part), self._parts.clock.wall())
            if batch.topic is Topic.METRICS:
                taken += len(part)
                if self._inbox:
                    # Others have their turn between two slices; a lone sample's decision waits for nobody.
                    await asyncio.sleep(0)
            else:
                events += len(part)
        if self._paused and not self._inbox:
            self._paused = False
            self._parts.stream.resume(self.partition, INPUTS)
        if shard.warming:
            end, at = self._warm_until
            read = shard.position(Topic.METRICS)
            shard.warming = read < end and self._parts.clock.monotonic() < at
        self._pace(shard, taken)
        hit("after_poll")

    def _pace(self, shard: Shard, taken: int) -> None:
        """While many samples wait, evaluate once for a second of them: each service once, not once a batch."""
        now = self._parts.clock.monotonic()
        unread = self._parts.stream.lag().get((Topic.METRICS, self.partition), 0) if taken > BEHIND_MESSAGES // 4 else 0
        shard.behind = unread > BEHIND_MESSAGES and now < self._evaluated_at + BEHIND_S
        if not shard.behind:
            self._evaluated_at = now

    async def _turn(self, shard: Shard) -> None:
        parts = self._parts
        if parts.decode is not None:
            await self._decode(shard, parts.decode)
        for outgoing in shard.take_forwards():
            await parts.publish(outgoing)
        if parts.verify is not None:
            for arrived in shard.unverified():
                refusal = await parts.verify(shard, arrived)
                if refusal:
                    shard.refuse(arrived, "verify", refusal)
        if parts.score is not None:
            for service, request in shard.score_requests(parts.clock.wall()).items():
                shard.scoring.take(service, await parts.score(request))
        requests = shard.foreign_requests(parts.clock.wall())
        foreign: Mapping[str, tuple[PolicyVote, ...]] = {}
        if requests:
            votes = await parts.foreign(list(requests.values()))
            foreign = dict(zip(requests, votes, strict=True))
        append = shard.conclude(parts.clock.wall(), foreign)
        if append is not None:
            hit("after_decide")
            await self._append(append)
            hit("after_commit")
            records = shard.committed(parts.clock.wall())
            parts.noted(shard, records)
        await self._act(shard)
        free = self._shadowing is None or self._shadowing.done()
        if free and (asked := shard.evaluator.take_shadows()):
            self._shadowing = parts.supervision.start(self._shadow(shard, asked), name="shadows")

    async def _shadow(self, shard: Shard, asked: Mapping[str, Asked]) -> None:
        """Ask shadows in the worker process, beside the turns: none of them waits for it."""
        votes = await self._parts.shadows([one.request for one in asked.values()])
        if shard is self.shard:
            for (service, one), answered in zip(asked.items(), votes, strict=True):
                shard.evaluator.shadowed(service, one, answered, self._parts.clock.wall())

    async def _decode(self, shard: Shard, decode: Decode) -> None:
        prefix = self._parts.setup.prefix
        for letter in shard.take_foreign():
            found = await decoded(letter, f"{prefix}.{letter.topic.value}", decode)
            if isinstance(found, Letter):
                shard.bury(found)
                continue
            for outgoing in found:
                await self._parts.publish(outgoing)

    async def _append(self, append: Append) -> None:
        """Until it is durable, or its fate is unknown (the partition is taken over again then)."""
        counters = self._parts.setup.counters
        while True:
            sent_at = self._parts.clock.monotonic()
            try:
                await self._parts.stream.append(append)
            except Fenced:
                raise
            except TooLarge as error:
                raise LedgerError(f"what was decided cannot be written: {error}") from error
            except StreamError as error:
                counters.append_failures += 1
                if error.outcome == "unknown" or self._revoked:
                    raise
                log.warning("append failed, trying again", partition=self.partition, error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            hit("after_append")
            counters.appends += 1
            self._sent_at = sent_at
            return

    async def _act(self, shard: Shard) -> None:
        now = self._parts.clock.wall()
        actions = shard.actions(now)
        if not actions:
            return
        if self._parts.clock.monotonic() > self._sent_at + LEASE_S - LEASE_MARGIN_S - 1.0:
            await self._append(shard.heartbeat(now))
            shard.committed(now)
        for action in actions:
            if isinstance(action, StopReplica | Remove) and self._parts.clock.monotonic() < self._stop_allowed_at:
                delay_s = self._stop_allowed_at - self._parts.clock.monotonic()
                asyncio.get_running_loop().call_later(delay_s, self.settled, action)
                continue
            target = self._parts.setup.services[action.service].target
            task = self._parts.actuator.run(target, action, self, self._may_act)
            self._acting.add(task)
            task.add_done_callback(self._acting.discard)

    def _may_act(self) -> bool:
        """Whether this member surely owns the partition still: not revoked, and its last append is recent enough."""
        owns = not self._revoked and self._parts.clock.monotonic() < self._sent_at + LEASE_S - LEASE_MARGIN_S
        hit("after_lease_check")
        return owns
