"""The public surface: what a plugin imports, and all that stays stable between releases.

    @autoscaler.hookimpl
    def propose(service, signals):
        queue = signals["queue_length"]
        if queue.known:
            return autoscaler.Scale(to=math.ceil(queue.latest / 100), reason=f"{queue.latest:.0f} waiting")

Every process and every worker imports this first, so it stays cheap: standard library and pluggy only.
"""

from __future__ import annotations

from autoscaler.core.facts import EventRef
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.proposals import Hold, Proposal, Refuse, Rollback, Scale, Update, Veto
from autoscaler.core.quantities import format_duration, parse_duration, parse_ratio
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.signals import Signal, SignalsView
from autoscaler.core.world import HostView
from autoscaler.hookspecs import hookimpl

__all__ = [
    "EventRef",
    "Hold",
    "HostView",
    "Proposal",
    "Refuse",
    "RevisionSpec",
    "Rollback",
    "Scale",
    "ServiceFacts",
    "Signal",
    "SignalsView",
    "Update",
    "Veto",
    "format_duration",
    "hookimpl",
    "parse_duration",
    "parse_ratio",
]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - reading metadata costs more than the whole import

        return version("eventscaler")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
