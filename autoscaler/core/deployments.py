"""From a deployment event to a revision: guards, preflight, launch, superseding. Called by `decide`. Pure."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.actions import Outcome
from autoscaler.core.allowance import complete_spec, digest_of, pin_allowed, refusal_of
from autoscaler.core.draft import Draft, because
from autoscaler.core.facts import EventRef, Reason
from autoscaler.core.freezing import updates_frozen
from autoscaler.core.going_back import HOUR_S, rollback_target, start_rollback
from autoscaler.core.history import former_after, trimmed
from autoscaler.core.preflight import steps_of
from autoscaler.core.records import Verdict
from autoscaler.core.revision import Deployment, Revision, RevisionSpec, content_hash
from autoscaler.core.rollout import (
    Advancing,
    Halted,
    Idle,
    Judging,
    Preflight,
    Retired,
    Retiring,
    RollingBack,
    Soaking,
    running_of,
)
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import DeploymentArrived

CONFIGURATION_SOURCE = "/configuration"
"""The source of the deployment that the configuration's own first revision is."""


def accept_deployment(
    draft: Draft, settings: ServiceSettings, arrived: DeploymentArrived, *, configured: bool = False
) -> None:
    """Refuse the event, let it wait behind a rollback or for approval, or begin it, superseding one in flight;
    ``configured``: it is the configuration's own, which no freeze holds up."""
    state = draft.state
    spec = complete_spec(arrived.spec, arrived.fields, base_spec(state, settings), settings)
    spec_refusal = refusal_of(spec, arrived.fields, settings)
    reason = _refusal(state, settings, replace(arrived, spec=spec), spec_refusal, configured=configured)
    if reason is not None:
        draft.settle(arrived.event, "refused", "deployment", reason)
        return
    deployment = Deployment(arrived.event, spec, arrived.at, arrived.version)
    accepted = because(
        "accepted", f"deployment {arrived.event.id} accepted{' as ' + arrived.version if arrived.version else ''}"
    )
    bound = rollback_bound(state, settings, arrived.at) if not configured else ""
    if isinstance(state.rollout, RollingBack) or bound:
        if state.waiting is not None:
            superseded = because("superseded", f"a later deployment, {arrived.event.id}, takes its place in the queue")
            draft.settle(state.waiting.event, "superseded", "deployment", superseded)
        why = f"{bound}: waits for approve" if bound else "waits for the rollback under way to end"
        waiting = Reason("rollback_limit" if bound else "waiting", f"{accepted.text}; {why}")
        draft.add("decided", "deployment", waiting, verdict="accepted", event=arrived.event, waiting=deployment)
        return
    draft.add("decided", "deployment", accepted, verdict="accepted", event=arrived.event)
    begin(draft, settings, deployment)


def base_spec(state: ServiceState, settings: ServiceSettings) -> RevisionSpec | None:
    """What an image alone is put into: the last stable revision, else the last healthy one, else the configuration's,
    else the last one that has not failed."""
    by_standing = {r.standing: r.spec for r in sorted(state.revisions, key=lambda r: r.number)}
    for standing in ("stable", "healthy"):
        if standing in by_standing:
            return by_standing[standing]
    return settings.revision or by_standing.get("unproven")


def _refusal(
    state: ServiceState,
    settings: ServiceSettings,
    arrived: DeploymentArrived,
    spec_refusal: Reason | None,
    *,
    configured: bool,
) -> Reason | None:
    if isinstance(state.rollout, Retiring | Retired):
        return because("retired", "the service is retired. Configure it again first")
    if arrived.refusal is not None:
        return Reason(*arrived.refusal)
    frozen = updates_frozen(state, settings, arrived.at)
    if frozen is not None and not configured:
        return because("freeze", f"{frozen[0]}. Deploy after it, or unfreeze")
    if spec_refusal is not None:
        return spec_refusal
    return _rejected_before(state, arrived.spec)


def rollback_bound(state: ServiceState, settings: ServiceSettings, at: float) -> str:
    """Why an update that came at that moment waits for `approve`: so many automatic rollbacks in the hour before it, or
    since; empty where it need not."""
    recent = [when for when in state.rollbacks if when > at - HOUR_S]
    if len(recent) < max(1, settings.update.rollbacks_per_hour):
        return ""
    return f"{len(recent)} automatic rollback{'s' if len(recent) > 1 else ''} within an hour"


