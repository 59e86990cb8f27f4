"""Shadow policies of a service: asked about the live events, arbitrated as if each were in charge, and acted on by
nobody.

Owned by the evaluator and asked after its decision is made; nothing here is read by what decides. Each shadow has a
demand of its own that follows its own wishes through the guards of the core; the disagreement is its distance from the
live one. No record, no generation: what there is to tell stands in the checkpoint and in counts. No clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autoscaler.core.draft import Draft
from autoscaler.core.grants import UNLIMITED
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.rollout import Retired, Retiring
from autoscaler.core.scaling import evaluate
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import Conclusion, ServiceState
from autoscaler.core.stimuli import PolicyVote
from autoscaler.engine.evaluation import stimulus_for
from autoscaler.engine.volatile import Judge, Volatile
from autoscaler.plugin_host.evaluation import EvaluationRequest

TEXT_MAX = 300
CHANGED_SAVE_S, SAVE_S = 60.0, 900.0
"""How long after the last checkpoint another is due, where outcomes have changed and where they have not."""


@dataclass(frozen=True, slots=True)
class Asked:
    """When shadows were asked (evaluation time), whether a sample had come, and what the plugin host is to know."""

    request: EvaluationRequest
    at: float
    sampled: bool


@dataclass(slots=True)
class Shadow:
    """One shadow policy of one service. ``demand``: what it would want now; ``live``: what was wanted at ``at``.

    ``outcome``: agrees, more, fewer, unknown or rollback. ``since``: when it last came to another outcome.
    ``more_s``, ``fewer_s``: replica seconds that it would have run more or fewer, so far.
    """

    label: str
    judge: Judge
    demand: int = 0
    live: int = 0
    outcome: str = ""
    text: str = ""
    at: float = 0.0
    since: float = 0.0
    more_s: float = 0.0
    fewer_s: float = 0.0
    last_up_at: float | None = None
    last_down_at: float | None = None
    steps: tuple[tuple[float, int], ...] = ()
    conclusion: Conclusion | None = None

    def take(self, vote: PolicyVote, live: ServiceState, settings: ServiceSettings, asked: Asked, now: float) -> float:
        """What comes of its vote, with the state of the live decision beside it; replica seconds since the last one,
        negative where it would have run fewer."""
        at = asked.at
        seconds = 0.0
        if not self.outcome:
            self.demand = live.asking
        else:
            # A gap in the samples is not filled in: nobody knows what would have been.
            seconds = min(max(0.0, at - self.at), settings.scaling.max_age_s) * (self.demand - self.live)
            self.more_s += max(0.0, seconds)
            self.fewer_s += max(0.0, -seconds)
        self.live, self.at = live.asking, max(at, self.at)
        outcome = self._decide(vote, live, settings, asked, now)
        proposal = vote.proposal
        self.text = (vote.unknown or (proposal.reason if proposal is not None else "no opinion"))[:TEXT_MAX]
        if outcome != self.outcome:
            self.outcome, self.since = outcome, at
        return seconds

    def _decide(self, vote: PolicyVote, live: ServiceState, settings: ServiceSettings, asked: Asked, now: float) -> str:
        if vote.rollback:
            return "unknown" if vote.unknown else "agrees" if vote.proposal is None else "rollback"
        state = replace(
            live, demand=self.demand, asked=None, last_up_at=self.last_up_at, last_down_at=self.last_down_at,
            steps=self.steps, conclusion=self.conclusion,
        )  # fmt: skip
        stimulus = stimulus_for(state, settings, self.judge, (vote,), asked.at, sampled=asked.sampled)
        if stimulus is not None:
            draft = Draft(state, now)
            evaluate(draft, settings, stimulus, UNLIMITED)
            state = draft.state
        if vote.proposal is None and not vote.unknown:
            state = replace(state, demand=live.asking)  # without an opinion it has nothing against the live one
        self.demand, self.conclusion, self.steps = state.demand, state.conclusion, state.steps
        self.last_up_at, self.last_down_at = state.last_up_at, state.last_down_at
        if vote.unknown:
            return "unknown"
        return "agrees" if self.demand == live.asking else "more" if self.demand > live.asking else "fewer"

    def saved(self) -> dict[str, Any]:
        """JSON values that `restore` and `status` read."""
        return {
            "demand": self.demand,
            "live": self.live,
            "outcome": self.outcome,
            "text": self.text,
            "at": self.at,
            "since": self.since,
            "more_s": self.more_s,
            "fewer_s": self.fewer_s,
            "ups": [self.last_up_at, self.last_down_at],
            "steps": [list(step) for step in self.steps],
            "wishes": self.judge.wishes.snapshot(),
            "judged": [self.judge.judged_since, self.judge.judged_at],
            "metrics": list(self.judge.metrics),
            "memory": self.judge.memory.get(self.label, {}),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Become what `saved` described. Raises LookupError, TypeError or ValueError where it is not that."""
        self.judge.restore_wishes(saved)
        self.judge.metrics = tuple(str(name) for name in saved["metrics"])
        self.judge.memory[self.label] = dict(saved["memory"])
        self.demand, self.live = int(saved["demand"]), int(saved["live"])
        self.outcome, self.text = str(saved["outcome"]), str(saved["text"])
        self.at, self.since = float(saved["at"]), float(saved["since"])
        self.more_s, self.fewer_s = float(saved["more_s"]), float(saved["fewer_s"])
        self.last_up_at, self.last_down_at = saved["ups"]
        self.steps = tuple((float(at), int(delta)) for at, delta in saved["steps"])


