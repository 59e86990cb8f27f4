"""Several policies' votes to one wish, by the rule that the service names. Called by `evaluate`, the engine and
`explain`. Pure.

Rules: only a policy that proposes replicas or holds counts; a hold wishes the demand that it was told of. An unknown
vote wishes today's demand, and while there is one, no rule comes to less than that: unknown never lowers, nor does
what stands in for an unknown signal. A floor counts beside any rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from autoscaler.core.facts import ProposalNote
from autoscaler.core.proposals import Hold, Rollback, Scale, Update
from autoscaler.core.settings import Scaling
from autoscaler.core.stimuli import PolicyVote

KNOWN = frozenset({"wish", "hold", "stand_in"})
UNKNOWN = frozenset({"unknown", "stand_in"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What the policies want together: replicas, the label of the policy that won, its words; code says how it came
    about."""

    to: int
    winner: str
    text: str
    code: str


def combine(votes: Iterable[PolicyVote], demand: int, scaling: Scaling, told: int | None = None) -> Wish | None:
    """The combined wish of the scaling votes, or None where no policy has an opinion. Ties: the first policy listed.

    ``told``: the demand that policies knew of, where budgets allow less than ``demand``.
    """
    held = demand if told is None else told
    counted: list[Wish] = []
    floor: Wish | None = None
    policies = 0
    for vote in votes:
        wish = _wish_of(vote, demand, held)
        if vote.floor:
            floor = wish
            continue
        policies += not vote.rollback
        if wish is not None:
            counted.append(wish)
    best = _by_rule(counted, demand, scaling, policies) if counted else None
    if floor is not None and (demand if best is None else best.to) < floor.to:
        return floor
    return best


def quorum_of(scaling: Scaling, policies: int) -> int:
    """How many of so many scaling policies have to agree: what the service says, else more than half."""
    return scaling.quorum or policies // 2 + 1


def _by_rule(wishes: Sequence[Wish], demand: int, scaling: Scaling, policies: int) -> Wish:
    if scaling.combine == "max":  # the usual rule, on the hot path
        return wishes[0] if len(wishes) == 1 else max(wishes, key=_replicas)
    if scaling.combine == "min":
        best = min(wishes, key=_replicas)
    elif scaling.combine == "priority":
        best = next((wish for wish in wishes if wish.code in KNOWN), wishes[0])
    else:
        best = _agreed(wishes, demand, quorum_of(scaling, policies), policies)
    if best.to < demand and any(wish.code in UNKNOWN for wish in wishes):
        return Wish(demand, best.winner, "a policy is unknown: today's demand is kept", "unknown")
    return best


def _agreed(wishes: Sequence[Wish], demand: int, needed: int, policies: int) -> Wish:
    """The highest count that at least ``needed`` policies wish at least; today's demand where so few have an
    opinion."""
    if needed > len(wishes):
        text = f"{len(wishes)} of {policies} policies have an opinion, and {needed} have to agree"
        return Wish(demand, "", text, "no_quorum")
    found = sorted(wishes, key=_replicas, reverse=True)[needed - 1]
    return replace(found, text=f"{needed} of {policies} policies wish at least {found.to}: {found.text}")


def _replicas(wish: Wish) -> int:
    return wish.to


def _wish_of(vote: PolicyVote, demand: int, held: int) -> Wish | None:
    if vote.rollback:
        return None
    wish = _plain_wish(vote, demand, held)
    if wish is None or not (vote.stand_in or vote.at_least):
        return wish
    least = max(demand, vote.at_least)
    if wish.to >= least:
        return wish if wish.code == "unknown" else replace(wish, text=f"{vote.stand_in}: {wish.text}", code="stand_in")
    if vote.at_least > demand:
        return Wish(vote.at_least, vote.policy, f"at least {vote.at_least} while unknown: {wish.text}", "stand_in")
    return Wish(demand, vote.policy, f"{vote.stand_in or wish.text}: never lowers", "unknown")


def _plain_wish(vote: PolicyVote, demand: int, held: int) -> Wish | None:
    if vote.unknown:
        return Wish(demand, vote.policy, vote.unknown, "unknown")
    proposal = vote.proposal
    if isinstance(proposal, Scale):
        return Wish(proposal.to, vote.policy, proposal.reason, "wish")
    if isinstance(proposal, Hold):
        return Wish(held, vote.policy, proposal.reason, "hold")
    return None


def note_of(vote: PolicyVote) -> ProposalNote:
    """The vote as it stands in a record."""
    proposal = vote.proposal
    if vote.at_least and not vote.rollback:
        to = max(vote.at_least, proposal.to if isinstance(proposal, Scale) else 0)
        text = vote.unknown or (proposal.reason if proposal is not None else "no opinion")
        return ProposalNote(vote.policy, "scale", to, f"at least {vote.at_least} while unknown: {text}")
    if vote.unknown:
        return ProposalNote(vote.policy, "unknown", None, vote.unknown)
    match proposal:
        case Scale(to, reason):
            return ProposalNote(vote.policy, "scale", to, f"{vote.stand_in}: {reason}" if vote.stand_in else reason)
        case Hold(reason):
            return ProposalNote(vote.policy, "hold", None, reason)
        case Rollback(reason):
            return ProposalNote(vote.policy, "rollback", None, reason)
        case Update(revision, reason):
            return ProposalNote(vote.policy, "update", revision, reason)
        case None:
            return ProposalNote(vote.policy, "none", None, "")


def vote_of(note: ProposalNote) -> PolicyVote:
    """The vote that `note_of` noted, as far as scaling goes."""
    match note.kind:
        case "scale":
            return PolicyVote(note.policy, Scale(note.to or 0, note.text))
        case "hold":
            return PolicyVote(note.policy, Hold(note.text))
        case "unknown":
            return PolicyVote(note.policy, None, note.text or "unknown")
        case kind:
            return PolicyVote(note.policy, None, rollback=kind != "none")
