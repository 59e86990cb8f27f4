"""A command that came too late is expired, which is neither refused nor lost."""

from autoscaler.core.draft import Draft
from autoscaler.core.facts import EventRef, Reason
from autoscaler.core.state import ServiceState


def test_what_is_refused_because_its_time_has_passed_gets_the_verdict_expired() -> None:
    draft = Draft(ServiceState("web"), 10.0)
    draft.settle(EventRef("/ci", "d-1"), "refused", "control", Reason("expired", "its expirytime passed 3 s before"))
    (record,) = draft.records
    assert (record.type, record.verdict, record.terminal) == ("refused", "expired", True)
