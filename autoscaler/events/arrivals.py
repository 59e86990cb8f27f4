"""Deployment and control events to the core's stimuli.

Called by the intake, one event at a time; never on the metrics topic, whose schema can express neither.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from autoscaler.core.stimuli import ControlArrived, DeploymentArrived
from autoscaler.errors import EventRejected
from autoscaler.events.envelope import CONTROL_TYPE, DEPLOYMENT_TYPE, Envelope
from autoscaler.events.models import ControlData, DeploymentData, Freeze, HostCommand, Pause, Rollback, Scale
from autoscaler.events.moments import read_time
from autoscaler.events.places import complaint_of, place_of
from autoscaler.events.rejection import Rejection, rejected

DEPLOYMENT: TypeAdapter[DeploymentData] = TypeAdapter(DeploymentData)
CONTROL: TypeAdapter[Any] = TypeAdapter(ControlData)

_NUMBER_ERRORS = frozenset({"float_type", "int_type", "finite_number", "int_from_float"})


def read_deployment(envelope: Envelope, at: float) -> DeploymentArrived:
    """The deployment in ``envelope``, as it reaches the core at ``at``. Raises `EventRejected`."""
    check_type(envelope, DEPLOYMENT_TYPE)
    data: DeploymentData = read_data(DEPLOYMENT, envelope.data)
    return DeploymentArrived(
        at=at,
        event=envelope.ref,
        spec=data.revision.to_spec(),
        fields=data.revision.fields_set,
        version=data.version,
        refusal=_expiry(envelope, at),
    )


def read_control(envelope: Envelope, at: float) -> ControlArrived:
    """The command in ``envelope``, as it reaches the core at ``at``. Raises `EventRejected`.

    ``scale auto`` comes as ``scale`` with replicas None.
    """
    check_type(envelope, CONTROL_TYPE)
    data = read_data(CONTROL, envelope.data)
    begins = data.at if isinstance(data, Scale) else None
    replicas = data.replicas if isinstance(data, Scale) else None
    return ControlArrived(
        at=at,
        event=envelope.ref,
        command=data.command,
        replicas=None if replicas == "auto" else replicas,
        revision=data.to if isinstance(data, Rollback) else None,
        scope=data.scope if isinstance(data, Freeze) else "",
        for_s=data.for_s if isinstance(data, Scale | Pause | Freeze) else None,
        reason=data.reason,
        refusal=_expiry(envelope, at),
        host=data.host if isinstance(data, HostCommand) else "",
        begins_at=None if begins is None else read_time(begins, "data.at"),
        scheduled=isinstance(data, Scale) and data.scheduled,
    )


def check_type(envelope: Envelope, wanted: str) -> None:
    """Raises `EventRejected` (wrong_type) where the event is of another type than its topic holds."""
    if envelope.type != wanted:
        raise rejected(Rejection.WRONG_TYPE, f"this topic holds {wanted}", "type")


def read_data(adapter: TypeAdapter[Any], data: object) -> Any:
    """``data`` as the adapter's model. Raises `EventRejected`: not_a_number, or schema, with the first place."""
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        raise _schema_rejection(error) from None


def _schema_rejection(error: ValidationError) -> EventRejected:
    first = complaint_of(error)
    code = Rejection.NOT_A_NUMBER if first.kind in _NUMBER_ERRORS else Rejection.SCHEMA
    return rejected(code, first.text, place_of(first.location, "data"))


def _expiry(envelope: Envelope, at: float) -> tuple[str, str] | None:
    if envelope.expires_at is None or envelope.expires_at > at:
        return None
    return ("expired", f"its expirytime passed {at - envelope.expires_at:.0f} s before it arrived")
