"""A shard: one owned partition, its services' states, and all that turns stimuli into one append and then actions.

Driven by the runner on real time and by the simulator on virtual time. Synchronous and deterministic: no socket, no
clock, no task. The order is the program's first rule: `take` and friends queue, `conclude` decides and returns one
`Append`, `committed` makes it true once the stream has it, and only then `actions` names what may be done to a host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from autoscaler.core.actions import Action, Outcome
from autoscaler.core.deadlines import next_deadline
from autoscaler.core.decide import decide
from autoscaler.core.grants import UNLIMITED
from autoscaler.core.host_marks import MarkedHosts
from autoscaler.core.plan import plan
from autoscaler.core.records import Record
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import (
    DeadlineReached,
    DeploymentArrived,
    Observed,
    OutcomeArrived,
    PolicyVote,
    Stimulus,
)
from autoscaler.core.tasks import active_tasks
from autoscaler.core.world import World
from autoscaler.engine.budgets_seen import NO_BUDGETS, Budgeted, BudgetsSeen
from autoscaler.engine.conclusion import STATE_BYTES_MAX, Conclusion
from autoscaler.engine.counters import Counters
from autoscaler.engine.decoding import may_be_foreign
from autoscaler.engine.evaluation import Voter
from autoscaler.engine.evaluator import Evaluator
from autoscaler.engine.grouping import grouped
from autoscaler.engine.host_scoring import HostScoring
from autoscaler.engine.intake import Intake, Letter, home_partition
from autoscaler.engine.latencies import Latencies
from autoscaler.engine.schedule import Schedule
from autoscaler.engine.unrouted import Unrouted
from autoscaler.ledger.partition_record import PartitionRecord, encode_partition
from autoscaler.ledger.writing import Ledger
from autoscaler.plugin_host import ScoreRequest
from autoscaler.plugin_host.evaluation import EvaluationRequest
from autoscaler.ports.stream import Append, Batch, Outgoing, Topic

AHEAD_S = 5.0
"""How far a broker's clock may run ahead of ours before ours counts."""

Look = Callable[[str, str, float, int, frozenset[str], float], World]
"""(service, target, now, token, uncertain names, watched since) -> what its target's hosts show of the service."""


@dataclass(frozen=True, slots=True)
class ShardSetup:
    """What every shard of a member shares."""

    cluster: str
    member: str
    partitions: int
    services: Mapping[str, ServiceSettings]
    voter: Voter
    look: Look
    counters: Counters = field(default_factory=Counters)
    digest: str = ""
    prefix: str = "autoscaler"
    budgets: BudgetsSeen = NO_BUDGETS


