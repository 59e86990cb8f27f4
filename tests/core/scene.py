"""A service on stage: decide and plan over hosts that obey at once, in virtual time. What it starts behaves as told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from autoscaler.core.actions import Action, Create, Outcome, Remove, Resolve, Start, StopReplica, created_replica
from autoscaler.core.deadlines import next_deadline
from autoscaler.core.decide import decide
from autoscaler.core.evolve import fold
from autoscaler.core.judging import is_due
from autoscaler.core.plan import plan
from autoscaler.core.records import Record
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.rollout import TRANSITIONS
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import (
    Configured,
    DeadlineReached,
    Evaluate,
    Observed,
    OutcomeArrived,
    PolicyVote,
    Stimulus,
)
from autoscaler.core.world import HostView, ObservedReplica, World
from tests.core.builders import NOW, a_command, a_deployment, a_host, a_service, an_evaluation, some_settings

Behaviour = Callable[[ObservedReplica], ObservedReplica]


def good(seen: ObservedReplica) -> ObservedReplica:
    """Healthy from its start."""
    return replace(seen, healthy=True, healthy_since=seen.started_at)


def crashes(seen: ObservedReplica) -> ObservedReplica:
    """Exits at once."""
    return replace(seen, condition="exited", exit_code=1, note="no such module")


def silent(seen: ObservedReplica) -> ObservedReplica:
    """Runs and never answers a health check."""
    return seen


def sick(seen: ObservedReplica) -> ObservedReplica:
    """Fails its health checks past their limit."""
    return replace(seen, healthy=False)


def one_after_another(*behaviours: Behaviour) -> Behaviour:
    """The first replica behaves like the first, and so on; all later ones are good."""
    left = list(behaviours)

    def behave(seen: ObservedReplica) -> ObservedReplica:
        return (left.pop(0) if left else good)(seen)

    return behave


class Scene:
    """One service, its hosts and its clock. ``behave``: version (second word of the command, or tag) -> behaviour.

    ``votes``: what the policies say when a step asks them. ``secrets``: name -> mark of what its file holds.
    """

    def __init__(
        self,
        state: ServiceState | None = None,
        settings: ServiceSettings | None = None,
        hosts: Sequence[HostView] | None = None,
        **behave: Behaviour,
    ) -> None:
        self.settings = settings or some_settings()
        self.state = state or ServiceState("web")
        self.now = NOW
        self.watched_since = 0.0
        self.hosts = {h.name: h for h in (hosts if hosts is not None else (a_host("h1"), a_host("h2")))}
        self.behave = {name.removeprefix("v"): how for name, how in behave.items()}
        self.records: list[Record] = []
        self.containers: dict[str, ObservedReplica] = {}
        self.actions: list[Action] = []
        self.created: list[str] = []
        self.obedient = True
        self.votes: tuple[PolicyVote, ...] = ()
        self.secrets: dict[str, str] = {}
        for r in self.state.replicas:
            name = f"shop.web.s{r.slot}.r{r.revision}.{r.attempt}"
            self.containers[name] = ObservedReplica(
                name, name, "web", r.slot, r.revision, r.attempt, r.host, "running",
                healthy=True, healthy_since=NOW - 850, started_at=NOW - 890,
            )  # fmt: skip

    # -- the world -------------------------------------------------------------------------------------------------

    def world(self) -> World:
        """What the hosts show now."""
        crowd: dict[str, int] = {}
        for seen in self.containers.values():
            crowd[seen.host] = crowd.get(seen.host, 0) + 1
        hosts = tuple(replace(h, replicas=h.replicas + crowd.get(h.name, 0)) for h in self.hosts.values())
        hidden = {h.name for h in hosts if not h.known}
        shown = tuple(c for c in self.containers.values() if c.host not in hidden)
        return World(self.now, shown, hosts, token=1, watched_since=self.watched_since)

    def change_host(self, name: str, **changes: Any) -> None:
        """Something happens to a host."""
        self.hosts[name] = replace(self.hosts[name], **changes)
        self.tell(Observed(self.now))

    def change(self, slot: int, **changes: Any) -> None:
        """Something happens to the container of a slot (the newest one)."""
        name = max((n for n, c in self.containers.items() if c.slot == slot), key=lambda n: self.containers[n].attempt)
        self.containers[name] = replace(self.containers[name], **changes)
        self.tell(Observed(self.now))

    def remove_by_hand(self, slot: int) -> None:
        """A person removes the container of a slot."""
        name = next(n for n, c in self.containers.items() if c.slot == slot)
        del self.containers[name]
        self.tell(Observed(self.now))

    def take_over_after(self, seconds: float) -> None:
        """Nobody looks for so long; then another owner does."""
        self.now += seconds
        self.watched_since = self.now
        self.tell(Observed(self.now))

    # -- stimuli ---------------------------------------------------------------------------------------------------

    def tell(self, stimulus: Stimulus) -> list[Record]:
        """Decide, check the fold and the phases, then obey the plan until it is empty."""
        first = len(self.records)
        self._decide(stimulus)
        for _ in range(200):
            if not self.obedient:
                break
            actions = plan(self.state, self.settings, self.world(), "shop")
            if not actions:
                break
            self.actions += actions
            for action in actions:
                outcome = self._execute(action)
                if outcome is not None:
                    self._decide(OutcomeArrived(self.now, outcome))
            self._decide(Observed(self.now))
        else:
            raise AssertionError(
                f"the plan never came to rest: {plan(self.state, self.settings, self.world(), 'shop')}"
            )
        return self.records[first:]

    def _decide(self, stimulus: Stimulus) -> None:
        records = decide(self.state, self.settings, stimulus, self.world())
        phase = self.state.rollout.phase
        for record in records:
            moved = record.changes.get("rollout")
            if moved is not None:
                after = moved.phase  # type: ignore[attr-defined]
                assert after in TRANSITIONS[phase], f"{phase} -> {after}"
                phase = after
        before = self.state
        self.state = fold(before, records)
        raised = sum(1 for r in records if r.raises_generation)
        assert self.state.generation == before.generation + raised
        self.records += records
        patience_s = self.settings.update.analysis_patience_s
        if not isinstance(stimulus, Evaluate) and is_due(self.state.rollout, patience_s, self.now):
            self._decide(an_evaluation(self.now, *self.votes, sampled=False))

    def _execute(self, action: Action) -> Outcome | None:
        match action:
            case Resolve():
                pinned = f"{action.spec.image}@sha256:{action.spec.image[-1] * 64}" if action.spec.image else ""
                marks = tuple((name, self.secrets[name]) for name, _ in action.spec.secrets)
                return Outcome(action, "done", pinned=pinned, secret_marks=marks)
            case Create():
                self.created.append(action.name)
                self.containers[action.name] = replace(created_replica(action, action.name), made_at=self.now)
                return Outcome(action, "done", id=action.name)
            case Start() if any(self.secrets[name] != mark for name, mark in action.secret_marks):
                return Outcome(action, "refused", "secret KEY: its file /s/key has changed", "host")
            case Start():
                seen = replace(self.containers[action.name], condition="running", started_at=self.now)
                self.containers[action.name] = self._behaviour(seen.revision)(seen)
                return Outcome(action, "done")
            case StopReplica():
                self.containers[action.name] = replace(self.containers[action.name], condition="exited", exit_code=0)
                return Outcome(action, "done")
            case Remove():
                self.containers.pop(action.name, None)
                return Outcome(action, "done")

    def _behaviour(self, revision: int) -> Behaviour:
        kept = self.state.revision_numbered(revision)
        assert kept is not None
        version = kept.spec.command[1] if kept.spec.command else kept.spec.image.rpartition(":")[2]
        return self.behave.get(version, good)

    def deploy(self, spec: RevisionSpec, identity: str = "d-1", **changes: Any) -> list[Record]:
        """A deployment event arrives."""
        return self.tell(a_deployment(self.now, spec, identity, **changes))

    def order(self, command: str, identity: str = "", **changes: Any) -> list[Record]:
        """An operator's command arrives."""
        return self.tell(a_command(self.now, command, identity or f"c-{command}-{self.now:.0f}", **changes))

    def evaluate(self, *votes: PolicyVote, **changes: Any) -> list[Record]:
        """The policies were asked."""
        return self.tell(an_evaluation(self.now, *votes, **changes))

    def configure(self) -> list[Record]:
        """The service is taken over, or its configuration changed."""
        return self.tell(Configured(self.now))

    def run(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline."""
        end = self.now + seconds
        for _ in range(1000):
            due = next_deadline(self.state, self.settings, self.world())
            if due is None or due > end:
                break
            self.now = due
            self.tell(DeadlineReached(self.now))
        else:
            raise AssertionError("deadlines without end")
        self.now = end
        self.tell(DeadlineReached(self.now))

    # -- what came of it -------------------------------------------------------------------------------------------

    @property
    def phase(self) -> str:
        """The rollout's phase."""
        return self.state.rollout.phase

    def verdicts(self, identity: str) -> list[str]:
        """The terminal verdicts of an event, in order."""
        return [str(r.verdict) for r in self.records if r.terminal and r.event is not None and r.event.id == identity]

    def verdict(self, identity: str) -> str:
        """The one terminal verdict of an event, or empty."""
        found = self.verdicts(identity)
        assert len(found) <= 1, found
        return found[0] if found else ""

    def reason(self, identity: str) -> str:
        """The code of the terminal record of an event."""
        return next(
            r.reason.code for r in self.records if r.terminal and r.event is not None and r.event.id == identity
        )

    def wanted(self) -> dict[int, int]:
        """Wanted replicas by revision."""
        counts: dict[int, int] = {}
        for r in self.state.replicas:
            counts[r.revision] = counts.get(r.revision, 0) + 1
        return counts

    def running(self) -> dict[int, int]:
        """Running containers by revision."""
        counts: dict[int, int] = {}
        for c in self.containers.values():
            if c.condition == "running":
                counts[c.revision] = counts.get(c.revision, 0) + 1
        return counts


def a_scene(replicas: int = 0, *, settings: ServiceSettings | None = None, **behave: Behaviour) -> Scene:
    """A service with one stable revision and so many replicas."""
    return Scene(a_service(replicas), settings, **behave)
