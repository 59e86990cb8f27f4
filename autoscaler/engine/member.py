"""A member: joins the stream, runs a shard for each partition it owns, and everything that the shards share.

Wired by `cli run` and by the demo. Knows ports and the plugin host, no concrete adapter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import structlog

from autoscaler.configuration.settings import Configuration
from autoscaler.core.records import Record
from autoscaler.core.revision import Health
from autoscaler.core.stimuli import DeploymentArrived, ImagesPruned, PolicyVote
from autoscaler.core.tasks import TASKS
from autoscaler.core.world import Precedence
from autoscaler.engine.actuator import Actuator
from autoscaler.engine.announcing import announcement
from autoscaler.engine.budgets_seen import BudgetsSeen
from autoscaler.engine.clock import SystemClock
from autoscaler.engine.counters import Counters
from autoscaler.engine.demand import Demand
from autoscaler.engine.garbage import LongLived
from autoscaler.engine.intake import home_partition
from autoscaler.engine.observer import Observer
from autoscaler.engine.runner import Runner, RunnerParts
from autoscaler.engine.shard import Shard, ShardSetup
from autoscaler.engine.state_tail import StateTail
from autoscaler.engine.supervision import Supervision
from autoscaler.engine.traffic import Traffic
from autoscaler.errors import StreamError
from autoscaler.plugin_host import EvaluationRequest, PluginHost
from autoscaler.ports.router import Router
from autoscaler.ports.stream import Headers, Outgoing, StreamClient, StreamMember, Topic
from autoscaler.ports.target import Target

POLL_S = 0.1
POLL_END_S = 3.0
RETRY_S = 1.0
SHUTDOWN_S = 18.0
REVOKE_S = 5.0
FENCED_FIRST_S = 2.0
FENCED_MAX_S = 30.0
FENCED_FORGOTTEN_S = 300.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class MemberParts:
    """What a member is made of; all of it opened and closed by the member. ``observes``: it decides and records, and
    publishes and notifies nothing: the live members do."""

    configuration: Configuration
    member_id: str
    stream: StreamMember
    client: StreamClient
    targets: Mapping[str, Target]
    plugins: PluginHost
    router: Router | None = None
    observes: bool = False
    clock: SystemClock = field(default_factory=SystemClock)


class Member:
    """One process's part of the cluster. `run` until the stop event is set."""

    def __init__(self, parts: MemberParts) -> None:
        self.parts = parts
        self.counters = Counters()
        self.runners: dict[int, Runner] = {}
        self.supervision = Supervision()
        services = parts.configuration.services
        precedence = {name: Precedence(one.priority, one.bounds.min) for name, one in services.items()}
        self.observer = Observer(
            parts.targets, parts.clock, self._hosts_changed, self._health_of, self.supervision, precedence
        )
        self.budgets = BudgetsSeen(parts.configuration.budgets.values(), services, known=False)
        self.budgets.changed = self._budgets_changed
        self.traffic = Traffic(parts.router, parts.configuration.services, self.observer, self.supervision)
        if parts.router is not None:
            source = f"/eventscaler/{parts.configuration.cluster}/{parts.member_id}"
            parts.router.hear_demand(Demand(source, self._publish_sample, self.supervision).heard)
        self.connected = False
        self.polled_at = 0.0
        self.failed = False
        self.sources_at_work = 0
        self._home: dict[int, frozenset[str]] = {}
        self._owned: frozenset[int] = frozenset()
        self._fenced: dict[int, tuple[int, float]] = {}
        self._stopping = False
        self._client_open = False
        self._joined = False
        self._told_away = False
        self._actuator = Actuator(parts.targets, self.observer, self.supervision, self.traffic)
        self._setup: ShardSetup | None = None
        self._tailing: asyncio.Task[None] | None = None
        self._runner_parts: RunnerParts | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._long_lived = LongLived(lambda: all(runner.shard is not None for runner in self.runners.values()))

    # Listener of the stream.

    def assigned(self, partitions: frozenset[int]) -> None:
        """Take these partitions over."""
        assert self._runner_parts is not None  # noqa: S101 - set before the stream can assign anything
        self._owned |= partitions
        for partition in sorted(partitions - set(self.runners)):
            self._begin(partition)

    def _begin(self, partition: int) -> None:
        assert self._runner_parts is not None  # noqa: S101 - set before the stream can assign anything
        runner = Runner(partition, self._runner_parts, self._partition_lost)
        self.runners[partition] = runner
        runner.begin()
        self._long_lived.changed()

    async def revoked(self, partitions: frozenset[int]) -> None:
        """Let these partitions go, in order where there is time."""
        self._owned -= partitions
        going = [self.runners.pop(p) for p in sorted(partitions) if p in self.runners]
        await asyncio.gather(*(runner.end(REVOKE_S, release=True) for runner in going))
        self._watch_no_more(runner.partition for runner in going)
        self._long_lived.changed()

    def _partition_lost(self, partition: int) -> None:
        """Somebody fenced us. Where the group still says that it is ours, take it over again, ever more slowly."""
        self.runners.pop(partition, None)
        self._watch_no_more([partition])
        now = self.parts.clock.monotonic()
        times, at = self._fenced.get(partition, (0, now))
        times = times + 1 if now - at < FENCED_FORGOTTEN_S else 1
        self._fenced[partition] = (times, now)
        delay_s = min(FENCED_MAX_S, FENCED_FIRST_S * 2.0 ** min(times - 1, 10))
        asyncio.get_running_loop().call_later(delay_s, self._take_again, partition)

    def _take_again(self, partition: int) -> None:
        if partition in self._owned and partition not in self.runners and not self._stopping:
            self._begin(partition)

    def _watch_no_more(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self.budgets.let_go(self._home.get(partition, frozenset()))
            for service in self._home.get(partition, frozenset()):
                self.observer.watch_again(service)
                self.traffic.forget(service)

    # Life.

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then let go of everything within a bounded time; the replicas go on."""

        def crashed(error: BaseException) -> None:
            log.error("ending, since a part of the program has failed", error=repr(error))
            self.failed = True
            stop.set()

        self.supervision.crashed = crashed
        await self.observer.open()
        if self.parts.router is not None:
            await self.parts.router.open()
        try:
            polling = self.supervision.start(self._poll(stop), name="poll")
            stopping = asyncio.create_task(stop.wait(), name="stop")
            await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            stop.set()
            self._stopping = True
            _, late = await asyncio.wait({polling}, timeout=POLL_END_S)
            if late:
                polling.cancel()
            else:
                await polling
        finally:
            await self._close()

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(SHUTDOWN_S):
                await self.revoked(frozenset(self.runners))
                await self._actuator.drain(3.0)
                await self.parts.stream.close()
        except TimeoutError:
            log.warning("not everything could be let go in order in time")
        if self._tailing is not None:
            self._tailing.cancel()
        await self.parts.client.close()
        await self.parts.plugins.close()
        if self.parts.router is not None:
            await self.parts.router.close()
        await self.observer.close()
        self._long_lived.close()

    async def _poll(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.polled_at = self.parts.clock.monotonic()
            try:
                if self._runner_parts is None or not self._joined:
                    await self._connect()
                batches = await self.parts.stream.poll(POLL_S)
            except StreamError as error:
                await self._stream_away(error)
                continue
            self.connected = True
            for batch in batches:
                owner = self.runners.get(batch.partition)
                if owner is not None:
                    owner.put(batch)

    async def _stream_away(self, error: StreamError) -> None:
        if error.partition is not None:
            owner = self.runners.get(error.partition)
            if owner is not None:
                owner.retake()
            await asyncio.sleep(POLL_S)
            return
        if self.connected or not self._told_away:
            log.warning("the stream is away, trying again", error=str(error))
            self._told_away = True
        self.connected = False
        await asyncio.sleep(RETRY_S)

    async def _connect(self) -> None:
        if not self._client_open:
            await self.parts.client.open()
            self._client_open = True
            if self.budgets.services:
                tail = StateTail(self.parts.client, self.budgets)
                self._tailing = self.supervision.start(tail.run(), name="state tail")
        parts, configuration = self.parts, self.parts.configuration
        self._setup = ShardSetup(
            cluster=configuration.cluster,
            member=parts.member_id,
            partitions=parts.client.partitions,
            services=configuration.services,
            voter=parts.plugins,
            look=self.observer.world,
            counters=self.counters,
            digest=configuration.digest,
            prefix=configuration.stream.prefix,
            budgets=self.budgets,
        )
        verifies = bool(parts.plugins.verifies)
        scores = any(settings.placement.scorers for settings in configuration.services.values())
        self._runner_parts = RunnerParts(
            stream=parts.stream,
            clock=parts.clock,
            setup=self._setup,
            actuator=self._actuator,
            foreign=self._foreign_votes,
            shadows=self._shadow_votes,
            score=parts.plugins.host_scores if scores else None,
            verify=self._verify if verifies else None,
            decode=parts.plugins.decode if parts.plugins.decodes else None,
            publish=self._publish,
            noted=self._noted,
            began=self._shard_began,
            supervision=self.supervision,
        )
        home: dict[int, set[str]] = {}
        for service in configuration.services:
            home.setdefault(home_partition(service, self._setup.partitions), set()).add(service)
        self._home = {partition: frozenset(services) for partition, services in home.items()}
        await parts.stream.open(self)
        self._joined = True

    # What runners ask of the member.

    async def _foreign_votes(self, requests: Sequence[EvaluationRequest]) -> list[tuple[PolicyVote, ...]]:
        return await self.parts.plugins.foreign_votes(list(requests))

    async def _shadow_votes(self, requests: Sequence[EvaluationRequest]) -> list[tuple[PolicyVote, ...]]:
        return await self.parts.plugins.foreign_votes(list(requests), beside=True)

    async def _verify(self, shard: Shard, arrived: DeploymentArrived) -> str | None:
        refusal = await self.parts.plugins.verify_revision(None, arrived.spec, arrived.event)
        return refusal.reason if refusal is not None else None

    async def _publish(self, outgoing: Outgoing) -> None:
        if self.parts.observes:
            return
        await self.parts.client.publish(outgoing.topic, outgoing.key, outgoing.value or b"", outgoing.headers)

    async def _publish_sample(self, topic: Topic, key: bytes, value: bytes, headers: Headers) -> None:
        if not self._client_open:
            raise StreamError("the stream is not open yet")
        await self.parts.client.publish(topic, key, value, headers)

    def _noted(self, shard: Shard, records: Sequence[Record]) -> None:
        for record in records:
            self.counters.records[record.type] += 1
            if record.verdict is not None:
                self.counters.verdicts[record.verdict] += 1
            log.info(
                "record",
                service=record.service,
                kind=record.kind,
                verdict=record.verdict,
                code=record.reason.code,
                text=record.reason.text,
                demand=record.after.demand,
                revision=record.after.revision,
            )
            if not self.parts.observes:
                self.parts.plugins.notify(announcement(record))
        for service in {record.service for record in records}:
            self.observer.watch_again(service)
            self.traffic.refresh(service, shard.states.get(service))

    def _shard_began(self, shard: Shard) -> None:
        """Ask the replicas of its services for their health, and route to them: nobody did before they were ours."""
        now = self.parts.clock.wall()
        for service in self.observer.services():
            state = shard.states.get(service)
            if state is not None:
                self.observer.watch_again(service)
                shard.observed(service, now)
        for service in self.traffic.routed:
            self.traffic.refresh(service, shard.states.get(service))

    def _hosts_changed(self, service: str) -> None:
        if not service:
            for every in self.runners.values():
                every.observed("")
            return
        runner = self._runner_of(service)
        if runner is not None:
            runner.observed(service)
            if runner.shard is not None:
                self.traffic.refresh(service, runner.shard.states.get(service))

    def _budgets_changed(self) -> None:
        for runner in self.runners.values():
            runner.look_again()

    def pruned(self, service: str, images: ImagesPruned) -> None:
        """Images were removed for the service: its record says so."""
        runner = self._runner_of(service)
        if runner is not None:
            runner.pruned(service, images)

    def _runner_of(self, service: str) -> Runner | None:
        if self._setup is None:
            return None
        return self.runners.get(home_partition(service, self._setup.partitions))

    def _health_of(self, service: str, revision: int) -> Health | Literal["own"] | None:
        runner = self._runner_of(service)
        shard = runner.shard if runner is not None else None
        state = shard.states.get(service) if shard is not None else None
        if state is None:
            return None
        kept = state.revision_numbered(revision)
        return "own" if kept is None or kept.spec.health is None else kept.spec.health

    # What faces look at.

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that the group has given to this member."""
        return self._owned

    def shards(self) -> list[Shard]:
        """The shards at work, by partition."""
        return [runner.shard for _, runner in sorted(self.runners.items()) if runner.shard is not None]

    def owned_services(self) -> frozenset[str]:
        """The configured services whose partition this member has taken over."""
        owned = [self._home.get(partition, frozenset()) for partition, runner in self.runners.items() if runner.shard]
        return frozenset().union(*owned)

    def active_tasks(self) -> dict[str, int]:
        """The six systems: tasks active now in this member, all six present."""
        totals = dict.fromkeys(TASKS, 0)
        for shard in self.shards():
            for tasks in shard.tasks.values():
                for kind, count in tasks.items():
                    totals[kind] += count
        totals["monitor"] += self.observer.prober.watched + self.sources_at_work
        return totals
