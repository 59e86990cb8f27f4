"""Deployment and control events to stimuli, and what their data may hold."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.facts import EventRef
from autoscaler.core.host_marks import HOST_COMMANDS
from autoscaler.core.revision import Health, Port
from autoscaler.core.stimuli import ControlArrived, DeploymentArrived
from autoscaler.errors import EventRejected
from autoscaler.events.arrivals import read_control, read_deployment
from autoscaler.events.envelope import read_envelope
from autoscaler.events.models import COMMANDS
from tests.events.messages import a_message, an_event

AT = 1_795_428_003.0
REF = EventRef("/monitor/eu", "e-1")


def deployment(data: object, **attributes: Any) -> DeploymentArrived:
    """The stimulus of a deployment event with ``data``."""
    return read_deployment(read_envelope(a_message(an_event("deployment", data, **attributes))), AT)


def control(**data: object) -> ControlArrived:
    """The stimulus of a control event with ``data``."""
    return read_control(read_envelope(a_message(an_event("control", data))), AT)


def test_complete_deployment_becomes_a_spec_and_the_fields_that_it_set() -> None:
    arrived = deployment(
        {"version": "2.4.1", "revision": {"image": "shop/checkout:2", "ports": {"http": 8080}, "health": {"http": "/"}}}
    )
    assert (arrived.at, arrived.event, arrived.version) == (AT, REF, "2.4.1")
    assert arrived.fields == {"image", "ports", "health"}
    assert arrived.spec.ports == (("http", Port(8080)),)
    assert arrived.spec.health == Health(http="/", port="http")
    assert arrived.refusal is None


def test_image_alone_sets_the_image_alone() -> None:
    assert deployment({"revision": {"image": "shop/checkout:2"}}).fields == {"image"}


def test_deployment_past_its_expirytime_is_refused_not_rejected() -> None:
    late = deployment({"revision": {"image": "a"}}, expirytime="2026-11-23T10:00:01Z")
    assert late.refusal == ("expired", "its expirytime passed 2 s before it arrived")
    assert deployment({"revision": {"image": "a"}}, expirytime="2026-11-23T10:00:04Z").refusal is None


BAD_DEPLOYMENTS: dict[str, tuple[object, str, str]] = {
    "no data": (None, "schema", "data"),
    "no revision": ({"version": "1"}, "schema", "data.revision"),
    "nothing to run": ({"revision": {"env": {"A": "b"}}}, "schema", "data.revision"),
    "unknown field": ({"revision": {"image": "a", "privileged": True}}, "schema", "data.revision.privileged"),
    "replicas": ({"revision": {"image": "a"}, "replicas": 3}, "schema", "data.replicas"),
    "version is a number": ({"version": 2, "revision": {"image": "a"}}, "schema", "data.version"),
    "port is text": ({"revision": {"image": "a", "ports": {"http": "80"}}}, "not_a_number", "data.revision.ports.http"),
    "env is a number": ({"revision": {"image": "a", "env": {"A": 1}}}, "schema", "data.revision.env.A"),
}


@pytest.mark.parametrize(("data", "code", "place"), BAD_DEPLOYMENTS.values(), ids=list(BAD_DEPLOYMENTS))
def test_bad_deployment_is_rejected_at_its_place(data: object, code: str, place: str) -> None:
    event = an_event("deployment") | {"data": data}
    with pytest.raises(EventRejected) as caught:
        read_deployment(read_envelope(a_message(event)), AT)
    assert (caught.value.code, caught.value.place) == (code, place)


def test_scale_holds_a_number_for_a_while() -> None:
    assert control(command="scale", replicas=6, **{"for": "30m"}, reason="sale starts") == ControlArrived(
        at=AT, event=REF, command="scale", replicas=6, for_s=1800.0, reason="sale starts"
    )


def test_scale_auto_is_a_scale_without_a_number() -> None:
    assert control(command="scale", replicas="auto") == ControlArrived(at=AT, event=REF, command="scale")


def test_rollback_names_its_revision_and_freeze_its_scope() -> None:
    assert control(command="rollback", to=4).revision == 4
    assert control(command="rollback").revision is None
    assert (control(command="freeze").scope, control(command="freeze", scope="all").scope) == ("update", "all")


@pytest.mark.parametrize("command", sorted(HOST_COMMANDS))
def test_what_is_asked_of_a_host_names_the_host(command: str) -> None:
    asked = control(command=command, host="h1")
    assert (asked.command, asked.host) == (command, "h1")


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"scale", *HOST_COMMANDS}))
def test_every_command_reads_without_anything_else(command: str) -> None:
    assert control(command=command).command == command


BAD_COMMANDS: dict[str, tuple[dict[str, object], str, str]] = {
    "unknown": ({"command": "restart"}, "schema", "data.command"),
    "missing": ({"replicas": 3}, "schema", "data"),
    "a number": ({"command": 3}, "schema", "data"),
    "scale without replicas": ({"command": "scale"}, "schema", "data.replicas"),
    "replicas as text": ({"command": "scale", "replicas": "6"}, "not_a_number", "data.replicas"),
    "replicas as truth": ({"command": "scale", "replicas": True}, "not_a_number", "data.replicas"),
    "replicas as a fraction": ({"command": "scale", "replicas": 1.5}, "not_a_number", "data.replicas"),
    "negative replicas": ({"command": "scale", "replicas": -1}, "schema", "data.replicas"),
    "duration without unit": ({"command": "pause", "for": 30}, "schema", "data.for"),
    "no duration": ({"command": "pause", "for": "0"}, "schema", "data.for"),
    "field of another command": ({"command": "promote", "to": 3}, "schema", "data.to"),
    "scope": ({"command": "freeze", "scope": "some"}, "schema", "data.scope"),
    "reason with a line end": ({"command": "abort", "reason": "a\nb"}, "schema", "data.reason"),
    "reason with a direction override": ({"command": "abort", "reason": "a\u202eb"}, "schema", "data.reason"),
    "long reason": ({"command": "abort", "reason": "a" * 513}, "schema", "data.reason"),
    "image": ({"command": "scale", "replicas": 1, "image": "a"}, "schema", "data.image"),
}


@pytest.mark.parametrize(("data", "code", "place"), BAD_COMMANDS.values(), ids=list(BAD_COMMANDS))
def test_bad_command_is_rejected_at_its_place(data: dict[str, object], code: str, place: str) -> None:
    with pytest.raises(EventRejected) as caught:
        control(**data)
    assert (caught.value.code, caught.value.place) == (code, place)


def test_each_topic_takes_its_own_type_only() -> None:
    envelope = read_envelope(a_message(an_event("metric")))
    for read in (read_deployment, read_control):
        with pytest.raises(EventRejected, match="this topic holds") as caught:
            read(envelope, AT)
        assert caught.value.code == "wrong_type"
