"""The committed contract is the generated one, and says what the readers do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from autoscaler.events.arrivals import read_control, read_deployment
from autoscaler.events.contract import asyncapi, contract_files, schemas, write_contract
from autoscaler.events.envelope import read_envelope
from autoscaler.events.examples import audit_examples, input_examples
from autoscaler.events.samples import read_samples
from autoscaler.ledger.audit import read_audit
from autoscaler.ledger.chain import verify_chain
from tests.events.messages import a_message, an_event

DIRECTORY = Path(__file__).parents[2] / "events"
EXAMPLES = sorted((DIRECTORY / "examples").glob("*.json"))


def schema_of(event: dict[str, Any]) -> Draft202012Validator:
    """The validator of the event's type."""
    return Draft202012Validator(schemas()[event["type"].removeprefix("io.eventscaler.")])


def test_committed_files_are_the_generated_ones() -> None:
    committed = {str(p.relative_to(DIRECTORY)): p.read_text(encoding="utf-8") for p in DIRECTORY.rglob("*.*")}
    assert committed == contract_files(), "run: python -m autoscaler.events.contract"


def test_contract_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    assert len(write_contract(tmp_path)) == len(contract_files())
    assert (tmp_path / "asyncapi.yaml").read_text(encoding="utf-8").startswith("asyncapi: 3")


def test_every_type_has_a_schema_and_an_example() -> None:
    types = {json.loads(path.read_text())["type"].removeprefix("io.eventscaler.") for path in EXAMPLES}
    assert types == set(schemas())


@pytest.mark.parametrize("schema", schemas().values(), ids=list(schemas()))
def test_schemas_are_valid_draft_2020_12(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", EXAMPLES, ids=[p.stem for p in EXAMPLES])
def test_every_example_passes_the_readers_and_its_schema(path: Path) -> None:
    value = path.read_bytes()
    event = json.loads(value)
    schema_of(event).validate(event)
    kind = event["type"].split(".")[2]
    if kind == "metric":
        assert read_samples(a_message(value)).samples
    elif kind == "deployment":
        assert read_deployment(read_envelope(a_message(value)), 0.0).fields
    elif kind == "control":
        assert read_control(read_envelope(a_message(value)), 0.0).command
    else:
        assert read_audit(value) == event


def test_audit_examples_are_the_beginning_of_a_chain() -> None:
    report = verify_chain(audit_examples().values())
    assert (report.ok, report.complete, report.checked) == (True, True, 6)


BAD = {
    "text for a number": an_event(data={"a": "1"}),
    "nothing": an_event(data={}),
    "image among metrics": an_event(data={"samples": [{"name": "a", "value": 1, "image": "b"}]}),
    "no revision": an_event("deployment", {"version": "1"}),
    "privileged": an_event("deployment", {"revision": {"image": "a", "privileged": True}}),
    "unknown command": an_event("control", {"command": "restart"}),
    "scale without replicas": an_event("control", {"command": "scale"}),
    "attribute that is an object": an_event() | {"tenant": {}},
    "no id": an_event(id=None),
}


@pytest.mark.parametrize("event", BAD.values(), ids=list(BAD))
def test_schemas_refuse_what_the_readers_refuse(event: dict[str, Any]) -> None:
    assert list(schema_of(event).iter_errors(event))


def references(value: object) -> list[str]:
    """Every ``$ref`` in ``value``."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for inner in value.values() for ref in references(inner)]
    return [ref for inner in value for ref in references(inner)] if isinstance(value, list) else []


def test_every_reference_of_the_asyncapi_document_resolves() -> None:
    document = yaml.safe_load(contract_files()["asyncapi.yaml"])
    assert document == json.loads(json.dumps(asyncapi()))
    found = references(document)
    assert found
    for ref in found:
        target: Any = document
        for part in ref.removeprefix("#/").split("/"):
            target = target[part]


def test_examples_with_ids_are_the_events_of_the_surface() -> None:
    examples = input_examples()
    assert examples["metric.v1"]["data"] == {"requests_per_second": 412.5, "error_ratio": 0.01}
    assert examples["control.v1.scale"]["data"] == {
        "command": "scale", "replicas": 6, "for": "30m", "reason": "sale starts"
    }  # fmt: skip
