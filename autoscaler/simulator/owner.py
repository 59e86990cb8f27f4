"""A simulated member that owns the partition: drives the engine's own `Shard` in the runner's order, and can die
anywhere.

Order of a turn: take, conclude, append, commit, act. What the properties want to see is told to ``watch``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, Protocol

from autoscaler.core.actions import Action, Outcome, Remove, StopReplica
from autoscaler.core.claims import canonical
from autoscaler.core.proposals import Hold, Rollback, Scale, Update
from autoscaler.core.records import Record
from autoscaler.core.settings import PolicyUse
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import Configured, GuardNote, PolicyVote
from autoscaler.core.world import HostView, Neighbours, ObservedReplica, Precedence, World
from autoscaler.engine.shard import Shard, ShardSetup
from autoscaler.engine.takeover import rebuild
from autoscaler.errors import Fenced, StreamError
from autoscaler.plugin_host.evaluation import EvaluationRequest
from autoscaler.ports.stream import Append, Topic
from autoscaler.simulator.chance import Chance
from autoscaler.simulator.hosts import SimHosts
from autoscaler.simulator.log import Fate, SimLog

LEASE_S = 10.0
MARGIN_S = 3.0
LOOK_AGAIN_S = 1.0
BAD, DOUBTFUL = 0.9, 0.75
"""Past these a revision's own samples speak against it, or for nothing."""

CrashPoint = Literal[
    "after_take", "before_append", "after_append", "before_action", "between_actions", "before_outcome"
]
CRASH_POINTS: tuple[CrashPoint, ...] = (
    "after_take",
    "before_append",
    "after_append",
    "before_action",
    "between_actions",
    "before_outcome",
)


class Watch(Protocol):
    """What the properties are told as it happens."""

    def decided(
        self, owner: Owner, append: Append, records: Sequence[Record], before: ServiceState, after: ServiceState
    ) -> None:
        """Records became durable; ``before`` and ``after`` are the service's states around them."""

    def acting(self, owner: Owner, actions: Sequence[Action]) -> None:
        """These actions are about to be carried out."""


class SimVoter:
    """Two policies: `load` wishes the newest value over ten, `errors` votes revisions down over one in ten; with
    ``judges`` a third, `own`, that judges the steps of a rollout by the revision's own samples; with ``several`` two
    more that scale: `double`, twice as eager, and `wary`, which at times holds, knows nothing or has no opinion."""

    def __init__(self, *, judges: bool = False, several: bool = False) -> None:
        self._judges = judges
        self._several = several

    def runs_in_process(self, uses: tuple[PolicyUse, ...]) -> bool:
        """Always."""
        return True

    def votes(self, request: EvaluationRequest) -> tuple[PolicyVote, ...]:
        """One vote each."""
        if request.uses and request.uses[0].shadow:
            return (self._shadow(request.now),)
        view = request.signals.view(request.now, request.max_age_s)
        load, errors = view["load"], view["errors"]
        if load.known and load.latest is not None:
            scale = PolicyVote("load", Scale(max(0, math.ceil(load.latest / 10)), "by load"), "", ("load",))
        else:
            scale = PolicyVote("load", None, "load is unknown", ("load",))
        if errors.latest is None:
            vote = PolicyVote("errors", None, "errors is unknown", ("errors",), rollback=True)
        else:
            proposal = Rollback("too many errors") if errors.latest > 0.1 else None  # noqa: PLR2004 - one in ten
            vote = PolicyVote("errors", proposal, "", ("errors",), rollback=True)
        stand_in, at_least = view.stand_ins(("load",))
        scale = replace(scale, stand_in=stand_in, at_least=at_least)
        more = self._more(None if stand_in else load.latest) if self._several else ()
        return (scale, vote, *more, self._own(request)) if self._judges else (scale, vote, *more)

    def _shadow(self, now: float) -> PolicyVote:
        """What nothing may come of: far too many, a vote against whatever runs, or nothing."""
        answers: tuple[Scale | Rollback | None, ...] = (Scale(99, "mad"), Rollback("mad"), Scale(0, "mad"), None)
        answer = answers[int(now) % len(answers)]
        return PolicyVote("mad", answer, "", ("mad",), rollback=isinstance(answer, Rollback))

    def _more(self, load: float | None) -> tuple[PolicyVote, ...]:
        if load is None:
            return tuple(PolicyVote(name, None, "load is unknown", ("load",)) for name in ("double", "wary"))
        double = PolicyVote("double", Scale(max(0, math.ceil(load / 5)), "twice the load"), "", ("load",))
        answers: tuple[Scale | Hold | None, ...] = (Scale(max(0, math.ceil(load / 20)), "half"), Hold("wary"), None)
        turn = int(load) % 4
        wary = PolicyVote("wary", answers[turn], "", ("load",)) if turn < len(answers) else None
        return (double, wary or PolicyVote("wary", None, "failed", ("load",)))

    def _own(self, request: EvaluationRequest) -> PolicyVote:
        facts = request.facts
        own = request.signals.view(request.now, request.max_age_s)["own_errors"].by_revision(facts.revision)
        if facts.phase not in {"judging", "held"}:
            return PolicyVote("own", None, "", (), rollback=True)
        if own.latest is None:
            return PolicyVote("own", None, "own_errors is unknown", ("own_errors",), rollback=True)
        if own.latest > BAD:
            return PolicyVote("own", Rollback("bad"), "", ("own_errors",), rollback=True)
        if own.latest > DOUBTFUL:
            return PolicyVote("own", Hold("doubtful"), "", ("own_errors",), rollback=True)
        return PolicyVote("own", Update(facts.revision, "good"), "", ("own_errors",), rollback=True)

    def guard_notes(self, request: EvaluationRequest, wish: int) -> tuple[GuardNote, ...]:
        """No guards."""
        return ()


