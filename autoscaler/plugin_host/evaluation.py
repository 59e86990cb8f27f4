"""What the engine asks the plugin host about one service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from autoscaler.core.observation import ServiceFacts
from autoscaler.core.settings import PolicyUse
from autoscaler.core.signals import ServiceSignals


@dataclass(slots=True)
class EvaluationRequest:
    """One service, the policies (or guards) to ask in order, and what they may know. Not to be changed; not frozen
    either, as one is made for each evaluation and a frozen one takes three times as long.

    ``memory``: label -> JSON values. Where a policy changed its memory validly, the host *replaces* ``memory[label]``
    by the new mapping; an unchanged one stays the same object, so that the caller sees by identity what to
    checkpoint.
    """

    facts: ServiceFacts
    uses: tuple[PolicyUse, ...]
    signals: ServiceSignals
    now: float
    max_age_s: float = 60.0
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)
