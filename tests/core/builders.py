"""Builders of core values for tests: settings, revisions, hosts, events; every argument has a harmless default."""

from __future__ import annotations

from typing import Any

from autoscaler.core.amount import Amount
from autoscaler.core.facts import EventRef
from autoscaler.core.proposals import Hold, Rollback, Scale, Update
from autoscaler.core.revision import Revision, RevisionSpec, Standing, content_hash
from autoscaler.core.settings import Bounds, EventRules, Guards, PlacementRules, Scaling, ServiceSettings, UpdateRules
from autoscaler.core.state import Replica, ServiceState
from autoscaler.core.stimuli import ControlArrived, DeploymentArrived, Evaluate, PolicyVote
from autoscaler.core.world import HostView

NOW = 1_800_000_000.0
"""Where virtual time begins in tests."""


def some_rules(**changes: Any) -> UpdateRules:
    """Update rules with short clocks: available after 2 s, start-up 20 s, deadline 60 s, soak 30 s."""
    given: dict[str, Any] = {
        "min_healthy_s": 2.0,
        "startup_deadline_s": 20.0,
        "deadline_s": 60.0,
        "soak_s": 30.0,
        "monitor_s": 30.0,
        "analysis_patience_s": 90.0,
    }
    return UpdateRules(**(given | changes))


FOLLOWING = Scaling(down_while_unproven=True)
"""Of a service whose demand falls in a rollout as well."""


def some_settings(
    *,
    kind: Any = "process",
    bounds: Bounds | None = None,
    update: UpdateRules | None = None,
    scaling: Scaling | None = None,
    guards: Guards | None = None,
    **changes: Any,
) -> ServiceSettings:
    """Settings of a service that takes any image of ``shop/*`` or any command."""
    given: dict[str, Any] = {
        "target": "edge",
        "target_kind": kind,
        "bounds": bounds or Bounds(0, 40, 1),
        "update": update or some_rules(),
        "scaling": scaling or Scaling(),
        "guards": guards or Guards(),
        "placement": PlacementRules(),
        "events": EventRules(images=("shop/*",), commands=("**",)),
    }
    return ServiceSettings(**(given | changes))


def a_spec(version: str = "1", **changes: Any) -> RevisionSpec:
    """A command to run, another for each version."""
    return RevisionSpec(command=("serve", version), **changes)


def an_image(version: str = "1", **changes: Any) -> RevisionSpec:
    """An image to run, another for each version."""
    return RevisionSpec(image=f"shop/web:{version}", **changes)


def a_revision(number: int = 1, standing: Standing = "stable", spec: RevisionSpec | None = None) -> Revision:
    """A kept revision."""
    spec = spec or a_spec(str(number))
    return Revision(number, spec, content_hash(spec), NOW - 1000, standing=standing)


def a_replica(
    slot: int = 0, revision: int = 1, attempt: int | None = None, host: str = "h1", **changes: Any
) -> Replica:
    """A wanted replica that has been available for long."""
    given: dict[str, Any] = {
        "placed_at": NOW - 900,
        "created_at": NOW - 900,
        "available_at": NOW - 800,
    }
    return Replica(slot, revision, slot + 1 if attempt is None else attempt, host, **(given | changes))


def a_service(
    replicas: int | tuple[Replica, ...] = 0,
    *,
    revision: int = 1,
    hosts: tuple[str, ...] = ("h1", "h2"),
    **changes: Any,
) -> ServiceState:
    """A service with one stable revision and so many available replicas, spread over the hosts, or exactly these."""
    if isinstance(replicas, int):
        replicas = tuple(a_replica(s, revision, s + 1, hosts[s % len(hosts)]) for s in range(replicas))
    given: dict[str, Any] = {
        "generation": 3,
        "demand": len(replicas),
        "initialised": True,
        "revision": revision,
        "revisions": (a_revision(revision),),
        "replicas": replicas,
        "attempts": max((r.attempt for r in replicas), default=0),
    }
    return ServiceState("web", **(given | changes))


def a_host(name: str = "h1", **changes: Any) -> HostView:
    """A ready host without limits, in a zone of its own unless said."""
    given: dict[str, Any] = {"labels": {"zone": name}}
    return HostView(name, **(given | changes))


def an_event(identity: str = "d-1", source: str = "/ci") -> EventRef:
    """The identity of an event."""
    return EventRef(source, identity)


def a_deployment(at: float, spec: RevisionSpec, identity: str = "d-1", **changes: Any) -> DeploymentArrived:
    """A deployment event; its fields are those that the spec sets."""
    fields = frozenset({"command", "ports"}) if spec.command else frozenset({"image", "ports"})
    given: dict[str, Any] = {"fields": fields}
    return DeploymentArrived(at, an_event(identity), spec, **(given | changes))


def a_command(at: float, command: str, identity: str = "c-1", **changes: Any) -> ControlArrived:
    """An operator's command."""
    return ControlArrived(at, an_event(identity, "/ops"), command, **changes)


def wishes(
    to: int | None, *, policy: str = "load", unknown: str = "", metrics: tuple[str, ...] = ("rps",)
) -> PolicyVote:
    """A scaling policy's vote: a count, or unknown."""
    return PolicyVote(policy, None if to is None else Scale(to, f"{to} wanted"), unknown, metrics)


def holds(policy: str = "calm") -> PolicyVote:
    """A vote to leave the demand as it is."""
    return PolicyVote(policy, Hold("steady"), "", ("rps",))


def votes_down(policy: str = "errors") -> PolicyVote:
    """A vote against the revision under way."""
    return PolicyVote(policy, Rollback("0.2 errors over 0.05"), "", ("error_ratio",), rollback=True)


def judges(finding: str, policy: str = "canary", *, wake_at: float | None = None) -> PolicyVote:
    """The vote of a policy that judges revisions: pass, fail, inconclusive, or unknown."""
    proposal = {
        "pass": Update(2, "as good as the base"),
        "fail": Rollback("worse than the base"),
        "inconclusive": Hold("too few requests", wake_at),
        "unknown": None,
    }[finding]
    unknown = "error_ratio unknown: never seen" if finding == "unknown" else ""
    return PolicyVote(policy, proposal, unknown, ("error_ratio",), rollback=True)


def an_evaluation(at: float, *votes: PolicyVote, **changes: Any) -> Evaluate:
    """An evaluation after a sample, with full windows and no earlier wish in the way."""
    numbers = [v.proposal.to for v in votes if isinstance(v.proposal, Scale)]
    given: dict[str, Any] = {
        "sampled": True,
        "wishes_max": max(numbers, default=None),
        "wishes_min": min(numbers, default=None),
        "covered_since": at - 100_000,
        "zero_since": None,
    }
    return Evaluate(at, votes=tuple(votes), **(given | changes))


def percent(number: int) -> Amount:
    """A share."""
    return Amount(percent=number)


def count(number: int) -> Amount:
    """A plain count."""
    return Amount(count=number)
