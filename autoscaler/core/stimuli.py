"""What can make the core decide something: the second argument of `decide`. Pure values.

An event, a batch of samples already turned into votes, an outcome, a look at the hosts, a deadline, a configuration.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.core.actions import Outcome
from autoscaler.core.facts import EventRef, SignalReading
from autoscaler.core.proposals import Proposal
from autoscaler.core.revision import RevisionSpec


@dataclass(frozen=True, slots=True)
class PolicyVote:
    """One policy's answer to one evaluation.

    ``unknown`` is why there is no usable answer (metric unknown, plugin raised, late): the vote then wishes today's
    demand. ``metrics``: the signals it looked at. ``rollback``: the policy is one that votes on revisions, not on
    demand. ``floor``: its number is a least one, however the others are combined. ``stand_in``: what was taken for a
    signal that is unknown, in words: such a vote never lowers. ``at_least``: replicas that the service is to have while
    a signal of the policy is unknown.
    """

    policy: str
    proposal: Proposal | None
    unknown: str = ""
    metrics: tuple[str, ...] = ()
    rollback: bool = False
    floor: bool = False
    stand_in: str = ""
    at_least: int = 0


@dataclass(frozen=True, slots=True)
class GuardNote:
    """A guard plugin's answer about the combined wish: ``to`` None is a veto; ``unknown`` is why it failed."""

    guard: str
    to: int | None
    text: str = ""
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Evaluate:
    """The service's policies were asked, because samples came (``sampled``) or a deadline fired.

    ``wishes_max``: highest combined wish of the past down window, ``wishes_min``: lowest of the past up window (None:
    no wish yet). ``covered_since``: since when every metric of the scaling policies is known without a gap;
    ``zero_since``: since when all of them are known zeros. ``told_since``: when the phase began that the policies were
    told of; of one that has ended since, they judge nothing. ``soak_unknown``: rollback-policy signals seen before and
    unknown now.
    """

    at: float
    sampled: bool
    votes: tuple[PolicyVote, ...]
    readings: tuple[SignalReading, ...] = ()
    wishes_max: int | None = None
    wishes_min: int | None = None
    covered_since: float | None = None
    zero_since: float | None = None
    told_since: float | None = None
    soak_unknown: tuple[str, ...] = ()
    guards: tuple[GuardNote, ...] = ()
    causes: tuple[EventRef, ...] = ()


@dataclass(frozen=True, slots=True)
class DeploymentArrived:
    """A well-formed deployment event; ``spec`` complete or, with ``image_only``, just another image for the last
    stable revision.

    ``refusal``: a verifier's or authorisation's no (code, text), already asked by the engine.
    """

    at: float
    event: EventRef
    spec: RevisionSpec
    fields: frozenset[str]
    version: str = ""
    refusal: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ControlArrived:
    """A well-formed operator command; ``for_s`` seconds until it expires by itself, where it can. ``begins_at``: from
    when on it is to be in force, None: now; ``scheduled``: it is about those that are not in force yet."""

    at: float
    event: EventRef
    command: str
    replicas: int | None = None
    revision: int | None = None
    scope: str = ""
    for_s: float | None = None
    reason: str = ""
    refusal: tuple[str, str] | None = None
    host: str = ""
    begins_at: float | None = None
    scheduled: bool = False


@dataclass(frozen=True, slots=True)
class OutcomeArrived:
    """An action ended."""

    at: float
    outcome: Outcome

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """As of several."""
        return (self.outcome,)


@dataclass(frozen=True, slots=True)
class OutcomesArrived:
    """Several actions ended: decided about at once, so that fifty creations are one record and not fifty."""

    at: float
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """The hosts were looked at, or told us of a change; what is there is in the `World` argument."""

    at: float


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """A deadline of the state itself fired."""

    at: float
    soak_unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Configured:
    """The service was taken over, or its configuration changed; its configured revision applies if it has none yet."""

    at: float


@dataclass(frozen=True, slots=True)
class ImagesPruned:
    """Images that no kept revision needs were removed from hosts: ``removed`` of them, counted by host. ``settled``:
    contents that need not be asked for again."""

    at: float
    settled: tuple[str, ...]
    removed: int = 0
    text: str = ""


Stimulus = (
    Evaluate
    | DeploymentArrived
    | ControlArrived
    | OutcomeArrived
    | OutcomesArrived
    | Observed
    | DeadlineReached
    | Configured
    | ImagesPruned
)
