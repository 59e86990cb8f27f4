"""From votes to demand: stabilise, clamp, and say each step. Called by `decide` for an `Evaluate`. Pure.

Rules: an unknown vote wishes today's demand; nothing is scaled down on silence, on unknown, on a window that is not
yet full, or while a rollout is unproven; to zero only after known zeros for the idle time; every clamp is recorded
before -> after. Where budgets grant less than was asked for, all of this is about what was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from autoscaler.core.combination import Wish, combine, note_of
from autoscaler.core.draft import Draft, because
from autoscaler.core.facts import Clamp
from autoscaler.core.freezing import scaling_frozen
from autoscaler.core.grants import Grants
from autoscaler.core.rollout import Retired, Retiring, is_unproven, running_of
from autoscaler.core.scheduling import plan_clamps
from autoscaler.core.settings import ServiceSettings, StepLimit
from autoscaler.core.spending import budget_clamp
from autoscaler.core.state import Conclusion, ServiceState
from autoscaler.core.stimuli import Evaluate

STEPS_MAX = 64


@dataclass(slots=True)
class _Passage:
    """A wish on its way through the guards; ``now`` is the clock of limits and cooldowns, as it stamps the records."""

    state: ServiceState
    settings: ServiceSettings
    stimulus: Evaluate
    now: float
    to: int
    clamps: list[Clamp] = field(default_factory=list)

    @property
    def demand(self) -> int:
        """From where it goes up or down: what was asked for last, whatever budgets allowed of it."""
        return self.state.asking

    def clamp(self, guard: str, to: int, text: str) -> None:
        if to != self.to:
            self.clamps.append(Clamp(guard, self.to, to, text))
            self.to = to


def evaluate(draft: Draft, settings: ServiceSettings, stimulus: Evaluate, grants: Grants) -> None:
    """Turn the votes into a new demand, or into a conclusion that it stays, recorded only where the conclusion
    changed."""
    state = draft.state
    if state.revision == 0 or isinstance(state.rollout, Retiring | Retired):
        return
    wish = combine(stimulus.votes, state.asking, settings.scaling, told=state.demand)
    if state.override is not None:
        wish = Wish(state.override.replicas, "operator", "operator's override", "override")
    if wish is None:
        return
    passage = _Passage(state, settings, stimulus, draft.at, wish.to)
    for guard in _GUARDS if state.override is None else (_bounds, _freeze):
        guard(passage)
    asking = passage.to
    if not scaling_frozen(state, draft.at):
        clamp = budget_clamp(grants, state, asking)
        if clamp is not None:
            # What others have a right to is taken by a record of its own: it is no matter of the votes.
            passage.clamp(clamp.guard, max(clamp.after, min(state.demand, asking)), clamp.text)
    else:
        passage.to = state.demand
    _conclude(draft, settings, stimulus, wish, passage, asking)


def _conclude(
    draft: Draft, settings: ServiceSettings, stimulus: Evaluate, wish: Wish, passage: _Passage, asking: int
) -> None:
    state, to = draft.state, passage.to
    conclusion = Conclusion("scale", to, wish.code, wish.winner, tuple(clamp.guard for clamp in passage.clamps))
    if (to, asking) == (state.demand, state.asking) and conclusion == state.conclusion:
        return
    text = wish.text
    for clamp in passage.clamps:
        text = f"{text}; {clamp.guard}: {clamp.before} -> {clamp.after}, {clamp.text}"
    code = passage.clamps[-1].guard if passage.clamps and to != wish.to else wish.code
    changes: dict[str, Any] = {"conclusion": conclusion}
    kind = "hold"
    if asking != state.asking:
        changes["last_up_at" if asking > state.asking else "last_down_at"] = draft.at
        changes["steps"] = _steps_after(state, settings, draft.at, asking - state.asking)
    if (to, asking) != (state.demand, state.asking):
        changes |= {"demand": to, "asked": asking if asking != to else None}
    if to != state.demand:
        kind = "scale"
    draft.causes = stimulus.causes
    draft.add(
        "decided",
        kind,
        because(code, text[:1000], wish=wish.to, demand=to),
        inputs=stimulus.readings,
        proposals=tuple(note_of(vote) for vote in stimulus.votes),
        clamps=tuple(passage.clamps),
        **changes,
    )


def _steps_after(
    state: ServiceState, settings: ServiceSettings, at: float, delta: int
) -> tuple[tuple[float, int], ...]:
    limits = [
        limit.per_s for limit in (settings.guards.max_step_up, settings.guards.max_step_down) if limit is not None
    ]
    if not limits:
        return ()
    horizon = at - max(limits)
    return (*(step for step in state.steps if step[0] > horizon), (at, delta))[-STEPS_MAX:]


def _up_window(passage: _Passage) -> None:
    demand, lowest = passage.demand, passage.stimulus.wishes_min
    if passage.to > demand and passage.settings.scaling.up_window_s > 0:
        steady = demand if lowest is None else max(demand, min(passage.to, lowest))
        passage.clamp("up_window", steady, f"lowest wish of the last {passage.settings.scaling.up_window_s:g} s")


def _down_window(passage: _Passage) -> None:
    demand, stimulus, scaling = passage.demand, passage.stimulus, passage.settings.scaling
    if passage.to >= demand:
        return
    if not stimulus.sampled:
        passage.clamp("no_sample", demand, "scaling down is decided only when a sample arrives")
        return
    if stimulus.covered_since is None or stimulus.covered_since > stimulus.at - scaling.down_window_s:
        passage.clamp(
            "window_not_full", demand, f"signals are not known over the whole {scaling.down_window_s:g} s window"
        )
        return
    if scaling.down_window_s <= 0:
        return
    if stimulus.wishes_max is None:
        passage.clamp("window_not_full", demand, "no earlier wish to compare with")
        return
    passage.clamp(
        "down_window",
        max(passage.to, min(demand, stimulus.wishes_max)),
        f"highest wish of the last {scaling.down_window_s:g} s",
    )


def _unproven(passage: _Passage) -> None:
    state = passage.state
    if passage.to >= passage.demand or passage.settings.scaling.down_while_unproven or not is_unproven(state.rollout):
        return
    held = "held in its " if state.rollout is not running_of(state.rollout) else ""
    phase = running_of(state.rollout).phase.replace("_", " ")
    passage.clamp("unproven", passage.demand, f"not scaled down before the rollout ({held}{phase}) is proven")


def _idle(passage: _Passage) -> None:
    if passage.to > 0 or passage.demand == 0:
        return
    idle_s, zero_since = passage.settings.scaling.idle_s, passage.stimulus.zero_since
    if zero_since is None or zero_since > passage.stimulus.at - idle_s:
        passage.clamp("idle", 1, f"not yet known zeros for {idle_s:g} s")


def _cooldown(passage: _Passage) -> None:
    state, scaling, at = passage.state, passage.settings.scaling, passage.now
    if passage.to > passage.demand and state.last_up_at is not None and at < state.last_up_at + scaling.up_cooldown_s:
        passage.clamp(
            "up_cooldown", passage.demand, f"{state.last_up_at + scaling.up_cooldown_s - at:.1f} s of cooldown left"
        )
    if (
        passage.to < passage.demand
        and state.last_down_at is not None
        and at < state.last_down_at + scaling.down_cooldown_s
    ):
        passage.clamp(
            "down_cooldown",
            passage.demand,
            f"{state.last_down_at + scaling.down_cooldown_s - at:.1f} s of cooldown left",
        )


def _step_limit(passage: _Passage) -> None:
    demand, guards = passage.demand, passage.settings.guards
    if passage.to > demand and guards.max_step_up is not None:
        ceiling = step_ceiling(passage.state, guards.max_step_up, passage.now)
        passage.clamp("max_step_up", max(demand, min(passage.to, ceiling)), _limit_text(guards.max_step_up))
    if passage.to < demand and guards.max_step_down is not None:
        floor = step_floor(passage.state, guards.max_step_down, passage.now)
        passage.clamp("max_step_down", min(demand, max(passage.to, floor)), _limit_text(guards.max_step_down))


def step_ceiling(state: ServiceState, limit: StepLimit, at: float) -> int:
    """The highest demand the limit allows now: what stood at the period's start plus one step (at least 1)."""
    start = state.asking - sum(delta for when, delta in state.steps if when > at - limit.per_s)
    return start + max(1, limit.by.up(start))


