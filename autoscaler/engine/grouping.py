"""What was queued for a service since the last conclusion, put together where one decision does for several. No I/O.

Outcomes of a service that nothing else came between are one stimulus, and a look at the hosts that stands beside them
or beside another look is no stimulus of its own: every decision looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from autoscaler.core.actions import Outcome
from autoscaler.core.stimuli import Observed, OutcomeArrived, OutcomesArrived, Stimulus


@dataclass(slots=True)
class _Group:
    """Looks and outcomes of one service in a row."""

    at: float
    outcomes: list[Outcome] = field(default_factory=list)

    def stimulus(self) -> Stimulus:
        if not self.outcomes:
            return Observed(self.at)
        if len(self.outcomes) == 1:
            return OutcomeArrived(self.at, self.outcomes[0])
        return OutcomesArrived(self.at, tuple(self.outcomes))


def grouped(stimuli: Iterable[tuple[str, Stimulus]]) -> Iterator[tuple[str, Stimulus]]:
    """The stimuli in their order, with looks and outcomes put together per service."""
    order: list[tuple[str, Stimulus | _Group]] = []
    open_groups: dict[str, _Group] = {}
    for service, stimulus in stimuli:
        if not isinstance(stimulus, Observed | OutcomeArrived):
            open_groups.pop(service, None)
            order.append((service, stimulus))
            continue
        group = open_groups.get(service)
        if group is None:
            group = open_groups[service] = _Group(stimulus.at)
            order.append((service, group))
        group.at = stimulus.at
        if isinstance(stimulus, OutcomeArrived):
            group.outcomes.append(stimulus.outcome)
    for service, entry in order:
        yield service, entry.stimulus() if isinstance(entry, _Group) else entry
