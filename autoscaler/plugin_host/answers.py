"""What plugins answered, judged: a valid value, or the words why it is none. Trusts nothing that a plugin returns."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from autoscaler.core.facts import plain_text
from autoscaler.core.proposals import Hold, Proposal, Refuse, Rollback, Scale, Update, Veto
from autoscaler.core.signals import SignalsView

REPLICAS_MAX = 10**6
TEXT_MAX = 500
"""Characters of a reason that are kept: it goes into every record that it explains."""


def _is_count(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= REPLICAS_MAX


def _is_moment(value: object) -> bool:
    return value is None or (type(value) in {int, float} and math.isfinite(value))  # type: ignore[arg-type]


def _is_flag(value: object) -> bool:
    return type(value) is bool


def _shown(text: str) -> str:
    """A plugin's words as records can carry them: bounded, and without half surrogates or NUL."""
    return plain_text(text[:TEXT_MAX])


def is_plain_scale(value: object) -> bool:
    """Whether an answer is what nearly all of them are, a `Scale` that needs no more judging; false says nothing."""
    return (
        type(value) is Scale
        and type(value.to) is int
        and 0 <= value.to <= REPLICAS_MAX
        and (value.wake_at is None or (type(value.wake_at) is float and math.isfinite(value.wake_at)))
        and type(value.reason) is str
        and len(value.reason) <= TEXT_MAX
        and plain_text(value.reason) is value.reason
    )


def judge_proposal(value: object) -> tuple[Proposal | None, str]:
    """The proposal and "", or None and why it is none; (None, "") is a valid "no opinion"."""
    if value is None:
        return None, ""
    kind = type(value)
    if isinstance(value, Scale | Update | Rollback | Hold):
        if type(value.reason) is not str:
            return None, f"{kind.__name__}.reason must be a text"
        reason = _shown(value.reason)
        if reason != value.reason:
            value = replace(value, reason=reason)
    match value:
        case Scale(to=to, wake_at=wake_at):
            if not _is_count(to, 0):
                return None, f"Scale.to must be a whole number from 0 to {REPLICAS_MAX}"
            return (value, "") if _is_moment(wake_at) else (None, "Scale.wake_at must be finite seconds or None")
        case Hold(unknown=unknown) if not _is_flag(unknown):
            return None, "Hold.unknown must be True or False"
        case Hold(wake_at=wake_at):
            return (value, "") if _is_moment(wake_at) else (None, "Hold.wake_at must be finite seconds or None")
        case Update(revision=revision):
            return (value, "") if _is_count(revision, 1) else (None, "Update.revision must be a revision's number")
        case Rollback():
            return value, ""
        case _:
            return None, f"returned {kind.__name__}; return Scale, Update, Rollback, Hold or None"


def judge_guard(value: object) -> tuple[Proposal | Veto | None, str]:
    """The proposal or veto and "", or None and why it is neither."""
    if isinstance(value, Veto):
        reason = value.reason if type(value.reason) is str else ""
        return Veto(_shown(reason)), ""
    proposal, problem = judge_proposal(value)
    if proposal is None and not problem:
        problem = "returned None; return the proposal, a changed one or Veto"
    return proposal, problem


def judge_refusal(value: object) -> tuple[Refuse | None, str]:
    """The refusal or None, and "" or why the answer is neither."""
    if value is None:
        return None, ""
    if isinstance(value, Refuse) and type(value.reason) is str:
        return Refuse(_shown(value.reason)), ""
    return None, f"returned {type(value).__name__}; return None or Refuse"


def judge_events(value: object) -> tuple[list[dict[str, Any]] | None, str]:
    """The decoded events or None for "not mine", and "" or why the answer is neither."""
    if value is None:
        return None, ""
    if isinstance(value, list) and all(isinstance(event, dict) for event in value):
        return value, ""
    return None, f"returned {type(value).__name__}; return a list of event mappings or None"


def unknown_signals(view: SignalsView, looked_at: list[str], max_age_s: float) -> str:
    """Which of the signals that a policy looked at are unknown, and why; "" where none is."""
    texts = []
    for name in looked_at:
        signal = view[name]
        if not signal.known:
            oldest_s = view.max_age_of(name, max_age_s)
            old = f"newest sample {signal.age:.0f} s old, over {oldest_s:g}" if signal.age is not None else "never seen"
            texts.append(f"{name} unknown: {old}")
    return "; ".join(texts)[:TEXT_MAX]


def describe_error(error: BaseException) -> str:
    """Class and first line of what a plugin raised, bounded; ``str`` of a plugin's exception may itself raise."""
    try:
        text = plain_text(str(error).partition("\n")[0][:200])
    except BaseException:  # noqa: BLE001 - a plugin's own __str__
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
