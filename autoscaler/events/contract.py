"""The contract for other languages, generated: JSON Schemas, example events and the AsyncAPI document of ``events/``.

``python -m autoscaler.events.contract [DIR]`` and ``autoscaler schema`` write it; tests/events/test_contract.py
compares what is there. Schemas are draft 2020-12, made of the very models that read the events.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from autoscaler.events.arrivals import CONTROL, DEPLOYMENT
from autoscaler.events.audit_model import HEX64, AuditData
from autoscaler.events.envelope import CONTROL_TYPE, DEPLOYMENT_TYPE, METRIC_TYPE
from autoscaler.events.examples import audit_examples, input_examples
from autoscaler.events.forms import SERVICE
from autoscaler.events.samples import METRICS
from autoscaler.ports.stream import Topic

DRAFT = "https://json-schema.org/draft/2020-12/schema"
AUDIT_KINDS = ("decided", "refused", "acted", "observed", "rejected")

_AUDIT: TypeAdapter[AuditData] = TypeAdapter(AuditData)
_INPUTS: dict[str, tuple[str, TypeAdapter[Any], str]] = {
    "metric.v1": (METRIC_TYPE, METRICS, "Samples of a service: a flat map of numbers, or a list of samples."),
    "deployment.v1": (DEPLOYMENT_TYPE, DEPLOYMENT, "A new revision of a service: complete, or an image alone."),
    "control.v1": (CONTROL_TYPE, CONTROL, "An operator's command."),
}
_CHANNELS: dict[Topic, tuple[tuple[str, ...], str]] = {
    Topic.METRICS: (("metric.v1",), "Samples; kept for hours."),
    Topic.DEPLOYMENTS: (("deployment.v1",), "New revisions, from CI; kept for days."),
    Topic.CONTROL: (("control.v1",), "Operators' commands; kept for days."),
    Topic.AUDIT: (tuple(f"{kind}.v1" for kind in AUDIT_KINDS), "The records, hash-chained per service; kept long."),
    Topic.DLQ: (
        ("dead_letter",),
        "What could not be read, byte for byte, with the why in added headers; kept for days.",
    ),
}


def contract_files() -> dict[str, str]:
    """Path under ``events/`` -> text of every file of the contract."""
    files = {"asyncapi.yaml": _yaml(asyncapi())}
    for name, schema in schemas().items():
        files[f"schemas/{name}.schema.json"] = _json(schema)
    for name, event in (input_examples() | audit_examples()).items():
        files[f"examples/{name}.json"] = _json(event)
    return files


def schemas() -> dict[str, dict[str, Any]]:
    """Short name of the event type (``metric.v1``) -> its schema, envelope included."""
    made = {name: _input_schema(name, *parts, "#/$defs/{model}") for name, parts in _INPUTS.items()}
    for kind in AUDIT_KINDS:
        made[f"{kind}.v1"] = _audit_schema(kind, "#/$defs/{model}")
    return {name: {"$schema": DRAFT, "$id": f"{name}.schema.json"} | schema for name, schema in made.items()}


def _input_schema(name: str, type_: str, data: TypeAdapter[Any], text: str, template: str) -> dict[str, Any]:
    properties = _attributes(type_) | {
        "subject": {"type": "string", "pattern": SERVICE, "description": "The service; equals the key."},
        "expirytime": {"type": ["string", "null"], "format": "date-time"},
        "traceparent": {"type": ["string", "null"], "maxLength": 512},
    }
    return _envelope(name, text, properties, ("specversion", "id", "source", "type", "data"), data, template)


def _audit_schema(kind: str, template: str) -> dict[str, Any]:
    hashes: dict[str, Any] = {name: {"type": "string", "pattern": HEX64} for name in ("prevhash", "hash")}
    subject = {"type": "string", "description": "The chain: a service, or ~unrouted/<partition>."}
    properties = _attributes(f"io.eventscaler.{kind}.v1") | {"subject": subject} | hashes
    required = ("specversion", "id", "source", "type", "subject", "time", "prevhash", "hash", "data")
    text = f"A record of the ledger: {kind}. hash = SHA-256 over the RFC 8785 form of the event without hash."
    return _envelope(f"{kind}.v1", text, properties, required, _AUDIT, template)


def _attributes(type_: str) -> dict[str, Any]:
    return {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1, "maxLength": 512},
        "source": {"type": "string", "minLength": 1, "maxLength": 512, "format": "uri-reference"},
        "type": {"const": type_},
        "time": {"type": ["string", "null"], "format": "date-time"},
        "datacontenttype": {"type": ["string", "null"], "pattern": r"^[a-z0-9.+-]+/([a-z0-9.+-]+\+)?json(;.*)?$"},
        "dataschema": {"type": ["string", "null"]},
        "correlationid": {"type": ["string", "null"], "maxLength": 512, "description": "Start of the chain of causes."},
        "causationid": {"type": ["string", "null"], "maxLength": 512, "description": "The direct cause."},
    }


def _envelope(
    name: str,
    text: str,
    properties: dict[str, Any],
    required: Iterable[str],
    data: TypeAdapter[Any],
    template: str,
) -> dict[str, Any]:
    data_schema = data.json_schema(ref_template=template, mode="validation")
    definitions = data_schema.pop("$defs", {})
    schema: dict[str, Any] = {
        "title": name,
        "description": text,
        "type": "object",
        "required": list(required),
        "properties": properties | {"data": data_schema},
        "propertyNames": {"pattern": "^[a-z0-9]{1,64}$"},
        "additionalProperties": {"type": ["string", "boolean", "integer", "null"]},
    }
    return schema | ({"$defs": definitions} if definitions else {})


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document: a channel a topic, operations from our side."""
    components = _component_schemas()
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "eventscaler",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 on Kafka. Inputs in structured or binary mode, outputs structured. "
            "Key = service = subject; all topics have the same number of partitions and the default partitioner.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {topic.value: _channel(topic) for topic in _CHANNELS},
        "operations": {
            f"{'send' if topic in {Topic.AUDIT, Topic.DLQ} else 'receive'}_{topic.value}": _operation(topic)
            for topic in _CHANNELS
        },
        "components": {"messages": _messages(), "schemas": components},
    }


