"""A shard: one owned partition, its services' states, and everything that turns stimuli into one append and then actions.

Driven by the runner on real time and by the simulator on virtual time. Synchronous and deterministic: no socket, no clock, no
task. The order is the program's first rule: `take` and friends queue, `conclude` decides and returns one `Append`,
`committed` makes it true once the stream has it, and only then `actions` names what may be done to a host.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from autoscaler.core.actions import Action, Outcome
from autoscaler.core.deadlines import next_deadline, next_evaluation
from autoscaler.core.decide import decide
from autoscaler.core.evolve import fold
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.plan import plan
from autoscaler.core.proposals import Hold, Scale
from autoscaler.core.records import Record
from autoscaler.core.rejections import reject, turn_away
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import (
    Configured,
    ControlArrived,
    DeadlineReached,
    DeploymentArrived,
    Observed,
    OutcomeArrived,
    PolicyVote,
    Stimulus,
)
from autoscaler.core.tasks import active_tasks
from autoscaler.core.world import World
from autoscaler.engine.counters import Counters
from autoscaler.engine.evaluation import (
    Voter,
    facts_of,
    readings_of,
    request_for,
    soak_unknown,
    stimulus_for,
)
from autoscaler.engine.intake import Intake, home_partition
from autoscaler.engine.volatile import Volatile
from autoscaler.events.samples import SampleReading
from autoscaler.ledger.partition_record import PartitionRecord, encode_partition, unrouted_chain
from autoscaler.ledger.writing import Ledger
from autoscaler.plugin_host.evaluation import EvaluationRequest
from autoscaler.ports.stream import Append, Batch, Message, Outgoing, Topic

Look = Callable[[str, str, float, int, frozenset[str]], World]
"""(service, target, now, token, uncertain names) -> what its target's hosts show of the service."""


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


@dataclass(slots=True)
class _Working:
    """A service in the course of one conclusion: its durable state, and what the records so far make of it."""

    before: ServiceState
    now: ServiceState
    records: list[Record] = field(default_factory=list)


