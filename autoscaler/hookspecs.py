"""The hooks a plugin may implement (pluggy specification): the whole contract between the product and an extension.

An implementation names the arguments it wants, by these names, and no others. Hooks are synchronous. Foreign plugins
run in a worker process and are ended at their deadline; what ships with the product, and `register_*`, runs in the
process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

from autoscaler.core.facts import EventRef
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.proposals import Proposal, Refuse, Veto
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.signals import SignalsView
from autoscaler.core.world import HostView

PROJECT = "autoscaler"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def propose(
    service: ServiceFacts, signals: SignalsView, now: float, options: Any, memory: dict[str, Any]
) -> Proposal | None:
    """Look at one service and wish something for it: `Scale`, `Update`, `Rollback`, `Hold`, or None for no opinion.

    ``now`` in seconds since the epoch. ``options``: the module's validated `Options`, else the mapping under ``with:``.
    ``memory``: JSON values of this service and policy; a changed copy is kept after a valid answer in time (64 KB).
    Failing or late is *unknown*: it wishes today's demand. A module that votes on revisions says
    ``PROPOSES = frozenset({"rollback"})``.
    """


@hookspec
def guard(  # type: ignore[empty-body]
    service: ServiceFacts, signals: SignalsView, proposal: Proposal, now: float, options: Any
) -> Proposal | Veto:
    """Let the combined wish pass, change it, or `Veto` it.

    Failing or late vetoes a scale-down and an update, never a scale-up or a safety rollback.
    """


@hookspec
def decode(message: Mapping[str, Any], options: Any) -> list[dict[str, Any]] | None:
    """Read a foreign message (topic, key, headers, value) into CloudEvents; None for "not mine". First answer
    counts."""


@hookspec
def score_host(service: ServiceFacts, revision: RevisionSpec, host: HostView, options: Any) -> float | None:
    """How well a host suits a new replica, from 0 to 1; None for no opinion."""


@hookspec
def verify_revision(service: ServiceFacts | None, revision: RevisionSpec, event: EventRef) -> Refuse | None:
    """`Refuse` a revision before it is accepted; may do I/O. Failing or late refuses. ``service`` None: not seen
    before."""


@hookspec
def notify(record: Mapping[str, Any]) -> None:
    """Told of a record after it is durable, as its audit event. Failing is retried, then dropped and counted."""


@hookspec
def register_target(config: Any) -> Any:
    """An adapter of the target port, or None where ``config`` is not of its kind. Trusted, in the process."""


@hookspec
def register_stream(config: Any) -> Any:
    """An adapter of the stream port, or None where ``config`` is not of its kind. Trusted, in the process."""


@hookspec
def register_metrics(config: Any) -> Any:
    """A source of metrics, or None where ``config`` is not of its kind. Trusted, in the process."""


@hookspec
def register_router(config: Any) -> Any:
    """An adapter of the router port, or None where ``config`` is not of its kind. Trusted, in the process."""