def _channel(topic: Topic) -> dict[str, Any]:
    names, text = _CHANNELS[topic]
    messages = {name: {"$ref": f"#/components/messages/{name}"} for name in names}
    binding = {"bindingVersion": "0.5.0", "topic": f"autoscaler.{topic.value}"}
    return {
        "address": f"autoscaler.{topic.value}",
        "description": text,
        "messages": messages,
        "bindings": {"kafka": binding},
    }


def _operation(topic: Topic) -> dict[str, Any]:
    names, _ = _CHANNELS[topic]
    return {
        "action": "send" if topic in {Topic.AUDIT, Topic.DLQ} else "receive",
        "channel": {"$ref": f"#/channels/{topic.value}"},
        "messages": [{"$ref": f"#/channels/{topic.value}/messages/{name}"} for name in names],
    }


def _messages() -> dict[str, Any]:
    examples = input_examples() | audit_examples()
    key = {"kafka": {"bindingVersion": "0.5.0", "key": {"type": "string", "description": "The service."}}}
    made: dict[str, Any] = {}
    for name in (*_INPUTS, *(f"{kind}.v1" for kind in AUDIT_KINDS)):
        shown = [{"name": n, "payload": e} for n, e in examples.items() if n == name or n.startswith(f"{name}.")]
        made[name] = {
            "name": f"io.eventscaler.{name}",
            "contentType": "application/cloudevents+json",
            "payload": {"$ref": f"#/components/schemas/{name}"},
            "bindings": key,
            "examples": shown,
        }
    made["dead_letter"] = {
        "name": "dead_letter",
        "summary": "Value, key and headers of the message as it was.",
        "headers": {"$ref": "#/components/schemas/dead_letter_headers"},
        "bindings": key,
    }
    return made


def _component_schemas() -> dict[str, Any]:
    template = "#/components/schemas/{model}"
    made = {name: _input_schema(name, *parts, template) for name, parts in _INPUTS.items()}
    made |= {f"{kind}.v1": _audit_schema(kind, template) for kind in AUDIT_KINDS}
    lifted: dict[str, Any] = {}
    for schema in made.values():
        lifted |= schema.pop("$defs", {})
    names = ("topic", "partition", "offset", "timestamp", "reason", "text", "stage", "attempts", "place", "key")
    headers = {f"eventscaler-dlq-{name}": {"type": "string"} for name in names}
    dead = {"type": "object", "required": list(headers), "properties": headers, "additionalProperties": True}
    return made | lifted | {"dead_letter_headers": dead}


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes equal parts out twice: anchors are legal YAML, and many AsyncAPI tools choke on them."""

    def ignore_aliases(self, data: Any) -> bool:
        """Whether ``data`` is written in full each time: always."""
        del data
        return True


def _yaml(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def write_contract(directory: Path) -> list[Path]:
    """The paths of all files of the contract, written under ``directory``."""
    written = []
    for name, text in contract_files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    for path_written in write_contract(Path(sys.argv[1] if len(sys.argv) > 1 else "events")):
        sys.stdout.write(f"{path_written}\n")
