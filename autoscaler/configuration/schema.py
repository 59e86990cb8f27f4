"""The JSON Schema of the configuration file, for editors. Called by `autoscaler schema`."""

from __future__ import annotations

from typing import Any

from autoscaler.configuration.models import FileModel


def configuration_schema() -> dict[str, Any]:
    """The schema (draft 2020-12): keys, types and bounds; what keys say against each other only `check` knows."""
    schema = FileModel.model_json_schema(by_alias=True, mode="validation")
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The autoscaler's configuration file",
    }
    return {**schema, **head}
