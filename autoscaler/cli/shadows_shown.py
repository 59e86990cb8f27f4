"""Shadow policies of a service as commands show them: what the last checkpoint of its owner says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoscaler.cli.phrases import age_text, ago
from autoscaler.configuration.settings import Configuration
from autoscaler.events.moments import write_time

HOUR_S = 3600.0


def shadows_of(configuration: Configuration, service: str) -> list[str]:
    """The labels of the service's shadows, in the order of the configuration."""
    settings = configuration.services.get(service)
    return [use.label for use in settings.shadows] if settings is not None else []


def shadow_documents(checkpoint: Mapping[str, Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Each configured shadow as JSON, in the order of the configuration; one that was not asked yet knows nothing."""
    saved = checkpoint.get("shadows") or {}
    return [_document(label, saved.get(label)) for label in labels]


def _document(label: str, saved: Mapping[str, Any] | None) -> dict[str, Any]:
    if saved is None:
        return {"policy": label, "outcome": None}
    return {
        "policy": label,
        "outcome": saved["outcome"],
        "wants": saved["demand"],
        "live": saved["live"],
        "text": saved["text"],
        "at": write_time(saved["at"]),
        "since": write_time(saved["since"]),
        "more_replica_hours": round(saved["more_s"] / HOUR_S, 3),
        "fewer_replica_hours": round(saved["fewer_s"] / HOUR_S, 3),
    }


def shadow_rows(checkpoint: Mapping[str, Any], labels: Sequence[str], now: float) -> list[tuple[str, str, str]]:
    """Label, what it wants, and the words to it, of each."""
    saved = checkpoint.get("shadows") or {}
    return [(label, *_words(saved.get(label), now)) for label in labels]


def shadow_notes(checkpoint: Mapping[str, Any], labels: Sequence[str], now: float) -> list[str]:
    """The shadows that do not agree, each in a line."""
    saved = checkpoint.get("shadows") or {}
    return [
        f"shadow: {label}: {' '.join(_words(saved[label], now))}"
        for label in labels
        if label in saved and saved[label]["outcome"] != "agrees"
    ]


def _words(saved: Mapping[str, Any] | None, now: float) -> tuple[str, str]:
    if saved is None:
        return "not asked", "no instance has said anything of it yet"
    match saved["outcome"]:
        case "unknown":
            wants = "unknown"
        case "rollback":
            wants = "rollback"
        case _:
            wants = f"{saved['demand']} for {saved['live']}"
    more, fewer = saved["more_s"] / HOUR_S, saved["fewer_s"] / HOUR_S
    sums = f"so far {more:.2g} replica hours more, {fewer:.2g} fewer"
    lasts = age_text(max(0.0, saved["at"] - saved["since"]))
    return wants, f"for {lasts}, as of {ago(saved['at'], now)}: {saved['text']}; {sums}"