class Shard:
    """One partition's services. ``states`` is what the stream holds; nothing is acted on that is not there.

    ``warming``: samples since the take-over are still being read; nothing is evaluated until then. ``behind``: so many
    samples wait that evaluating is put off for a moment, to be done once for more of them. ``watched_since``: when the
    partition was taken over; nobody of ours asked replicas for their health before.
    """

    def __init__(
        self, partition: int, setup: ShardSetup, record: PartitionRecord, states: Mapping[str, ServiceState]
    ) -> None:
        self.partition = partition
        self.setup = setup
        self.record = record
        self.states: dict[str, ServiceState] = dict(states)
        self.warming = True
        self.behind = False
        self.tasks: dict[str, dict[str, int]] = {}
        self._intake = Intake(partition, setup.partitions, setup.services)
        self._ledger = Ledger(setup.cluster, partition)
        self._latencies = Latencies(setup.counters)
        self._conclusion = Conclusion(self.states, setup.budgets.note)
        self.evaluator = Evaluator(
            setup.services, setup.voter, self._conclusion, self._world, setup.counters, self._latencies
        )
        self._stimuli: list[tuple[str, Stimulus]] = []
        self._taken: dict[Topic, int] = dict(record.positions)
        self._reread_to = 0
        self._next_record = record
        self.scoring, self._marked = HostScoring(), MarkedHosts()
        self.watched_since = record.at
        self._to_plan: set[str] = set()
        self._busy: dict[str, set[str]] = {}
        self._deadlines = Schedule()
        self._decided_at: dict[str, float] = {}
        self._unrouted = Unrouted(partition, setup.prefix, self._ledger)
        self._budgeted = Budgeted(setup.budgets, filter(self.owns, setup.budgets.services), self.states)

    # What comes in. Nothing here decides.

    def take(self, batch: Batch, now: float) -> None:
        """Fold the batch's samples, or queue its events; what was taken before is passed over."""
        position = self._taken.get(batch.topic, 0)
        if batch.messages[0].offset < position:
            batch = replace(batch, messages=[m for m in batch.messages if m.offset >= position])
            if not batch.messages:
                return
        last = batch.messages[-1]
        if batch.topic is Topic.METRICS:
            # One clock that runs ahead must not make every other sample look old.
            newest_at = min(last.timestamp / 1000, now + AHEAD_S)
            self.evaluator.newest_at = max(self.evaluator.newest_at, newest_at)
            self.evaluator.rereading = self.warming or batch.messages[0].offset < self._reread_to
            self._intake.samples(batch, self.evaluator.fold, self.evaluator.volatile)
            self.setup.counters.samples["unknown_service"] += self._intake.unknown_service_samples
            self._intake.unknown_service_samples = 0
        else:
            arrived = self._intake.events(batch, now)
            for service, _ in arrived:
                self._latencies.arrived(service, last.timestamp / 1000)
            self._stimuli += arrived
            self.setup.counters.events[batch.topic.value, "read"] += len(batch.messages)
        self._taken[batch.topic] = last.offset + 1

    def tell(self, service: str, stimulus: Stimulus) -> None:
        """Its configuration is new or was taken over; or images were removed for it."""
        self._stimuli.append((service, stimulus))

    def observed(self, service: str, now: float) -> None:
        """What the hosts show of the service has changed."""
        if service in self.setup.services:
            self._stimuli.append((service, Observed(now)))
            self.evaluator.forget_facts(service)

    def outcome(self, outcome: Outcome, now: float) -> None:
        """An action ended. An answer that never came leaves its replica untouched until `cleared`."""
        service = outcome.action.service
        if outcome.result not in {"unknown", "unavailable"}:
            self.cleared(service, outcome.action.key)
        if outcome.result == "done":
            self._latencies.effected(service, now)
        counted = (self.setup.services[service].target, outcome.action.kind, outcome.result)
        self.setup.counters.actions[counted] += 1
        self._stimuli.append((service, OutcomeArrived(now, outcome)))

    def cleared(self, service: str, key: str) -> None:
        """The replica of an uncertain call has been looked at anew."""
        busy = self._busy.get(service)
        if busy is not None:
            busy.discard(key)
            if not busy:
                del self._busy[service]
        self._to_plan.add(service)

    def due(self, now: float) -> None:
        """Queue what the deadlines that have come ask for."""
        for service, _ in self._deadlines.due(now):
            self._stimuli.append((service, DeadlineReached(now, self.evaluator.soak_unknown(service, now))))
        self.evaluator.wake(now)

    def next_due(self) -> float | None:
        """When `due` has something to do next, or None."""
        moments = (self._deadlines.next(), self.evaluator.wakes.next())
        return min((at for at in moments if at is not None), default=None)

    @property
    def has_work(self) -> bool:
        """Whether `conclude` or `actions` has something to look at."""
        intake = self._intake
        taken_in = self._stimuli or intake.letters or intake.strangers or intake.forwards or intake.host_commands
        return bool(
            taken_in or self._to_plan or self._budgeted.has_news or (self.evaluator.has_work and self._evaluates)
        )

    @property
    def _evaluates(self) -> bool:
        return not (self.warming or self.behind)

    @property
    def rejected(self) -> int:
        """Messages that wait to be buried; a flood of them is taken in parts."""
        return len(self._intake.letters)

    def take_forwards(self) -> list[Outgoing]:
        """Messages that belong to another partition, to be published before the next append."""
        forwards, self._intake.forwards = self._intake.forwards, []
        return forwards

    def take_foreign(self) -> list[Letter]:
        """Messages that a decoder plugin may know; each comes back through `bury` or as events of its own."""
        letters = self._intake.letters
        self._intake.letters = [letter for letter in letters if not may_be_foreign(letter)]
        return [letter for letter in letters if may_be_foreign(letter)]

    def bury(self, letter: Letter) -> None:
        """No decoder knows it: a dead letter."""
        self._intake.letters.append(letter)

    def unverified(self) -> list[DeploymentArrived]:
        """Queued deployments, for plugins that verify revisions; answered through `refuse`."""
        return [stimulus for _, stimulus in self._stimuli if isinstance(stimulus, DeploymentArrived)]

    def refuse(self, arrived: DeploymentArrived, code: str, text: str) -> None:
        """A verifier said no to a queued deployment."""
        self._stimuli = [
            (service, replace(arrived, refusal=(code, text)) if stimulus is arrived else stimulus)
            for service, stimulus in self._stimuli
        ]

    # Deciding.

    def score_requests(self, now: float) -> dict[str, ScoreRequest]:
        """What `score_host` plugins must be asked before `conclude`, by service; answered through ``scoring.take``."""
        services = self.evaluator.dirty.union(service for service, _ in self._stimuli)
        return self.scoring.requests(services, self.setup.services, self.states, self._world, now)

    def foreign_requests(self, now: float) -> dict[str, EvaluationRequest]:
        """Dirty services with a policy that must be asked in the worker process, with what it needs."""
        return self.evaluator.foreign_requests(now) if self._evaluates else {}

    def conclude(self, now: float, foreign: Mapping[str, tuple[PolicyVote, ...]] | None = None) -> Append | None:
        """Decide everything queued; the one append that holds it all, or None where nothing changed.

        ``foreign``: votes for `foreign_requests`; a dirty service that still lacks them waits for the next
        conclusion. The append's positions cover what was taken, since all of it is decided here.
        """
        self._next_record = replace(self.record, positions=dict(self._taken))
        marking = self._mark_hosts(now)
        stimuli, self._stimuli = self._stimuli, []
        for service, stimulus in grouped(stimuli):
            self._decide(service, stimulus, now)
        for service in self._budgeted.unsettled():
            self._decide(service, Observed(now), now)
        if self._evaluates:
            evaluated = self.evaluator.evaluate_all(now, foreign or {})
            self._to_plan |= evaluated
            self._decided_at.update(dict.fromkeys(evaluated, now))
        letters, kept = marking + self._reject_all(now), (self.evaluator.volatile, self.evaluator.take_unsaved())
        outgoing = self._conclusion.written(self._ledger, self.record.token, *kept) + letters
        return self._append(outgoing, now) if outgoing else None

    def committed(self, now: float) -> list[Record]:
        """The last append is durable: its states are the states. Returns its records, for notifiers and counters."""
        self.record = self._next_record
        noted: list[Record] = []
        for service, records in self._conclusion.settle():
            noted += records
            self.setup.budgets.written(self.states[service])
            if any(record.type == "decided" for record in records):
                self._latencies.decided(service, now)
            self.evaluator.forget_facts(service)
            self._schedule(service, now)
        return noted

    def _append(self, outgoing: list[Outgoing], now: float) -> Append:
        self._next_record = replace(self._next_record, at=now, configuration=self.setup.digest)
        records = (*outgoing, encode_partition(self._next_record))
        return Append(self.partition, records, dict(self._next_record.positions))

    def _decide(self, service: str, stimulus: Stimulus, now: float) -> None:
        settings = self.setup.services.get(service)
        if settings is None:
            return
        state = self._conclusion.present(service)
        self._conclusion.keep(service, decide(state, settings, stimulus, self._world(service, settings, now)))
        self._decided_at[service] = now
        self._to_plan.add(service)
        self.evaluator.ask_if_due(service, settings, now)

    def _mark_hosts(self, now: float) -> list[Outgoing]:
        """Carry out what operators said of hosts, and look at every service that may have to move."""
        commands, self._intake.host_commands = self._intake.host_commands, []
        before = self._next_record
        self._next_record, written = self._unrouted.mark_hosts(commands, before)
        if self._next_record.marks != before.marks:
            for service in self.states:
                self.observed(service, now)
        return written

    def _reject_all(self, now: float) -> list[Outgoing]:
        """Dead letters of what could not be read, and its records."""
        intake, counters = self._intake, self.setup.counters
        letters, strangers = intake.letters, intake.strangers
        if not letters and not strangers:
            return []
        intake.letters, intake.strangers = [], []
        for letter in letters:
            counters.dead_letters[letter.error.code] += 1
        self._next_record, written = self._unrouted.reject_all(
            letters, strangers, self._conclusion, self._next_record, now
        )
        return written

    # Appends that decide nothing; none of them moves a position past what is decided.

    def heartbeat(self, now: float) -> Append:
        """An append of the partition record alone: proof of ownership."""
        self._next_record = self.record
        return self._append([], now)

    def checkpoints(self, now: float, limit: int = 500) -> Append | None:
        """An append of the checkpoints that are older than their signals, at most ``limit``; None when all are
        saved."""
        self._next_record = self.record
        outgoing: list[Outgoing] = []
        for service, volatile in self.evaluator.volatile.items():
            if volatile.event_at != volatile.saved_at and service in self.states:
                record = self._ledger.state_record(self.states[service], volatile.checkpoint())
                if len(record.value or b"") <= STATE_BYTES_MAX:
                    outgoing.append(record)
                if len(outgoing) >= limit:
                    break
        return self._append(outgoing, now) if outgoing else None

    def release(self, now: float) -> Append:
        """The append that tells the next owner that this one has ended in order."""
        self._next_record = replace(self.record, released=True)
        return self._append([], now)

    # What follows from what is durable.

    def actions(self, now: float) -> list[Action]:
        """What may be done to the hosts now; each is in flight until its `outcome`."""
        actions: list[Action] = []
        services, self._to_plan = self._to_plan, set()
        for service in sorted(services):
            settings = self.setup.services.get(service)
            state = self.states.get(service)
            if settings is None or state is None:
                continue
            world = self._world(service, settings, now)
            busy = self._busy.get(service, set())
            for action in plan(state, settings, world, self.setup.cluster):
                if action.key not in busy:
                    busy.add(action.key)
                    actions.append(action)
                    self._latencies.acting(service, now)
            if busy:
                self._busy[service] = busy
            self._deadlines.set(service, next_deadline(state, settings, world, self._decided_at.get(service)))
            tasks = {kind: count for kind, count in active_tasks(state, world).items() if count}
            if tasks:
                self.tasks[service] = tasks
            else:
                self.tasks.pop(service, None)
        return actions

    def replan(self) -> None:
        """Look at the plans of all services again."""
        self._to_plan |= set(self.states)

    def _schedule(self, service: str, now: float) -> None:
        settings = self.setup.services.get(service)
        if settings is not None:
            world = self._world(service, settings, now)
            since = self._decided_at.get(service)
            self._deadlines.set(service, next_deadline(self.states[service], settings, world, since))

    # Looking things up.

    def owns(self, service: str) -> bool:
        """Whether the service's events belong to this partition."""
        return home_partition(service, self.setup.partitions) == self.partition

    def read_again(self, topic: Topic, start: int, end: int) -> None:
        """The topic is read from ``start`` on, though more of it was taken before: samples before ``end`` are folded
        again, and are no news."""
        self._taken[topic] = start
        self._reread_to = end

    def position(self, topic: Topic) -> int:
        """Next offset to be taken."""
        return self._taken.get(topic, 0)

    def _world(self, service: str, settings: ServiceSettings, now: float) -> World:
        busy = self._busy.get(service)
        uncertain = frozenset(busy) if busy else _NOTHING
        world = self.setup.look(service, settings.target, now, self.record.token, uncertain, self.watched_since)
        hosts = self._marked.shown(settings.target, world.hosts, self._next_record.marks)
        scores, grants = self.scoring.scores(service), self.setup.budgets.of(service)
        if hosts is world.hosts and not scores and grants is UNLIMITED:
            return world
        return replace(world, hosts=hosts, scores=scores, grants=grants)


_NOTHING: frozenset[str] = frozenset()