@dataclass(slots=True)
class ServiceShadows:
    """All shadows of one service, in the order of its configuration."""

    settings: ServiceSettings
    shadows: Sequence[Shadow]
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: ServiceSettings, live: Volatile) -> ServiceShadows:
        """New ones, beside what is remembered of the live policies; continued where a checkpoint has them."""
        # Guard plugins are asked about what is done, and nothing is done here. Whoever is in charge alone needs nobody
        # to agree.
        alone = replace(
            settings,
            guards=replace(settings.guards, plugins=()),
            scaling=replace(settings.scaling, combine="max", quorum=0),
        )
        made = cls(alone, ())
        shadows = []
        for use in settings.shadows:
            shadow = Shadow(use.label, Judge(live.signals, made.memory))
            saved = live.shadows_saved.get(use.label)
            if saved is not None:
                try:
                    shadow.restore(saved)
                except (LookupError, TypeError, ValueError):
                    shadow = Shadow(use.label, Judge(live.signals, made.memory))
            shadows.append(shadow)
        made.shadows = tuple(shadows)
        live.shadows = made
        return made

    def asked(self, facts: ServiceFacts, at: float, *, sampled: bool) -> Asked:
        """What to ask the plugin host."""
        settings = self.settings
        signals = self.shadows[0].judge.signals
        request = EvaluationRequest(facts, settings.shadows, signals, at, settings.scaling.max_age_s, self.memory)
        return Asked(request, at, sampled)

    def take(
        self, votes: Sequence[PolicyVote], live: ServiceState, asked: Asked, now: float
    ) -> Iterator[tuple[str, str, float]]:
        """What comes of their votes; yields label, outcome and replica seconds of each."""
        if live.revision == 0 or isinstance(live.rollout, Retiring | Retired):
            return
        for shadow, vote in zip(self.shadows, votes, strict=True):
            seconds = shadow.take(vote, live, self.settings, asked, now)
            yield shadow.label, shadow.outcome, seconds

    def save_due(self, since_s: float) -> bool:
        """Whether a checkpoint is due, so long after the last one."""
        return since_s >= (SAVE_S if self._outcomes == self.told else CHANGED_SAVE_S)

    @property
    def _outcomes(self) -> tuple[str, ...]:
        return tuple(f"{shadow.outcome} {shadow.demand - shadow.live}" for shadow in self.shadows)

    def shown(self) -> dict[str, Any]:
        """JSON values for a person, by label."""
        names = ("demand", "live", "outcome", "text", "at", "since", "more_s", "fewer_s")
        return {shadow.label: {name: getattr(shadow, name) for name in names} for shadow in self.shadows}

    def saved(self) -> dict[str, Any]:
        """JSON values for a checkpoint, by label."""
        self.told = self._outcomes
        return {shadow.label: shadow.saved() for shadow in self.shadows if shadow.outcome}
