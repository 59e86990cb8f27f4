"""After a rollback that policies asked for: whether what they complained of is over. Called by `decide`. Pure.

Rules: health is proven before a rollback ends, so this asks the policies that vote on revisions alone; well again is a
vote with data and without a complaint; unknown is neither. What is not well in time is an alarm, and nothing is done:
a rollback is never rolled back.
"""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.draft import Draft, because
from autoscaler.core.facts import Reason
from autoscaler.core.proposals import Rollback
from autoscaler.core.rollout import Idle
from autoscaler.core.state import Verification
from autoscaler.core.stimuli import Evaluate

VERIFY_S = 300.0
"""Within so long the metric is to be back (delivery rules, "Rollback target")."""


def begin_verification(draft: Draft, revision: int, reason: Reason) -> None:
    """From now on it is looked at whether the revision that was gone back to is well."""
    verification = Verification(revision, reason.text[:500], draft.at + VERIFY_S)
    text = f"revision {revision} is back; its policies are to see it well within {VERIFY_S:g} s"
    draft.add("observed", "rollback", because("verifying", text), verification=verification)


def verify_rollback(draft: Draft, stimulus: Evaluate) -> None:
    """Note that the policies have seen it well again, by samples that came since."""
    verification = draft.state.verification
    votes = [vote for vote in stimulus.votes if vote.rollback]
    if verification is None or not votes or not stimulus.sampled or not isinstance(draft.state.rollout, Idle):
        return
    if any(vote.unknown or isinstance(vote.proposal, Rollback) for vote in votes):
        return
    after = " late" if verification.late else ""
    text = (
        f"revision {verification.revision} is well again{after}: no complaint of {', '.join(v.policy for v in votes)}"
    )
    draft.add("observed", "rollback", because("verified", text), verification=None, inputs=stimulus.readings)


def note_unverified(draft: Draft) -> None:
    """Raise the alarm, once, where its time is over."""
    verification = draft.state.verification
    if verification is None or verification.late or draft.at < verification.until:
        return
    text = (
        f"alarm: revision {verification.revision} was not seen well in {VERIFY_S:g} s after the rollback; it followed"
    )
    draft.add(
        "observed",
        "rollback",
        because("not_verified", f"{text} {verification.text}"),
        verification=replace(verification, late=True),
    )
