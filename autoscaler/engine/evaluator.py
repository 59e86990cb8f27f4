"""The dirty services of a shard: folds their samples, asks their policies, and decides where the answer may matter.

Once per touched service and batch, not once per sample. Owned by the shard; no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from autoscaler.core.activation import activation
from autoscaler.core.combination import combine
from autoscaler.core.deadlines import next_evaluation
from autoscaler.core.decide import decide
from autoscaler.core.judging import is_due
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.proposals import Hold, Scale
from autoscaler.core.rollout import Judging
from autoscaler.core.series import NEVER
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import GuardNote, PolicyVote
from autoscaler.core.world import World
from autoscaler.engine.conclusion import Conclusion
from autoscaler.engine.counters import Counters
from autoscaler.engine.evaluation import Voter, facts_of, readings_of, request_for, soak_unknown, stimulus_for
from autoscaler.engine.latencies import Latencies
from autoscaler.engine.schedule import Schedule
from autoscaler.engine.shadows import Asked, ServiceShadows
from autoscaler.engine.volatile import Volatile
from autoscaler.events.samples import SampleReading
from autoscaler.plugin_host.evaluation import EvaluationRequest
from autoscaler.ports.stream import Message

WorldOf = Callable[[str, ServiceSettings, float], World]


class Evaluator:
    """Signals and evaluations of one shard's services. ``newest_at``: broker time of the newest folded sample.
    ``rereading``: samples come from before a take-over, so that their coming is no news that scales down.
    ``unsaved``: services whose checkpoint is due for the sake of their shadows."""

    def __init__(
        self,
        services: Mapping[str, ServiceSettings],
        voter: Voter,
        conclusion: Conclusion,
        world_of: WorldOf,
        counters: Counters,
        latencies: Latencies,
    ) -> None:
        self.volatile: dict[str, Volatile] = {}
        self.newest_at = 0.0
        self.rereading = False
        self.wakes = Schedule()
        self._services = services
        self._voter = voter
        self._conclusion = conclusion
        self._world_of = world_of
        self._counters = counters
        self._latencies = latencies
        self.shadows: dict[str, ServiceShadows] = {}
        self.unsaved: set[str] = set()
        self._shadows_to_ask: dict[str, Asked] = {}
        self._begun: set[str] = set()
        self._first_looks: set[str] = set()
        self._dirty: dict[str, bool] = {}
        self._fired_at = 0.0

    @property
    def has_work(self) -> bool:
        """Whether any service waits to be evaluated."""
        return bool(self._dirty)

    @property
    def dirty(self) -> set[str]:
        """The services that wait to be evaluated."""
        return set(self._dirty)

    def fold(self, reading: SampleReading, message: Message) -> None:
        """Take one metric event in."""
        service = reading.service
        volatile = self.volatile.get(service) or self._made(service)
        fold_one, source, counts = volatile.signals.fold, reading.source, self._counters.samples
        for name, value, at, revision in reading.samples:
            counts[fold_one(name, at, value, source, revision)] += 1
        volatile.event_at = message.timestamp / 1000
        volatile.source, volatile.event_id = source, reading.id
        if self.rereading:
            self._dirty.setdefault(service, False)
        else:
            self._dirty[service] = True

    def wake(self, now: float) -> None:
        """Evaluate the services whose moment has come, without a new sample."""
        for service, at in self.wakes.due(now):
            self._dirty.setdefault(service, False)
            self._fired_at = max(self._fired_at, at)

    def ask_if_due(self, service: str, settings: ServiceSettings, now: float) -> None:
        """Evaluate the service without a new sample where a step of its rollout waits for that, and once since it is
        ours: something may have to stand in for a signal that does not come, and a policy may go by the clock alone."""
        state = self._conclusion.present(service)
        if settings.policies and state.revision and service not in self._begun:
            self._begun.add(service)
            if service not in self._dirty:
                self._dirty[service] = False
                self._first_looks.add(service)
        if is_due(state.rollout, settings.update.analysis_patience_s, now):
            self._dirty.setdefault(service, False)
            self._first_looks.discard(service)
            self._fired_at = max(self._fired_at, now)
            self.forget_facts(service)

    def foreign_requests(self, now: float) -> dict[str, EvaluationRequest]:
        """What the worker process must be asked for dirty services with a foreign policy."""
        return {
            service: self._request(service, self._services[service], self._at(sampled=sampled, now=now), now)
            for service, sampled in self._dirty.items()
            if not self._voter.runs_in_process(self._services[service].policies)
        }

    def evaluate_all(self, now: float, foreign: Mapping[str, tuple[PolicyVote, ...]]) -> set[str]:
        """Evaluate the dirty services; those that something was decided for. One that lacks its votes stays dirty."""
        dirty, self._dirty = self._dirty, {}
        changed: set[str] = set()
        for service, sampled in dirty.items():
            settings = self._services[service]
            at = self._at(sampled=sampled, now=now)
            first = self._is_first_look(service, settings, sampled=sampled)
            known = not first or self._is_known(service)
            votes = foreign.get(service)
            if votes is None:
                if not self._voter.runs_in_process(settings.policies):
                    self._dirty[service] = sampled
                    continue
                votes = self._voter.votes(self._request(service, settings, at, now))
            if not known:
                self.volatile[service].memory.clear()  # nothing was seen, so nothing is learnt
            if first and all(vote.unknown or vote.proposal is None for vote in votes):
                self.forget_facts(service)
                if not known:
                    del self.volatile[service]
                continue
            if self._evaluate(service, settings, votes, at, now, sampled=sampled):
                changed.add(service)
            self._ask_again(service, settings, now)
            if settings.shadows:
                self._ask_shadows(service, settings, at, now, sampled=sampled)
        return changed

    def _is_first_look(self, service: str, settings: ServiceSettings, *, sampled: bool) -> bool:
        """Whether the service is asked for no other reason than that it is new here, and nothing stands in for a
        sample. Of thousands of them nothing is decided or kept, unless a policy goes by the clock. From now on it is no
        longer new."""
        if service not in self._first_looks:
            return False
        self._first_looks.discard(service)
        return not (sampled or settings.signals)

    def _is_known(self, service: str) -> bool:
        """Whether a sample of it ever came, or a checkpoint had something."""
        volatile = self.volatile.get(service)
        return volatile is not None and bool(volatile.event_at or volatile.memory or volatile.shadows_saved)

    def take_shadows(self) -> dict[str, Asked]:
        """Shadows that must be asked in the worker process; answered through `shadowed`."""
        asked, self._shadows_to_ask = self._shadows_to_ask, {}
        return asked

    def take_unsaved(self) -> set[str]:
        """The services whose checkpoint is due; it is the caller's from now on."""
        unsaved, self.unsaved = self.unsaved, set()
        return unsaved

    def shadowed(self, service: str, asked: Asked, votes: Sequence[PolicyVote], now: float) -> None:
        """What a service's shadows said."""
        shadows, volatile = self.shadows[service], self.volatile[service]
        counters = self._counters
        for label, outcome, seconds in shadows.take(votes, self._conclusion.present(service), asked, now):
            counters.shadows[label, outcome] += 1
            counters.shadow_seconds[label, "more"] += max(0.0, seconds)
            counters.shadow_seconds[label, "fewer"] += max(0.0, -seconds)
        if shadows.save_due(volatile.event_at - volatile.saved_at):
            self.unsaved.add(service)

    def _ask_shadows(self, service: str, settings: ServiceSettings, at: float, now: float, *, sampled: bool) -> None:
        """After the decision, with what it came to: nothing that decides looks at them."""
        volatile = self.volatile.get(service) or self._made(service)
        shadows = self.shadows.get(service)
        if shadows is None:
            shadows = self.shadows[service] = ServiceShadows.of(settings, volatile)
        state = self._conclusion.present(service)
        facts = volatile.facts or facts_of(state, settings, self._world_of(service, settings, now))
        asked = shadows.asked(facts, at, sampled=sampled)
        if self._voter.runs_in_process(settings.shadows):
            self.shadowed(service, asked, self._voter.votes(asked.request), now)
        else:
            self._shadows_to_ask[service] = asked

    def soak_unknown(self, service: str, now: float) -> tuple[str, ...]:
        """Signals of rollback policies that were seen since the service began and are unknown now."""
        volatile = self.volatile.get(service)
        return () if volatile is None else soak_unknown(volatile, now, self._services[service].scaling.max_age_s)

    def forget_facts(self, service: str) -> None:
        """The service's state or replicas have changed: what policies are told of it is worked out anew."""
        volatile = self.volatile.get(service)
        if volatile is not None:
            volatile.facts = None

    def _at(self, *, sampled: bool, now: float) -> float:
        """Evaluation time: the broker's time of the newest folded sample, or the deadline that fired later."""
        if not self.newest_at:
            return now
        return self.newest_at if sampled else max(self.newest_at, self._fired_at)

    def _made(self, service: str) -> Volatile:
        volatile = self.volatile[service] = Volatile(self._services[service])
        return volatile

    def _request(self, service: str, settings: ServiceSettings, at: float, now: float) -> EvaluationRequest:
        volatile = self.volatile.get(service) or self._made(service)
        facts = self._facts(service, settings, volatile, now)
        volatile.told_since = facts.phase_since
        return request_for(settings, volatile, facts, at)

    def _facts(self, service: str, settings: ServiceSettings, volatile: Volatile, now: float) -> ServiceFacts:
        if volatile.facts is None:
            state = self._conclusion.present(service)
            volatile.facts = facts_of(state, settings, self._world_of(service, settings, now))
        return volatile.facts

    def _evaluate(
        self,
        service: str,
        settings: ServiceSettings,
        votes: tuple[PolicyVote, ...],
        at: float,
        now: float,
        *,
        sampled: bool,
    ) -> bool:
        self._counters.evaluations += 1
        volatile = self.volatile.get(service) or self._made(service)
        votes += activation(settings.route, volatile.signals, at, settings.scaling.max_age_s)
        state = self._conclusion.present(service)
        self._set_wake(service, votes, state, settings, at)
        stimulus = stimulus_for(state, settings, volatile, votes, at, sampled=sampled)
        if stimulus is None:
            return False
        if settings.guards.plugins:
            stimulus = replace(stimulus, guards=self._guard_notes(service, settings, votes, at, now))
        # The inputs are for the record alone, but to read them costs a tenth of deciding a second time with them.
        explained = replace(
            stimulus,
            readings=readings_of(volatile, votes, at),
            causes=volatile.causes,
            told_since=NEVER if volatile.told_since is None else volatile.told_since,
        )
        records = decide(state, settings, explained, self._world_of(service, settings, now))
        if not records:
            return False
        self._latencies.arrived(service, volatile.event_at)
        self._conclusion.keep(service, records)
        volatile.facts = None
        return True

    def _ask_again(self, service: str, settings: ServiceSettings, now: float) -> None:
        """A step that began since the policies were asked and is over already is judged by itself."""
        rollout = self._conclusion.present(service).rollout
        if isinstance(rollout, Judging) and rollout.since != self.volatile[service].told_since:
            self.ask_if_due(service, settings, now)

    def _guard_notes(
        self, service: str, settings: ServiceSettings, votes: tuple[PolicyVote, ...], at: float, now: float
    ) -> tuple[GuardNote, ...]:
        state = self._conclusion.present(service)
        wish = combine(votes, state.asking, settings.scaling, told=state.demand)
        if wish is None:
            return ()
        request = self._request(service, settings, at, now)
        return self._voter.guard_notes(replace(request, uses=settings.guards.plugins), wish.to)

    def _set_wake(
        self, service: str, votes: tuple[PolicyVote, ...], state: ServiceState, settings: ServiceSettings, at: float
    ) -> None:
        wake: float | None = None
        for vote in votes:
            proposal = vote.proposal
            if isinstance(proposal, Scale | Hold) and proposal.wake_at is not None and proposal.wake_at > at:
                wake = proposal.wake_at if wake is None else min(wake, proposal.wake_at)
        if state.conclusion is not None and state.conclusion.clamps:
            clamped = next_evaluation(state, settings, at)
            wake = clamped if wake is None else min(wake, clamped or wake)
        if settings.signals:
            stale = self.volatile[service].signals.stale_at(at)
            wake = stale if wake is None else min(wake, stale or wake)
        if wake is not None:
            self.wakes.set(service, wake)