def _rejected_before(state: ServiceState, spec: RevisionSpec) -> Reason | None:
    """The refusal of content that failed before, where that is known without asking: no secret, and no image or one by
    digest."""
    if spec.secrets or (spec.image and not digest_of(spec.image)):
        return None
    for revision in state.revisions:
        if revision.standing == "rejected" and revision.spec.unresolved == spec.unresolved:
            return _failed_before(revision)
    return None


def _failed_before(rejected: Revision) -> Reason:
    source = f" ({rejected.event.id})" if rejected.event is not None else ""
    text = f"the same content failed as revision {rejected.number}{source}. Approve it or deploy another"
    return because("rejected_before", text, revision=rejected.number)


def begin(draft: Draft, settings: ServiceSettings, deployment: Deployment) -> None:
    """Start the deployment now: supersede what is in flight, resolve its image and secrets first where it has any."""
    rollout = draft.state.rollout
    after = rollout if isinstance(rollout, Halted) else rollout.after if isinstance(rollout, Preflight) else None
    base = supersede(draft, f"by the later deployment {deployment.event.id}")
    image, secrets = deployment.spec.image, deployment.spec.secrets
    resolved = not (image or secrets)
    preflight = Preflight(deployment, draft.at, draft.at + settings.update.deadline_s, base, after, resolved=resolved)
    text = f"resolve {image} on the hosts" if image else "read its secrets" if secrets else "nothing to resolve"
    draft.add("acted", "deployment", because("preflight", text), rollout=preflight, waiting=None)


def supersede(draft: Draft, why: str) -> int | None:
    """Give the deployment in flight its verdict; returns the revision that a failure from here on goes back to, if
    any."""
    rollout = draft.state.rollout
    match running_of(rollout):
        case Preflight(deployment=deployment, base=base):
            draft.settle(deployment.event, "superseded", "deployment", because("superseded", f"superseded {why}"))
            return base
        case Advancing(event=event, base=base) | Judging(event=event, base=base) | Soaking(event=event, base=base):
            draft.settle(event, "superseded", "deployment", because("superseded", f"superseded {why}"))
            return base
        case _:
            return None


def note_resolution(draft: Draft, settings: ServiceSettings, outcome: Outcome) -> None:
    """Image and secrets are pinned, or cannot be had; an answer that comes too late or for another deployment changes
    nothing."""
    rollout = draft.state.rollout
    if (
        not isinstance(rollout, Preflight)
        or outcome.action.kind != "resolve"
        or outcome.action.spec != rollout.deployment.spec
    ):
        return
    if outcome.result == "done" and not rollout.resolved:
        image, images = rollout.deployment.spec.image, settings.events.images
        if image and not pin_allowed(image, outcome.pinned, images):
            text = f"{image} is {outcome.pinned}, whose digest is not in images ({', '.join(images)}). Add it there"
            give_up_preflight(draft, settings, rollout, because("image", text), verdict_failed=False)
            return
        spec = replace(
            rollout.deployment.spec,
            pinned=outcome.pinned,
            platforms=outcome.platforms,
            secret_marks=outcome.secret_marks,
        )
        resolved = replace(rollout, deployment=replace(rollout.deployment, spec=spec), resolved=True)
        text = f"{spec.image} is {outcome.pinned}"[:500] if image else "its secrets were read"
        draft.add("observed", "deployment", because("resolved", text), rollout=resolved)
    elif outcome.result in {"refused", "conflict"}:
        # Nobody is to blame for a secret's file but who keeps it.
        spec = rollout.deployment.spec
        code = "secret" if spec.secrets and not outcome.blame else "image" if spec.image else "target"
        give_up_preflight(draft, settings, rollout, because(code, outcome.text), verdict_failed=False)


def give_up_preflight(
    draft: Draft, settings: ServiceSettings, rollout: Preflight, reason: Reason, *, verdict_failed: bool
) -> None:
    """The deployment ends here; replicas of a superseded revision, if any, go back to the base."""
    verdict: Verdict = "failed" if verdict_failed else "refused"
    draft.settle(rollout.deployment.event, verdict, "deployment", reason, rollout=rollout.after or Idle())
    _return_to_base(draft, settings, rollout.base, reason)


def _return_to_base(draft: Draft, settings: ServiceSettings, base: int | None, reason: Reason) -> None:
    state = draft.state
    target = state.revision_numbered(base) if base is not None else None
    if target is not None and target.number != state.revision:
        start_rollback(draft, settings, reason, own_fault=False, to=target)


