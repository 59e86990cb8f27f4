"""From messages to samples, events, letters and forwards: nothing is lost, nothing is used twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from autoscaler.core.facts import EventRef
from autoscaler.engine.intake import Intake, home_partition
from autoscaler.events.routing import FORWARDED_HEADER
from autoscaler.events.samples import SampleReading
from autoscaler.ports.stream import Batch, Message, Outgoing, StoredMessage, Topic
from tests.core.builders import NOW
from tests.engine.instances import command, deployment, sample

HOME = home_partition("web", 3)
ELSEWHERE = (HOME + 1) % 3


def a_batch(*sent: Outgoing) -> Batch:
    """The messages as they were read, in order."""
    messages = [StoredMessage(n, int(NOW * 1000), one.key, one.value, one.headers) for n, one in enumerate(sent)]
    return Batch(sent[0].topic, HOME, messages)


def an_intake(partition: int = HOME, known: Sequence[str] = ("web",)) -> Intake:
    return Intake(partition, 3, frozenset(known))


def fold_all(intake: Intake, batch: Batch) -> list[SampleReading]:
    folded: list[SampleReading] = []

    def fold(reading: SampleReading, message: Message) -> None:
        folded.append(reading)

    intake.samples(batch, fold)
    return folded


def again(one: Outgoing) -> Outgoing:
    """As it was forwarded before."""
    return Outgoing(one.topic, one.key, one.value, (*one.headers, (FORWARDED_HEADER, b"1")))


def test_events_keep_their_order_whatever_lies_between() -> None:
    intake = an_intake()
    junk = Outgoing(Topic.DEPLOYMENTS, b"web", b"{")
    batch = a_batch(deployment(identity="d-1"), junk, deployment(identity="d-2"), deployment("nobody", identity="d-3"))
    arrived = intake.events(batch, NOW)
    assert [(service, stimulus.event.id) for service, stimulus in arrived] == [("web", "d-1"), ("web", "d-2")]
    assert [letter.message.offset for letter in intake.letters] == [1]
    assert [stranger.event.id for stranger in intake.strangers] == ["d-3"]


@pytest.mark.parametrize("event", [deployment(), command("web", "scale", "c-1", replicas=2)])
def test_an_event_on_a_foreign_partition_is_forwarded_once(event: Outgoing) -> None:
    intake = an_intake(ELSEWHERE)
    assert intake.events(a_batch(event), NOW) == []
    (forwarded,) = intake.forwards
    assert (forwarded.topic, forwarded.key, forwarded.value) == (event.topic, b"web", event.value)
    assert forwarded.headers[-1] == (FORWARDED_HEADER, b"1")
    assert intake.letters == []


def test_an_event_that_was_forwarded_before_is_a_letter_with_a_verdict_for_it() -> None:
    intake = an_intake(ELSEWHERE)
    intake.events(a_batch(again(deployment(identity="d-1"))), NOW)
    (letter,) = intake.letters
    assert (letter.error.code, letter.service, letter.verdict_for) == ("wrong_partition", "", EventRef("/ci", "d-1"))
    assert intake.forwards == []


def test_a_sample_on_a_foreign_partition_is_forwarded_once_and_never_folded() -> None:
    intake = an_intake(ELSEWHERE)
    assert fold_all(intake, a_batch(sample(load=1.0), again(sample(load=1.0)))) == []
    assert len(intake.forwards) == 1
    assert [letter.error.code for letter in intake.letters] == ["wrong_partition"]


def test_samples_of_an_unknown_service_are_counted_one_by_one_and_no_letters() -> None:
    intake = an_intake()
    (reading,) = fold_all(intake, a_batch(sample("nobody", load=1.0, queue=2.0), sample(load=3.0)))
    assert reading.service == "web"
    assert intake.unknown_service_samples == 2
    assert (intake.letters, intake.forwards) == ([], [])


def test_a_broken_message_stands_in_the_trail_of_a_service_of_this_partition_only() -> None:
    junk = a_batch(Outgoing(Topic.METRICS, b"web", b"junk"), Outgoing(Topic.METRICS, b"nobody", b"junk"))
    for partition, services in ((HOME, ["web", ""]), (ELSEWHERE, ["", ""])):
        intake = an_intake(partition)
        fold_all(intake, junk)
        assert [letter.service for letter in intake.letters] == services


def test_a_broken_sample_gets_no_verdict_and_a_broken_deployment_one_where_its_identity_can_be_read() -> None:
    intake = an_intake()
    value = (deployment(identity="d-1").value or b"").replace(b'"command":["serve","1"]', b'"command":7')
    broken = Outgoing(Topic.DEPLOYMENTS, b"web", value, deployment().headers)
    intake.events(a_batch(broken, Outgoing(Topic.DEPLOYMENTS, b"web", b"{")), NOW)
    fold_all(intake, a_batch(Outgoing(Topic.METRICS, b"web", value, deployment().headers)))
    assert [letter.verdict_for for letter in intake.letters] == [EventRef("/ci", "d-1"), None, None]


def test_a_reason_names_the_place_and_never_what_stood_there() -> None:
    intake = an_intake()
    value = (deployment().value or b"").replace(b'"command":["serve","1"]', b'"command":"hunter2"')
    intake.events(a_batch(Outgoing(Topic.DEPLOYMENTS, b"web", value, deployment().headers)), NOW)
    (letter,) = intake.letters
    assert "deployments offset 0 at data.revision" in letter.reason.text
    assert "hunter2" not in letter.reason.text


def test_a_dead_letter_is_the_message_byte_for_byte_with_where_it_stood() -> None:
    intake = an_intake()
    fold_all(intake, a_batch(Outgoing(Topic.METRICS, b"web", b"\xff\x00 junk", (("trace", b"1"),))))
    written = intake.letters[0].dead_letter("prod", HOME)
    headers = dict(written.headers)
    assert (written.topic, written.key, written.value) == (Topic.DLQ, b"web", b"\xff\x00 junk")
    assert (headers["trace"], headers["eventscaler-dlq-topic"]) == (b"1", b"prod.metrics")
