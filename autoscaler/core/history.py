"""Which revisions a service keeps, and which contents nobody needs any more. Called by deployments and decide. Pure.

Rules: what a kept revision of any service of the cluster runs, or a deployment under way has found, is needed; only
what a revision of ours ran is ever named as no longer needed; an image without a digest never is, as nobody could get
it again.
"""

from __future__ import annotations

from collections.abc import Iterable

from autoscaler.core.draft import Draft, because
from autoscaler.core.revision import Pairs, Revision
from autoscaler.core.rollout import Preflight
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import ImagesPruned

FORMER_MAX = 50
"""Contents that wait to be removed; of more the oldest are forgotten, and stay on their hosts."""


def trimmed(state: ServiceState, added: Revision, history: int, base: int | None) -> tuple[Revision, ...]:
    """The newest ``history`` revisions, and besides the base, the two newest stable ones and those that replicas
    run."""
    revisions = (*state.revisions, added)
    stable = [r.number for r in revisions if r.standing == "stable"][-2:]
    running = {r.revision for r in state.replicas}
    kept = {r.number for r in revisions[-history:]} | set(stable) | running | ({base} if base is not None else set())
    return tuple(r for r in revisions if r.number in kept)


def former_after(state: ServiceState, kept: tuple[Revision, ...]) -> Pairs:
    """Images (as written, and their pinned content) whose revisions are not kept any more, oldest first."""
    needed = {revision.spec.pinned for revision in kept}
    let_go = {pinned: image for image, pinned in state.former}
    for revision in state.revisions:
        if "@" in revision.spec.pinned:
            let_go[revision.spec.pinned] = revision.spec.image
    return tuple((image, pinned) for pinned, image in let_go.items() if pinned not in needed)[-FORMER_MAX:]


def needed_contents(states: Iterable[ServiceState]) -> frozenset[str]:
    """Every content that a kept revision of these services, or a deployment under way, is pinned to."""
    needed = set()
    for state in states:
        needed |= {revision.spec.pinned for revision in state.revisions}
        if isinstance(state.rollout, Preflight):
            needed.add(state.rollout.deployment.spec.pinned)
    return frozenset(needed - {""})


def note_pruned(draft: Draft, pruned: ImagesPruned) -> None:
    """Write down what was removed, and forget what no host has any more."""
    former = tuple(entry for entry in draft.state.former if entry[1] not in pruned.settled)
    if pruned.text or former != draft.state.former:
        text = pruned.text or "no host has the images that no kept revision needs"
        draft.add("acted", "schedule", because("pruned", text[:1000], count=pruned.removed), former=former)
