"""`Driven`: a shard on virtual time beside one obliging host. What a `Scenario` and a replay of the past run on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from autoscaler.core.budgets import Budget
from autoscaler.core.records import Record
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.ports.stream import Batch
from autoscaler.testing.hosts import ScenarioHost

if TYPE_CHECKING:
    from autoscaler.engine.evaluation import Voter

TURNS_MAX = 1000
"""Turns within one moment; more would be a decision that never settles."""


class Unsettled(AssertionError):
    """Decisions follow one another within one moment without an end."""


class Driven:
    """``now`` moves by `advance_to` only. ``records``: all that was decided so far, in order."""

    def __init__(
        self,
        services: Mapping[str, ServiceSettings],
        voter: Voter,
        now: float,
        start_s: float,
        states: Mapping[str, ServiceState] | None = None,
        budgets: Iterable[Budget] = (),
    ) -> None:
        # heavy: see the package
        from autoscaler.engine.budgets_seen import BudgetsSeen  # noqa: PLC0415
        from autoscaler.engine.shard import Shard, ShardSetup  # noqa: PLC0415
        from autoscaler.ledger.partition_record import PartitionRecord  # noqa: PLC0415

        self.now = now
        self.records: list[Record] = []
        self.host = ScenarioHost(start_s)
        self.services = tuple(services)
        books = BudgetsSeen(budgets, services)
        setup = ShardSetup("test", "test", 1, services, voter, self.host.look, budgets=books)
        self.shard = Shard(0, setup, PartitionRecord(0, 1), states or {})
        self.shard.warming = False

    def take(self, batch: Batch) -> list[Record]:
        """Messages come in now; the records that they lead to at once."""
        self.shard.take(batch, self.now)
        return self.settle()

    def advance_to(self, until: float) -> None:
        """Let time pass, deadlines and starts included."""
        while True:
            dues = [due for due in (self.shard.next_due(), self.host.next_change()) if due is not None]
            due = min(dues, default=until)
            self.now = max(self.now, min(due, until))
            if self.host.change(self.now):
                self._look()
            self.shard.due(self.now)
            self.settle()
            if due > until or (not dues and self.now >= until):
                return

    def settle(self) -> list[Record]:
        """Decide, make it durable and act, until nothing is left to do at this moment."""
        first = len(self.records)
        for _ in range(TURNS_MAX):
            if not self.shard.has_work:
                return self.records[first:]
            if self.shard.conclude(self.now) is not None:
                self.records += self.shard.committed(self.now)
            for action in self.shard.actions(self.now):
                self.shard.outcome(self.host.perform(action, self.now), self.now)
                self.shard.observed(action.service, self.now)
        raise Unsettled(f"no rest after {TURNS_MAX} turns")

    def _look(self) -> None:
        for service in self.services:
            self.shard.observed(service, self.now)
