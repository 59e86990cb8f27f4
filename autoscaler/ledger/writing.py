"""Records to what is appended: each to its audit event, linked into its chain, and the state after them.

Called by the shard once per decision; what comes back goes into one atomic append.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoscaler.core.evolve import evolve
from autoscaler.core.records import Record
from autoscaler.core.state import ServiceState
from autoscaler.events.envelope import STRUCTURED_HEADERS
from autoscaler.events.hashing import FIRST_PREVHASH
from autoscaler.ledger.audit import AuditEvent, Author, Link, audit_event
from autoscaler.ledger.fields import changed_values
from autoscaler.ledger.partition_record import ChainHead, unrouted_chain
from autoscaler.ledger.state_codec import encode_state
from autoscaler.ports.stream import Outgoing, Topic


class Ledger:
    """Writes the records of one partition in the name of one cluster. Holds no state of any service."""

    def __init__(self, cluster: str, partition: int) -> None:
        self._cluster = cluster
        self._partition = partition

    def write(
        self,
        before: ServiceState,
        records: Sequence[Record],
        token: int,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> tuple[ServiceState, tuple[Outgoing, ...]]:
        """The state after ``records`` (folded here, the chain's hash in it), and what to append: audit, then state.

        The state record is written whole, so ``checkpoint`` is the present one each time; without records it alone is
        what is saved. Raises `LedgerError` where something cannot be written; nothing has happened then.
        """
        author = Author(self._cluster, self._partition, token)
        state = before
        outgoing = []
        for record in records:
            after = evolve(state, record)
            link = Link(state.service, after.seq, after.generation, state.chain or FIRST_PREVHASH)
            sealed = audit_event(record, link, author, changed_values(state, after))
            outgoing.append(_audit(state.service, sealed))
            state = replace(after, chain=sealed.hash)
        outgoing.append(self.state_record(state, checkpoint))
        return state, tuple(outgoing)

    def write_unrouted(
        self, head: ChainHead, records: Sequence[Record], token: int
    ) -> tuple[ChainHead, tuple[Outgoing, ...]]:
        """Records of no known service, in the partition's own chain; its new head goes into the partition record."""
        author = Author(self._cluster, self._partition, token)
        chain = unrouted_chain(self._partition)
        outgoing = []
        for record in records:
            sealed = audit_event(record, Link(chain, head.seq + 1, 0, head.hash), author, {})
            outgoing.append(_audit(chain, sealed))
            head = ChainHead(head.seq + 1, sealed.hash)
        return head, tuple(outgoing)

    @staticmethod
    def state_record(state: ServiceState, checkpoint: Mapping[str, Any] | None = None) -> Outgoing:
        """The state record alone: a checkpoint that is due, or a late write of a former owner to be written over."""
        return Outgoing(Topic.STATE, state.service.encode(), encode_state(state, checkpoint))


def _audit(chain: str, sealed: AuditEvent) -> Outgoing:
    return Outgoing(Topic.AUDIT, chain.encode(), sealed.value, STRUCTURED_HEADERS)
