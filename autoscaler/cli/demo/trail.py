"""The audit trail as the demo follows it: decisions for the reader, verdicts for the chapters, the chain at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from autoscaler.cli.demo.board import Board
from autoscaler.cli.demo.stage import SERVICE
from autoscaler.ledger.audit import read_audit
from autoscaler.ledger.chain import ChainReport, ChainVerifier
from autoscaler.ports.stream import StreamClient, Topic

TOLD = frozenset({"scale", "update", "rollback", "deployment", "heal"})


class Trail:
    """Follows the audit topic. ``shorten`` makes its sentences fit a line."""

    def __init__(self, client: StreamClient, board: Board, shorten: Callable[[str], str]) -> None:
        self._shorten = shorten
        self._client = client
        self._board = board
        self._verdicts: dict[str, Mapping[str, Any]] = {}

    def verdict(self, event_id: str) -> Mapping[str, Any] | None:
        """The data of the terminal record of that event, None before there is one."""
        return self._verdicts.get(event_id)

    async def follow(self) -> None:
        """Read until cancelled."""
        async for _, message in self._client.read(Topic.AUDIT, follow=True):
            if message.value is not None:
                self._take(read_audit(message.value))

    def _take(self, event: Mapping[str, Any]) -> None:
        if event["subject"] != SERVICE:
            return
        data = event["data"]
        self._board.demand, self._board.revision = data["after"]["demand"], data["after"]["revision"]
        if data["terminal"] and data["event"] is not None:
            self._verdicts[data["event"]["id"]] = data
        if data["kind"] in TOLD and event["type"].startswith("io.eventscaler.decided"):
            text = self._shorten(sentence(data))
            self._board.decided(text)
            self._board.say(text, "decision")


def sentence(data: Mapping[str, Any]) -> str:
    """A decision in one line."""
    before, after = data["before"], data["after"]
    if data["verdict"] == "accepted":
        return str(data["reason"]["text"])
    change = f" {before['demand']} -> {after['demand']}" if before["demand"] != after["demand"] else ""
    return f"{data['verdict'] or data['kind']}{change}: {data['reason']['text']}"


async def verify(client: StreamClient) -> tuple[bool, str]:
    """Whether every chain of the trail is whole from its first event, and in words what was checked."""
    chains: dict[str, ChainVerifier] = {}
    async for _, message in client.read(Topic.AUDIT):
        if message.value is not None:
            event = read_audit(message.value)
            chains.setdefault(event["subject"], ChainVerifier()).take(event)
    reports = [chain.report() for chain in chains.values()]
    return bool(reports) and all(r.ok and r.complete for r in reports), _said(reports)


def _said(reports: Iterable[ChainReport]) -> str:
    return "; ".join(f"{report.chain}: {report.text}" for report in reports) or "there is no audit trail"
