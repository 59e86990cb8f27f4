"""What a member shows to people and programs: readiness, summaries, one service whole. Reads only."""

from __future__ import annotations

from typing import Any

from autoscaler.core.state import ServiceState
from autoscaler.engine.exposition import MemberCollector
from autoscaler.engine.member import Member
from autoscaler.engine.shard import Shard
from autoscaler.ledger.fields import to_json_values

STALLED_S = 30.0


class MemberFace:
    """The face of one member."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def collector(self) -> MemberCollector:
        """A prometheus_client collector."""
        return MemberCollector(self._member)

    def healthy(self) -> str:
        """Empty while the loop makes progress, else what stands still."""
        member = self._member
        silent_s = member.parts.clock.monotonic() - member.polled_at
        if member.polled_at and silent_s > STALLED_S:
            return f"no try to poll for {silent_s:.0f} s"
        return ""

    def unready(self) -> str:
        """Empty when ready to work or to stand by, else what is missing."""
        member = self._member
        if not member.connected:
            return "the stream is away"
        restoring = [p for p in sorted(member.owned) if (r := member.runners.get(p)) is None or r.shard is None]
        return f"restoring partitions {', '.join(map(str, restoring))}" if restoring else ""

    def services(self) -> list[dict[str, Any]]:
        """A summary of each service in this member."""
        return [
            self._summary(shard, state) for shard in self._member.shards() for _, state in sorted(shard.states.items())
        ]

    def service(self, name: str) -> dict[str, Any] | None:
        """One service whole, or None where this member does not have it."""
        for shard in self._member.shards():
            state = shard.states.get(name)
            if state is not None:
                values = {
                    field: getattr(state, field)
                    for field in ("revisions", "rollout", "replicas", "override", "scheduled", "freeze")
                }
                shadows = shard.evaluator.shadows.get(name)
                kept = {"shadows": shadows.shown()} if shadows is not None else {}
                return {**self._summary(shard, state), **to_json_values(values), **kept}
        return None

    def _summary(self, shard: Shard, state: ServiceState) -> dict[str, Any]:
        running = sum(1 for seen in self._member.observer.replicas(state.service) if seen.condition == "running")
        return {
            "service": state.service,
            "desired": state.demand,
            "asked": state.asking,
            "actual": running,
            "revision": state.revision,
            "phase": state.rollout.phase,
            "generation": state.generation,
            "pending": state.pending.text if state.pending is not None else None,
            "partition": shard.partition,
        }