@dataclass(frozen=True, slots=True)
class OwnerParts:
    """What an owner works with. ``later(at, do)`` schedules; ``append_fate`` says what becomes of its next append,
    ``stall_s`` how long it is stopped between a commit and the actions that follow. ``partition``: whose log
    it is. ``precedence`` of the services that share its hosts, where there are others."""

    log: SimLog
    hosts: SimHosts
    chance: Chance
    later: Callable[[float, Callable[[], None]], None]
    watch: Watch
    append_fate: Callable[[], Fate]
    crashes: Callable[[CrashPoint], bool]
    stall_s: Callable[[], float]
    service: str
    partition: int = 0
    precedence: Mapping[str, Precedence] = field(default_factory=lambda: MappingProxyType({}))


class Owner:
    """One incarnation of a member. Dead, it does nothing more; its calls under way still take effect."""

    def __init__(self, name: str, parts: OwnerParts, setup: Callable[[Owner], ShardSetup], now: float) -> None:
        self.name = name
        self.parts = parts
        self.alive = True
        self.frozen_until = 0.0
        self.now = now
        self._views: dict[str, tuple[HostView, list[ObservedReplica]]] = {}
        self._turn_at: float | None = None
        self._due_at: float | None = None
        self._flight: set[str] = set()
        self._positions: dict[Topic, int] = {}
        for host in parts.hosts.hosts:
            self._views[host] = parts.hosts.view(host)
        self.epoch, restored = parts.log.take_over()
        taken = rebuild(parts.partition, setup(self), restored, now)
        self.shard: Shard = taken.shard
        self.token = self.shard.record.token
        self._append(taken.append)
        self.shard.committed(now)
        self._sent_at = now
        # Not only the predecessor's lease may still run: also that of the one before it, where it was short-lived.
        self._stops_from = now + LEASE_S if self.token > 1 else now
        horizon = parts.log.first_at(Topic.METRICS, now - 300.0)
        self._positions = {**taken.positions, Topic.METRICS: horizon}
        self._warm_to = len(parts.log.topics[Topic.METRICS])
        self.shard.warming = horizon < self._warm_to
        self.shard.tell(parts.service, Configured(now))
        self.wake(now)

    # What it sees.

    def world(
        self,
        service: str,
        target: str,
        now: float,
        token: int,
        uncertain: frozenset[str],
        watched_since: float | None = None,
    ) -> World:
        """What the hosts showed when they last told."""
        replicas = tuple(r for _, seen in self._views.values() for r in seen if r.service == service)
        hosts = tuple(view for view, _ in self._views.values())
        since = self.shard.watched_since if watched_since is None else watched_since
        alone = World(now, replicas, hosts, token, uncertain, since)
        return replace(alone, **self._others(service)) if self.parts.precedence else alone

    def _others(self, service: str) -> dict[str, Any]:
        """Whose replicas stand beside those of the service, and which of them wait for some of it to go."""
        tenants = {host: [r for r in seen if r.condition != "exited"] for host, (_, seen) in self._views.items()}
        everyone = [r for there in tenants.values() for r in there]
        waiting = [r for r in everyone if r.condition == "created" and r.displaces]
        named = {name for r in waiting for name in r.displaces}
        steady = Counter(r.service for r in everyone if not r.stopping and canonical(r) not in named)
        precedence = self.parts.precedence
        lowest = min(one.priority for one in precedence.values())
        claims = tuple(r for r in waiting if any(name.startswith(f"{service}.s") for name in r.displaces))
        return {"neighbours": Neighbours(tenants, steady, precedence, lowest), "claims": claims}

    def told(self, host: str, now: float) -> None:
        """A host has changed."""
        if self.alive:
            self._views[host] = self.parts.hosts.view(host)
            self.shard.observed(self.parts.service, now)
            self.wake(now)

    def wake(self, now: float) -> None:
        """Turn soon."""
        at = max(now, self.frozen_until) + 0.01
        if self.alive and (self._turn_at is None or at < self._turn_at):
            self._turn_at = at
            self.parts.later(at, self._turn)

    # A turn.

    def _turn(self) -> None:
        now = self.parts.hosts.now
        if not self.alive or self._turn_at is None or now < self._turn_at:
            return
        self._turn_at = None
        if now < self.frozen_until:
            self.wake(now)
            return
        self.now = now
        try:
            self._work(now)
        except Fenced:
            self.alive = False
        except StreamError:
            self.die()

    def die(self) -> None:
        """Stop here and now."""
        self.alive = False

    def _work(self, now: float) -> None:
        self.shard.due(now)
        self._take(now)
        if self._dies("after_take"):
            return
        before = self.state
        append = self.shard.conclude(now)
        if append is not None:
            if self._dies("before_append"):
                return
            self._append(append, self.parts.append_fate())
            if self._dies("after_append"):
                return
            records = self.shard.committed(now)
            self.parts.watch.decided(self, append, records, before, self.state)
        if not self._dies("before_action"):
            self._act_or_stall(now, committed=append is not None)
        due = self.shard.next_due()
        if self.shard.has_work:
            self.wake(now)
        elif due is not None:
            at = max(due, now + 0.01)
            if self._due_at is None or at < self._due_at or self._due_at <= now:
                self._due_at = at
                self.parts.later(at, lambda: self._wake_for(at))

    def _wake_for(self, at: float) -> None:
        if self.alive and self._due_at == at:
            self._due_at = None
            self.wake(at)

    def in_flight(self) -> frozenset[str]:
        """Keys of actions whose end is not known yet."""
        return frozenset(self._flight)

    @property
    def state(self) -> ServiceState:
        """The service's durable state, as this owner knows it."""
        return self.shard.states.get(self.parts.service) or ServiceState(self.parts.service)

    def _take(self, now: float) -> None:
        for topic in (Topic.DEPLOYMENTS, Topic.CONTROL, Topic.METRICS):
            batch = self.parts.log.read(topic, self._positions.get(topic, 0), 50)
            if batch is not None:
                self.shard.take(batch, now)
                self._positions[topic] = batch.messages[-1].offset + 1
        self.shard.warming = self._positions.get(Topic.METRICS, 0) < self._warm_to

    def _append(self, append: Append, fate: Fate = "done") -> None:
        now = self.parts.hosts.now
        while True:
            try:
                self.parts.log.append(self.epoch, append, now, fate)
            except Fenced:
                raise
            except StreamError as error:
                if error.outcome == "unavailable":
                    fate = "done"
                    continue
                raise
            self._sent_at = now
            return

    def _dies(self, point: CrashPoint) -> bool:
        if self.parts.crashes(point):
            self.die()
        return not self.alive

    # Acting.

    def _act_or_stall(self, now: float, *, committed: bool) -> None:
        stall_s = self.parts.stall_s() if committed else 0.0
        if stall_s > 0:
            self.frozen_until = now + stall_s
            self.parts.later(self.frozen_until, self._act_late)
        else:
            self._act(now)

    def _act_late(self) -> None:
        """Go on where the machine was stopped: between the commit and its actions."""
        if not self.alive:
            return
        self.now = self.parts.hosts.now
        try:
            self._act(self.now)
        except StreamError:
            self.die()

    def _act(self, now: float) -> None:
        actions = self.shard.actions(now)
        if not actions:
            return
        if now > self._sent_at + LEASE_S - MARGIN_S:
            self._append(self.shard.heartbeat(now))
            self.shard.committed(now)
        self._flight |= {action.key for action in actions}
        self.parts.watch.acting(self, actions)
        for number, action in enumerate(actions):
            if number and self._dies("between_actions"):
                return
            if isinstance(action, StopReplica | Remove) and now < self._stops_from:
                self.parts.later(self._stops_from, lambda action=action: self._settle(action))  # type: ignore[misc]
                continue
            self.parts.hosts.call(action, self.token, self._answered)

    def _answered(self, outcome: Outcome | None) -> None:
        now = self.parts.hosts.now
        if outcome is None or not self.alive or self._dies("before_outcome"):
            return
        if now < self.frozen_until:
            self.parts.later(self.frozen_until, lambda: self._answered(outcome))
            return
        if outcome.result == "done" and outcome.action.kind != "resolve" and self.parts.chance.happens(0.7):
            # Mostly the host's own news come before the answer, at times after it.
            self._views[outcome.action.host] = self.parts.hosts.view(outcome.action.host)
        self.shard.outcome(outcome, now)
        if outcome.result not in {"unknown", "unavailable"}:
            self._flight.discard(outcome.action.key)
        if outcome.result in {"unknown", "unavailable"}:
            self.parts.later(now + LOOK_AGAIN_S, lambda: self._settle(outcome.action))
        self.wake(now)

    def _settle(self, action: Action) -> None:
        """Look at the host anew; only then may the replica be planned for again."""
        if not self.alive:
            return
        now = self.parts.hosts.now
        if action.kind != "resolve":
            self._views[action.host] = self.parts.hosts.view(action.host)
        self._flight.discard(action.key)
        self.shard.cleared(self.parts.service, action.key)
        self.shard.observed(self.parts.service, now)
        self.wake(now)
