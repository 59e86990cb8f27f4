"""The verification of whole chains against their heads, also while somebody goes on writing them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from autoscaler.cli.reading import Snapshot, entries, snapshot
from autoscaler.ledger.chain import ChainReport, ChainVerifier
from autoscaler.ledger.partition_record import unrouted_chain
from autoscaler.ports.stream import StreamClient

ROUNDS = 6
ROUND_S = 0.2
"""A chain that is written to while it is read shows another head; after so many looks the difference is no accident."""

KEPT_S = 30 * 86_400.0
"""A trail is kept for a year; where a state is younger than this and its trail is gone, it was not retention."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The reports by chain, in order, and what was found that is no event at all."""

    reports: tuple[ChainReport, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every chain is whole and unchanged."""
        return not self.problems and all(report.ok for report in self.reports)


async def verify(client: StreamClient, service: str | None) -> Verification:
    """Check the chain of one service, or all of them, with the heads that the state topic has."""
    verifiers: dict[str, ChainVerifier] = {}
    problems: list[str] = []
    positions: dict[int, int] = {}
    rounds = 0
    while True:
        rounds += 1
        async for entry in entries(client, service, start=positions):
            positions[entry.place.partition] = entry.place.offset + 1
            if entry.problem:
                problems.append(entry.problem)
            elif service is None or entry.chain == service:
                verifiers.setdefault(entry.chain, ChainVerifier(entry.chain)).take(entry.event)
        shown = await snapshot(client, service)
        heads = _heads(shown, service)
        newest = {chain: verifier.report().newest_seq for chain, verifier in verifiers.items()}
        if rounds == ROUNDS or all(newest.get(chain) == head[0] for chain, head in heads.items()):
            break
        await asyncio.sleep(ROUND_S)
    reports = [verifier.report(heads.get(chain)) for chain, verifier in verifiers.items()]
    reports += [_gone(chain, head, shown) for chain, head in heads.items() if chain not in verifiers]
    return Verification(tuple(sorted(reports, key=lambda report: report.chain)), tuple(problems))


def _heads(shown: Snapshot, service: str | None) -> Mapping[str, tuple[int, str]]:
    heads = {name: (state.seq, state.chain) for name, state in shown.states.items() if state.seq}
    if service is None:
        for record in shown.partitions.values():
            if record.unrouted.seq:
                heads[unrouted_chain(record.partition)] = (record.unrouted.seq, record.unrouted.hash)
    return heads


def _gone(chain: str, head: tuple[int, str], shown: Snapshot) -> ChainReport:
    """The report of a chain without a single event: retention may have taken old ones, and never what is recent."""
    report = replace(ChainVerifier(chain).report(), chain=chain, newest_seq=0)
    state = shown.states.get(chain)
    stands = f"the state record stands at event {head[0]}"
    if state is not None and state.updated_at > time.time() - KEPT_S:
        return replace(report, ok=False, broken_at=head[0], text=f"{stands}, and not one event of it is there")
    return replace(report, text=f"{stands}, and its events are no longer kept")