class Shard:
    """One partition's services. ``states`` is what the stream holds; nothing is acted on that is not there."""

    def __init__(
        self, partition: int, setup: ShardSetup, record: PartitionRecord, states: Mapping[str, ServiceState]
    ) -> None:
        self.partition = partition
        self.setup = setup
        self.record = record
        self.states: dict[str, ServiceState] = dict(states)
        self.volatile: dict[str, Volatile] = {}
        self.newest_at = 0.0
        self.warming = True
        self.tasks: dict[str, dict[str, int]] = {}
        self._intake = Intake(partition, setup.partitions, setup.services)
        self._stimuli: list[tuple[str, Stimulus]] = []
        self._dirty: dict[str, bool] = {}
        self._working: dict[str, _Working] = {}
        self._next_record = record
        self._ledger = Ledger(setup.cluster, partition)
        self._fired_at = 0.0
        self._to_plan: set[str] = set()
        self._busy: dict[str, set[str]] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._deadline_of: dict[str, float] = {}
        self._wakes: list[tuple[float, str]] = []
        self._wake_of: dict[str, float] = {}

    # What comes in. Nothing here decides.

    def take(self, batch: Batch, now: float) -> None:
        """Fold the batch's samples, or queue its events."""
        last = batch.messages[-1]
        if batch.topic is Topic.METRICS:
            self.newest_at = max(self.newest_at, last.timestamp / 1000)
            self._intake.samples(batch, self._fold)
        else:
            self._stimuli += self._intake.events(batch, now)
            self.setup.counters.events[batch.topic.value, "read"] += len(batch.messages)
        positions = {**self._next_record.positions, batch.topic: last.offset + 1}
        self._next_record = replace(self._next_record, positions=positions)

    def _fold(self, reading: SampleReading, message: Message) -> None:
        service = reading.service
        volatile = self.volatile.get(service)
        if volatile is None:
            volatile = self.volatile[service] = Volatile(self.setup.services[service])
        fold_one, source, counts = volatile.signals.fold, reading.source, self.setup.counters.samples
        for name, value, at, revision in reading.samples:
            counts[fold_one(name, at, value, source, revision)] += 1
        volatile.event_at = message.timestamp / 1000
        self._dirty[service] = True

    def configured(self, service: str, now: float) -> None:
        """The service's configuration is new or was taken over."""
        self._stimuli.append((service, Configured(now)))

    def observed(self, service: str, now: float) -> None:
        """What the hosts show of the service has changed."""
        if service in self.setup.services:
            self._stimuli.append((service, Observed(now)))
            self._forget_facts(service)

    def outcome(self, outcome: Outcome, now: float) -> None:
        """An action ended. An answer that never came leaves its replica untouched until `cleared`."""
        service = outcome.action.service
        if outcome.result not in {"unknown", "unavailable"}:
            self.cleared(service, outcome.action.key)
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
        while self._deadlines and self._deadlines[0][0] <= now:
            at, service = heapq.heappop(self._deadlines)
            if self._deadline_of.get(service) == at:
                del self._deadline_of[service]
                self._stimuli.append((service, DeadlineReached(now, self._soak_unknown(service, now))))
        while self._wakes and self._wakes[0][0] <= now:
            at, service = heapq.heappop(self._wakes)
            if self._wake_of.get(service) == at:
                del self._wake_of[service]
                self._dirty.setdefault(service, False)
                self._fired_at = max(self._fired_at, at)

    def next_due(self) -> float | None:
        """When `due` has something to do next, or None."""
        return min((queue[0][0] for queue in (self._deadlines, self._wakes) if queue), default=None)

    @property
    def has_work(self) -> bool:
        """Whether `conclude` or `actions` has something to look at."""
        intake = self._intake
        return bool(
            self._stimuli or self._to_plan or intake.letters or intake.strangers or (self._dirty and not self.warming)
        )

    def take_forwards(self) -> list[Outgoing]:
        """Messages that belong to another partition, to be published before the next append."""
        forwards, self._intake.forwards = self._intake.forwards, []
        return forwards

    def take_unverified(self) -> list[DeploymentArrived]:
        """Queued deployments, for plugins that verify revisions; answered through `refuse`."""
        return [stimulus for _, stimulus in self._stimuli if isinstance(stimulus, DeploymentArrived)]

    def refuse(self, arrived: DeploymentArrived, code: str, text: str) -> None:
        """A verifier said no to a queued deployment."""
        self._stimuli = [
            (service, replace(arrived, refusal=(code, text)) if stimulus is arrived else stimulus)
            for service, stimulus in self._stimuli
        ]

    # Deciding.

    def foreign_requests(self, now: float) -> dict[str, EvaluationRequest]:
        """Dirty services with a policy that must be asked in the worker process, with what it needs."""
        if self.warming:
            return {}
        voter, services = self.setup.voter, self.setup.services
        return {
            service: request_for(services[service], self._volatile(service), self._facts(service, now), self._at(now))
            for service in self._dirty
            if not voter.runs_in_process(services[service].policies)
        }

    def conclude(self, now: float, foreign: Mapping[str, tuple[PolicyVote, ...]] | None = None) -> Append | None:
        """Decide everything queued; the one append that holds it all, or None where nothing changed.

        ``foreign``: votes for `foreign_requests`; a dirty service that still lacks them waits for the next conclusion.
        """
        stimuli, self._stimuli = self._stimuli, []
        for service, stimulus in stimuli:
            self._decide(service, stimulus, now)
        if not self.warming:
            self._evaluate_all(now, foreign or {})
        letters = self._reject_all(now)
        outgoing = [*self._written(), *letters]
        if not outgoing:
            self._working.clear()
            return None
        return self._append(outgoing, now)

    def _append(self, outgoing: list[Outgoing], now: float) -> Append:
        self._next_record = replace(self._next_record, at=now, configuration=self.setup.digest)
        outgoing.append(encode_partition(self._next_record))
        return Append(self.partition, tuple(outgoing), dict(self._next_record.positions))

    def heartbeat(self, now: float) -> Append:
        """An append of the partition record alone: proof of ownership."""
        return self._append([], now)

    def committed(self, now: float) -> list[Record]:
        """The last append is durable: its states are the states. Returns its records, for notifiers and counters."""
        self.record = self._next_record
        records: list[Record] = []
        for service, working in self._working.items():
            self.states[service] = working.now
            records += working.records
            self._forget_facts(service)
            self._schedule(service, now)
        self._working.clear()
        return records

    def _decide(self, service: str, stimulus: Stimulus, now: float) -> None:
        settings = self.setup.services.get(service)
        if settings is None:
            return
        state = self._present(service)
        records = decide(state, settings, stimulus, self._world(service, settings, now))
        self._to_plan.add(service)
        self._keep(service, state, records)

    def _keep(self, service: str, state: ServiceState, records: tuple[Record, ...]) -> None:
        if not records:
            return
        working = self._working.setdefault(service, _Working(state, state))
        working.now = fold(working.now, records)
        working.records += records

    def _evaluate_all(self, now: float, foreign: Mapping[str, tuple[PolicyVote, ...]]) -> None:
        dirty, self._dirty = self._dirty, {}
        at = self._at(now)
        voter, services = self.setup.voter, self.setup.services
        fired_at = max(at, self._fired_at)
        for service, sampled in dirty.items():
            settings = services[service]
            votes = foreign.get(service)
            if votes is None:
                if not voter.runs_in_process(settings.policies):
                    self._dirty[service] = sampled
                    continue
                volatile = self._volatile(service)
                when = at if sampled else fired_at
                votes = voter.votes(request_for(settings, volatile, self._facts(service, now), when))
            self._evaluate(service, settings, votes, at if sampled else fired_at, now, sampled=sampled)

    def _evaluate(
        self,
        service: str,
        settings: ServiceSettings,
        votes: tuple[PolicyVote, ...],
        at: float,
        now: float,
        *,
        sampled: bool,
    ) -> None:
        self.setup.counters.evaluations += 1
        volatile = self._volatile(service)
        state = self._present(service)
        self._wake_for(service, votes, state, settings, at)
        stimulus = stimulus_for(state, settings, volatile, votes, at, sampled=sampled)
        if stimulus is None:
            return
        world = self._world(service, settings, now)
        if settings.guards.plugins:
            wish = max((v.proposal.to for v in votes if isinstance(v.proposal, Scale)), default=state.demand)
            request = replace(
                request_for(settings, volatile, self._facts(service, now), at), uses=settings.guards.plugins
            )
            stimulus = replace(stimulus, guards=self.setup.voter.guard_notes(request, wish))
        records = decide(state, settings, stimulus, world)
        if records:
            # Only a decision that is worth a record pays for its inputs; the core is pure, so deciding again is safe.
            records = decide(state, settings, replace(stimulus, readings=readings_of(volatile, votes, at)), world)
            self._to_plan.add(service)
            self._keep(service, state, records)

    def _wake_for(
        self, service: str, votes: tuple[PolicyVote, ...], state: ServiceState, settings: ServiceSettings, at: float
    ) -> None:
        wakes = [
            vote.proposal.wake_at
            for vote in votes
            if isinstance(vote.proposal, Scale | Hold) and vote.proposal.wake_at is not None
        ]
        if state.conclusion is not None and state.conclusion.clamps:
            clamped = next_evaluation(state, settings, at)
            wakes += [clamped] if clamped is not None else []
        wake = min((w for w in wakes if w > at), default=None)
        if wake is not None and self._wake_of.get(service) != wake:
            self._wake_of[service] = wake
            heapq.heappush(self._wakes, (wake, service))

    # What goes out.

    def _written(self) -> list[Outgoing]:
        outgoing: list[Outgoing] = []
        for service, working in self._working.items():
            volatile = self.volatile.get(service)
            checkpoint = volatile.checkpoint() if volatile is not None else None
            working.now, written = self._ledger.write(working.before, working.records, self.record.token, checkpoint)
            outgoing += written
        return outgoing

    def _reject_all(self, now: float) -> list[Outgoing]:
        """Dead letters of what could not be read, and its records: in its service's trail where that is known."""
        intake = self._intake
        if not intake.letters and not intake.strangers:
            return []
        outgoing: list[Outgoing] = []
        unrouted: list[Record] = []
        for letter in intake.letters:
            self.setup.counters.dead_letters[letter.error.code] += 1
            outgoing.append(letter.dead_letter(self.setup.prefix, self.partition))
            state = self._present(letter.service) if letter.service else ServiceState(unrouted_chain(self.partition))
            records = reject(state, letter.verdict_for, letter.reason, now)
            if letter.service:
                self._keep(letter.service, state, records)
            else:
                unrouted += records
        for stranger in intake.strangers:
            unrouted += turn_away(ServiceState(unrouted_chain(self.partition)), stranger.event, now)
        intake.letters, intake.strangers = [], []
        head, written = self._ledger.write_unrouted(self._next_record.unrouted, unrouted, self.record.token)
        self._next_record = replace(self._next_record, unrouted=head)
        return [*outgoing, *written]

    def _present(self, service: str) -> ServiceState:
        """The service's state with what this conclusion has come to so far."""
        working = self._working.get(service)
        return working.now if working is not None else self.states.get(service) or ServiceState(service)

    def checkpoints(self, now: float, limit: int = 500) -> Append | None:
        """An append of the checkpoints that are older than their signals, at most ``limit``; None when all are saved."""
        outgoing: list[Outgoing] = []
        for service, volatile in self.volatile.items():
            if volatile.event_at > volatile.saved_at and service in self.states:
                outgoing.append(self._ledger.state_record(self.states[service], volatile.checkpoint()))
                if len(outgoing) >= limit:
                    break
        return self._append(outgoing, now) if outgoing else None

    def release(self, now: float) -> Append:
        """The append that tells the next owner that this one has ended in order."""
        self._next_record = replace(self._next_record, released=True)
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
            if busy:
                self._busy[service] = busy
            self._schedule(service, now)
            tasks = {kind: count for kind, count in active_tasks(state, world).items() if count}
            if tasks:
                self.tasks[service] = tasks
            else:
                self.tasks.pop(service, None)
        return actions

    def replan(self, services: set[str] | None = None) -> None:
        """Look at these services' plans again (default: all that have ever been decided)."""
        self._to_plan |= set(self.states) if services is None else services & set(self.states)

    def _schedule(self, service: str, now: float) -> None:
        settings = self.setup.services[service]
        at = next_deadline(self.states[service], settings, self._world(service, settings, now))
        if at is None:
            self._deadline_of.pop(service, None)
        elif self._deadline_of.get(service) != at:
            self._deadline_of[service] = at
            heapq.heappush(self._deadlines, (at, service))

    # Looking things up.

    def owns(self, service: str) -> bool:
        """Whether the service's events belong to this partition."""
        return home_partition(service, self.setup.partitions) == self.partition

    def position(self, topic: Topic) -> int:
        """Next offset to be taken."""
        return self._next_record.positions.get(topic, 0)

    def _at(self, now: float) -> float:
        """Evaluation time: the broker's time of the newest folded sample; before any, now."""
        return self.newest_at or now

    def _world(self, service: str, settings: ServiceSettings, now: float) -> World:
        busy = self._busy.get(service)
        return self.setup.look(
            service, settings.target, now, self.record.token, frozenset(busy) if busy else frozenset()
        )

    def _volatile(self, service: str) -> Volatile:
        volatile = self.volatile.get(service)
        if volatile is None:
            volatile = self.volatile[service] = Volatile(self.setup.services[service])
        return volatile

    def _facts(self, service: str, now: float) -> ServiceFacts:
        volatile = self._volatile(service)
        if volatile.facts is None:
            settings = self.setup.services[service]
            state = self.states.get(service) or ServiceState(service)
            volatile.facts = facts_of(state, settings, self._world(service, settings, now))
        return volatile.facts

    def _forget_facts(self, service: str) -> None:
        volatile = self.volatile.get(service)
        if volatile is not None:
            volatile.facts = None

    def _soak_unknown(self, service: str, now: float) -> tuple[str, ...]:
        volatile = self.volatile.get(service)
        return (
            soak_unknown(volatile, now, self.setup.services[service].scaling.max_age_s) if volatile is not None else ()
        )