def step_floor(state: ServiceState, limit: StepLimit, at: float) -> int:
    """The lowest demand the limit allows now: what stood at the period's start less one step (at least 1)."""
    start = state.asking - sum(delta for when, delta in state.steps if when > at - limit.per_s)
    return start - max(1, limit.by.down(start))


def _limit_text(limit: StepLimit) -> str:
    size = f"{limit.by.count}" if limit.by.count is not None else f"{limit.by.percent}%"
    return f"at most {size} in {limit.per_s:g} s"


def _bounds(passage: _Passage) -> None:
    bounds = passage.settings.bounds
    passage.clamp("max", min(passage.to, bounds.max), f"at most {bounds.max} replicas")
    passage.clamp("min", max(passage.to, bounds.min), f"at least {bounds.min} replicas")


def _plugins(passage: _Passage) -> None:
    demand = passage.demand
    for note in passage.stimulus.guards:
        if note.unknown and passage.to < demand:
            passage.clamp(note.guard, demand, f"guard failed: {note.text}")
        elif note.to is None and not note.unknown:
            passage.clamp(note.guard, demand, f"veto: {note.text}")
        elif note.to is not None:
            low, high = min(demand, passage.to), max(demand, passage.to)
            passage.clamp(note.guard, max(low, min(note.to, high)), note.text)
    if passage.stimulus.guards:
        _bounds(passage)


def _freeze(passage: _Passage) -> None:
    if scaling_frozen(passage.state, passage.now):
        passage.clamp("freeze", passage.demand, "frozen with scope all")


def _schedule(passage: _Passage) -> None:
    for clamp in plan_clamps(passage.settings, passage.now, passage.to) if passage.settings.overrides else ():
        passage.clamp(clamp.guard, clamp.after, clamp.text)


_GUARDS = (
    _up_window, _down_window, _unproven, _idle, _cooldown, _step_limit, _bounds, _plugins, _schedule, _freeze,
)  # fmt: skip
"""The order of the guards; each sees what the one before it left."""
