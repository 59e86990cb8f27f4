"""What one decision does for several stimuli is one stimulus; what came between keeps its place."""

from __future__ import annotations

from autoscaler.core.actions import Outcome, Remove
from autoscaler.core.stimuli import DeadlineReached, Observed, OutcomeArrived, OutcomesArrived, Stimulus
from autoscaler.engine.grouping import grouped


def ended(number: int) -> Outcome:
    """A removal that is done."""
    return Outcome(Remove("web", "h1", f"id-{number}", f"shop.web.s{number}.r1.1"), "done")


def together(*stimuli: tuple[str, Stimulus]) -> list[tuple[str, Stimulus]]:
    """The stimuli, grouped."""
    return list(grouped(stimuli))


def test_outcomes_and_looks_in_a_row_are_one_stimulus_per_service() -> None:
    queued = (
        ("web", OutcomeArrived(1.0, ended(0))),
        ("api", Observed(1.5)),
        ("web", Observed(2.0)),
        ("web", OutcomeArrived(3.0, ended(1))),
        ("api", Observed(3.5)),
    )
    assert together(*queued) == [("web", OutcomesArrived(3.0, (ended(0), ended(1)))), ("api", Observed(3.5))]


def test_one_outcome_stays_what_it_is_and_takes_the_look_along() -> None:
    assert together(("web", Observed(1.0)), ("web", OutcomeArrived(2.0, ended(0)))) == [
        ("web", OutcomeArrived(2.0, ended(0)))
    ]


def test_nothing_passes_what_came_between() -> None:
    queued = (
        ("web", OutcomeArrived(1.0, ended(0))),
        ("web", DeadlineReached(2.0)),
        ("web", OutcomeArrived(3.0, ended(1))),
    )
    assert together(*queued) == list(queued)
