"""A service's demand within its budgets. Called by `evaluate` for a new demand, and by `decide` after every stimulus.
Pure.

Rules: what was asked for is kept in the state, so that others see it and it is had once there is room; a freeze of all
holds the demand; an operator's override is a demand like any other.
"""

from __future__ import annotations

from autoscaler.core.draft import Draft, because
from autoscaler.core.facts import Clamp
from autoscaler.core.freezing import scaling_frozen
from autoscaler.core.grants import Grants
from autoscaler.core.rollout import Retired, Retiring
from autoscaler.core.state import ServiceState

GUARD = "budget"
"""What records call it."""


def budget_clamp(grants: Grants, state: ServiceState, asking: int) -> Clamp | None:
    """What budgets make of a demand of ``asking``; None where they grant it."""
    grant = grants.granted(state, asking)
    if grant is None or grant.most >= asking:
        return None
    return Clamp(GUARD, asking, grant.most, grant.text)


def keep_budget(draft: Draft, grants: Grants) -> None:
    """Bring the demand to what budgets grant of what was asked for: less where others come first, more where there is
    room again."""
    state = draft.state
    if state.revision == 0 or isinstance(state.rollout, Retiring | Retired) or scaling_frozen(state, draft.at):
        return
    clamp = budget_clamp(grants, state, state.asking)
    to = state.asking if clamp is None else clamp.after
    asked = state.asking if to < state.asking else None
    if (to, asked) == (state.demand, state.asked):
        return
    text = f"{state.demand} -> {to} of {state.asking} replicas: {clamp.text if clamp is not None else 'there is room'}"
    reason = because(GUARD, text, demand=to, asked=state.asking)
    clamps = () if clamp is None else (clamp,)
    draft.add("decided", "scale", reason, clamps=clamps, demand=to, asked=asked)
