"""Shares a demand that changed in the middle of a rollout over both revisions. Called by convergence. Pure.

Source: kubernetes/kubernetes `pkg/controller/deployment` (proportional scaling); arithmetic in docs/design/delivery.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.core.edit import Edit, victims
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.rollout import Advancing, Soaking
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import Replica, ServiceState


def surge_and_unavailable(settings: ServiceSettings, demand: int, *, stop_first: bool) -> tuple[int, int]:
    """(S, U) for a rolling update at this demand: surge rounded up, unavailable rounded down; both 0 makes U 1.

    Source: kubernetes/kubernetes `pkg/controller/deployment/util/deployment_util.go` (ResolveFenceposts).
    """
    rules = settings.update
    surge = 0 if stop_first else rules.max_surge.up(demand)
    unavailable = min(demand, rules.max_unavailable.down(demand))
    if surge == 0 and unavailable == 0:
        unavailable = min(1, demand)
    return surge, unavailable


def stops_first(state: ServiceState, settings: ServiceSettings, target: int) -> bool:
    """Whether the old replica of a slot goes before the new one comes: as configured; auto: a host port or volume pins
    it."""
    revision = state.revision_numbered(target)
    return goes_first(settings, revision.spec if revision is not None else None)


def goes_first(settings: ServiceSettings, spec: RevisionSpec | None) -> bool:
    """`stops_first` for content that may have no number yet."""
    if settings.update.order != "auto":
        return settings.update.order == "stop_first"
    return spec is not None and spec.pins_host


def split_demand(edit: Edit, rollout: Advancing | Soaking, former: int) -> None:
    """Share today's demand, which was ``former``, over both revisions in proportion to what each has; ties to the
    older.

    T' = D' + clamp(total - D, -U', S'). A revision with a replica failed or late now does not grow, its share goes to
    the other. What is available goes only as far as D' - U' stays available.
    """
    target, demand = rollout.target, edit.state.demand
    stop_first = stops_first(edit.state, edit.settings, target)
    surge, unavailable = surge_and_unavailable(edit.settings, demand, stop_first=stop_first)
    if isinstance(rollout, Soaking):
        unavailable = 0
    new, old = edit.of(target), edit.other_than(target)
    wanted = demand + max(-unavailable, min(surge, len(edit.steady) - former))
    new_share = _new_share(len(new), len(old), wanted)
    if new_share > len(new) and old and ails(edit, new):
        new_share = len(new)
    old_share = wanted - new_share
    spare = edit.available_count() - (demand - unavailable)
    spare = _shrink(edit, new, len(new) - new_share, spare)
    _shrink(edit, old, len(old) - old_share, spare)
    grow(edit, target, new_share - len(new))
    if old:
        base = rollout.base if any(r.revision == rollout.base for r in old) else old[0].revision
        grow(edit, base or old[0].revision, old_share - len(old))


def ails(edit: Edit, new: Sequence[Replica]) -> bool:
    """Whether a replica of the new revision is not available now, or failed so lately that its slot waits."""
    return any(not edit.available(r) for r in new) or any(s.retry_at > edit.world.now for s in edit.state.setbacks)


def _new_share(new: int, old: int, wanted: int) -> int:
    """The new revision's part of ``wanted`` by largest remainder, ties to the older."""
    total = new + old
    if total == 0:
        return 0
    whole, remainder = divmod(wanted * new, total)
    old_whole, old_remainder = divmod(wanted * old, total)
    left = wanted - whole - old_whole
    return whole + (1 if left > 0 and remainder > old_remainder else 0)


def _shrink(edit: Edit, among: list[Replica], count: int, spare: int) -> int:
    """Stop ``count`` of them, of the available ones at most ``spare``; what is left of that."""
    for victim in victims(edit, among, count):
        if edit.available(victim):
            if spare <= 0:
                continue
            spare -= 1
        edit.stop(victim)
    return spare


def grow(edit: Edit, revision: int, count: int) -> int:
    """Start ``count`` more of a revision, in slots free of any replica first, above the demand where there are none;
    how many it started."""
    used = {r.slot for r in edit.replicas}
    highest = max((*used, edit.state.demand)) + max(0, count)
    return edit.start_in((slot for slot in range(highest + 1) if slot not in used), revision, count)
