"""What the contract suite of the target port needs from each kind of target, so that one suite runs on all.

An arena knows how to make a target over real hosts, which revisions behave in which way there, and how to meddle with
replicas behind the target's back. `arena_docker` and `arena_process` each export ``open_arena(request)``, a context
manager (not async) that yields an `Arena` and cleans it of what the test left; it skips, saying what is missing, where
its real part cannot be had.
"""

from __future__ import annotations

from typing import Protocol

from autoscaler.core.revision import RevisionSpec
from autoscaler.core.world import ObservedReplica
from autoscaler.ports.target import Target


class Arena(Protocol):
    """One kind of target with real hosts under it.

    ``cluster`` is unique to the arena's life, ``host`` is the name of a host that works. Every spec is complete and
    resolved (``pinned`` set where the kind pins). All methods block briefly; tests call them from the event loop.
    """

    kind: str
    cluster: str
    host: str

    def target(self, cluster: str = "") -> Target:
        """A new, unopened target over the arena's hosts; a second one plays a restarted process or, with another
        ``cluster``, a neighbour on the same hosts."""
        ...

    def unresolved(self) -> RevisionSpec:
        """A spec that `Target.resolve` answers with done: of docker, ``image`` is a tag and ``pinned`` empty."""
        ...

    def missing(self) -> RevisionSpec:
        """A spec that no host can run: `Target.resolve` refuses it with blame revision (docker: no such image; process:
        no such program)."""
        ...

    def serves(self) -> RevisionSpec:
        """Answers ``GET /`` with 200 on the port named ``http`` and ends promptly at TERM. Reserves 100 millicores and
        32 MiB."""
        ...

    def exits(self, code: int) -> RevisionSpec:
        """Ends at once with this exit code."""
        ...

    def ignores_term(self) -> RevisionSpec:
        """Runs for ever and ignores TERM."""
        ...

    def prints(self, count: int) -> RevisionSpec:
        """Prints ``line 1`` .. ``line <count>``, one each, to stdout and then runs on."""
        ...

    def cannot_run(self) -> RevisionSpec:
        """Its command does not exist, which shows at `Target.start`: refused, blame revision."""
        ...

    def kill(self, replica: ObservedReplica) -> None:
        """End the replica's main process with SIGKILL, behind the target's back."""
        ...

    def occupy(self, name: str) -> str:
        """Make something foreign (without the cluster's label, running) that holds ``name``; its id."""
        ...

    def foreign_runs(self, foreign_id: str) -> bool:
        """Whether what `occupy` made is still there, running and unchanged."""
        ...

    def clean(self) -> None:
        """Remove every replica and foreign thing that the arena's tests left."""
        ...