def settle_known(draft: Draft, settings: ServiceSettings, preflight: Preflight) -> bool:
    """Whether nothing new is to be rolled out: unchanged content, content that failed before, or that of the base in
    the middle of a canary, which goes straight back. Settles it."""
    state, deployment = draft.state, preflight.deployment
    content = content_hash(deployment.spec)
    rejected = next((r for r in state.revisions if r.content == content and r.standing == "rejected"), None)
    if rejected is not None:
        give_up_preflight(draft, settings, preflight, _failed_before(rejected), verdict_failed=False)
        return True
    current = state.current
    if current is not None and current.content == content and preflight.base is None and preflight.after is None:
        text = f"revision {current.number} has the same content"
        draft.settle(deployment.event, "unchanged", "deployment", because("unchanged", text), rollout=Idle())
        return True
    base = state.revision_numbered(preflight.base) if preflight.base is not None else None
    if base is None or base.content != content or settings.update.strategy == "rolling":
        return False
    text = f"deployment {deployment.event.id} is what revision {base.number} runs"
    reason = because("base", text, revision=base.number)
    if base.number == state.revision:
        draft.settle(deployment.event, "applied", "deployment", reason, rollout=Idle())
    else:
        start_rollback(draft, settings, reason, own_fault=False, command=deployment.event, to=base)
    return True


def launch(draft: Draft, settings: ServiceSettings, preflight: Preflight) -> None:
    """Number the revision and begin to replace replicas."""
    state, rules, deployment, base = draft.state, settings.update, preflight.deployment, preflight.base
    content = content_hash(deployment.spec)
    number = max((r.number for r in state.revisions), default=0) + 1
    revision = Revision(number, deployment.spec, content, draft.at, deployment.version, "unproven", deployment.event)
    bounds = settings.bounds
    demand = state.demand if state.initialised else bounds.nearest(bounds.initial)
    came_from = base if base is not None else serving(state)
    steps, step = steps_of(state, settings, content, came_from)
    rollout = Advancing(
        target=number,
        base=came_from,
        event=deployment.event,
        started_at=draft.at,
        progress_by=draft.at + rules.deadline_s,
        demand=demand,
        touched=max(demand, 1),
        steps=steps,
        step=step,
        blue_green=bool(steps) and rules.strategy == "blue_green",
    )
    kept = trimmed(state, revision, rules.history, came_from)
    text = f"revision {number}: {deployment.spec.pinned or ' '.join(deployment.spec.command)}"[:500]
    draft.causes = (deployment.event,)
    draft.add(
        "decided",
        "update",
        because("revision", text, revision=number, demand=demand),
        revision=number,
        revisions=kept,
        former=former_after(state, kept),
        demand=demand,
        asked=state.asked,
        initialised=True,
        setbacks=(),
        verification=None,
        rollout=rollout,
    )


def serving(state: ServiceState) -> int | None:
    """The revision to go back to from a new one: the wanted one unless it has failed, then the one before that."""
    current = state.current
    if current is not None and current.standing != "rejected":
        return current.number
    former = rollback_target(state, state.revision)
    return former.number if former is not None else None


def edited_later(state: ServiceState, settings: ServiceSettings) -> bool:
    """Whether the configuration's own revision was changed after the service took it, to other than what runs: it
    counts once, so that the change does nothing by itself."""
    spec, current = settings.revision, state.current
    if spec is None or current is None or current.spec.unresolved == spec:
        return False
    taken = [r.event.id for r in state.revisions if r.event is not None and r.event.source == CONFIGURATION_SOURCE]
    return bool(taken) and taken[-1].partition("#")[0] != content_hash(spec)


def configured_event(state: ServiceState, settings: ServiceSettings) -> EventRef | None:
    """The identity of the next try of the configuration's own first revision: its content, and from the second on a
    number.

    None where there is nothing to try: no such revision, or the service has one, be it one that failed.
    """
    spec = settings.revision
    if spec is None or state.revision or not isinstance(state.rollout, Idle):
        return None
    content = content_hash(spec)
    tried = [k.event.id.partition("#") for k in state.seen if k.event.source == CONFIGURATION_SOURCE]
    numbers = [int(number) if number.isdecimal() else 1 for of, _, number in tried if of == content]
    return EventRef(CONFIGURATION_SOURCE, f"{content}#{max(numbers) + 1}" if numbers else content)
