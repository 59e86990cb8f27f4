"""ServiceState's fields to JSON values and back: the one description that state records and audit events share.

Built from the dataclass itself, so that a new field of the core needs no line here. Knows no meaning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, cast, get_type_hints

from pydantic import Discriminator, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from autoscaler.core.revision import Deployment, Revision, RevisionSpec
from autoscaler.core.rollout import Preflight, Rollout
from autoscaler.core.state import ServiceState
from autoscaler.errors import LedgerError
from autoscaler.events.places import complaint_of, place_of
from autoscaler.events.revision_model import STRICT

OWN_FIELDS = frozenset({"service", "seq", "generation", "chain"})
"""Fields that a record never changes by itself: the ledger counts and chains them."""

_hints = get_type_hints(ServiceState) | {"rollout": Annotated[Rollout, Discriminator("phase")]}
_names = tuple(f.name for f in fields(ServiceState))
_defaults: dict[str, object] = {f.name: f.default for f in fields(ServiceState) if f.default is not MISSING}

StateFields: Any = with_config(STRICT)(
    cast("Any", TypedDict)("StateFields", {n: _hints[n] for n in _names}, total=False)
)
STATE_FIELDS: TypeAdapter[dict[str, Any]] = TypeAdapter(StateFields)
"""Any subset of ServiceState's fields; in JSON a tuple is an array and the rollout is told by its ``phase``."""


def to_json_values(values: Mapping[str, object]) -> dict[str, Any]:
    """Those ``values`` (fields of ServiceState) as plain JSON values."""
    return cast("dict[str, Any]", STATE_FIELDS.dump_python(dict(values), mode="json", fallback=plain, warnings=False))


def plain(value: object) -> object:
    """What a serializer is to write in place of a read-only mapping. Raises TypeError of anything else."""
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in a record")


def changed_values(before: ServiceState, after: ServiceState) -> dict[str, object]:
    """The fields that differ, with their new values; an equal value is no change, whatever a record lists."""
    changed: dict[str, object] = {}
    for name in _names:
        new = getattr(after, name)
        old = getattr(before, name)
        if name not in OWN_FIELDS and new is not old and new != old:
            changed[name] = new
    return changed


def non_default_values(state: ServiceState) -> dict[str, object]:
    """The fields whose value is not the default; all others need no byte."""
    values: dict[str, object] = {}
    for name in _names:
        value = getattr(state, name)
        if name == "service" or value != _defaults[name]:
            values[name] = value
    return values


def from_json_values(values: object) -> dict[str, Any]:
    """Fields of ServiceState from JSON values, lists as tuples. Raises `LedgerError` with the first place."""
    try:
        # By way of JSON text: strict mode takes a list for a tuple there, and only there.
        return shared(STATE_FIELDS.validate_json(json.dumps(values)))
    except ValidationError as error:
        raise unreadable(error, "changes") from None


def unreadable(error: ValidationError, prefix: str) -> LedgerError:
    """The error to raise for a record of ours that cannot be read."""
    first = complaint_of(error)
    return LedgerError(f"{place_of(first.location, prefix)}: {first.text}")


def shared(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with equal revision specs replaced by one object: thousands of services share a few templates."""
    if values.get("revisions"):
        values["revisions"] = tuple(_shared_revision(revision) for revision in values["revisions"])
    if values.get("waiting") is not None:
        values["waiting"] = _shared_deployment(values["waiting"])
    if isinstance(values.get("rollout"), Preflight):
        preflight: Preflight = values["rollout"]
        values["rollout"] = replace(preflight, deployment=_shared_deployment(preflight.deployment))
    return values


def _shared_revision(revision: Revision) -> Revision:
    spec = shared_spec(revision.spec)
    return revision if spec is revision.spec else replace(revision, spec=spec)


def _shared_deployment(deployment: Deployment) -> Deployment:
    spec = shared_spec(deployment.spec)
    return deployment if spec is deployment.spec else replace(deployment, spec=spec)


@lru_cache(maxsize=16384)
def shared_spec(spec: RevisionSpec) -> RevisionSpec:
    """The first object that was equal to ``spec``."""
    return spec
