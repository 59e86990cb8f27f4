"""Hosts that are to be emptied, and what is still on them when that takes too long. Called by convergence. Pure.

Rules: nothing is forced, only an operator forces; what is stuck is said once for a host, with why, and stays in the
state until it has left or may stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from autoscaler.core.draft import Draft, because
from autoscaler.core.edit import Edit
from autoscaler.core.rollout import Halted, Held
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import label_of
from autoscaler.core.state import Leaving, ServiceState

NAMES_MAX = 20


def leaving_hosts(edit: Edit) -> tuple[Leaving, ...]:
    """The hosts that the service has yet to leave, since when, as the edit leaves them."""
    known = {one.host: one for one in edit.state.leaving}
    if not edit.draining:
        return ()
    present = {host for host in edit.draining if _present(edit, host)}
    return tuple(known.get(host) or Leaving(host, edit.world.now) for host in sorted(present))


def report_stuck(draft: Draft, edit: Edit) -> None:
    """Say, once, what has not left a host in ``drain_report``."""
    limit_s = edit.settings.placement.drain_report_s
    stuck = [one for one in draft.state.leaving if not one.told and draft.at >= one.since + limit_s]
    if not stuck:
        return
    told = {one.host for one in stuck}
    leaving = tuple(replace(one, told=True) if one.host in told else one for one in draft.state.leaving)
    on = "; ".join(f"{', '.join(_present(edit, one.host)[:NAMES_MAX])} on {one.host}" for one in stuck)
    text = f"alarm: not gone in {limit_s:g} s from hosts that are to be emptied: {on}; {_why(edit, told)}"
    count = sum(len(_present(edit, one.host)) for one in stuck)
    draft.add("observed", "schedule", because("drain_stuck", text[:1000], stuck=count), leaving=leaving)


def report_deadlines(state: ServiceState, settings: ServiceSettings) -> Iterator[float]:
    """When what is stuck is to be said."""
    yield from (one.since + settings.placement.drain_report_s for one in state.leaving if not one.told)


def _present(edit: Edit, host: str) -> list[str]:
    """What is wanted on the host still, or runs there still."""
    wanted = [r for r in edit.replicas if r.host == host]
    labels = {label_of(r) for r in wanted}
    seen = [s for s in edit.world.replicas if s.host == host and s.condition == "running"]
    return sorted(labels | {label_of(s) for s in seen})


def _why(edit: Edit, hosts: set[str]) -> str:
    rollout = edit.state.rollout
    if edit.pending:
        return edit.pending
    if not any(r.host in hosts for r in edit.replicas):
        return "they are to stop, and have not yet"
    if isinstance(rollout, Held):
        return f"the rollout is held ({rollout.why})"
    if isinstance(rollout, Halted):
        return "the service is halted"
    return "their successors are not available yet"
