"""Verification of an audit chain, by anyone who can read the audit topic.

Needs the events alone, in order; keeps nothing of them but the last hash, so that a trail of any length can be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autoscaler.errors import LedgerError
from autoscaler.events.hashing import FIRST_PREVHASH, event_hash

MISSING_SHOWN_MAX = 100


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What verification found. ``ok``: every event present is linked to the one before it and unchanged.

    ``complete``: it starts at the chain's first event; else retention took the older ones and verification starts at
    ``oldest_seq``. ``broken_at``: the first event that fails. ``missing``: absent seqs between the oldest and the
    newest, the first 100 of ``missing_count``. ``text`` says it for a person.
    """

    chain: str
    ok: bool
    complete: bool
    checked: int
    oldest_seq: int
    newest_seq: int
    broken_at: int | None
    missing: tuple[int, ...]
    missing_count: int
    text: str


@dataclass(slots=True)
class ChainVerifier:
    """Checks one chain event by event: `take` each in order, then ask for the `report`."""

    chain: str = ""
    _checked: int = 0
    _oldest: int = 0
    _newest: int = 0
    _last_hash: str = ""
    _complete: bool = False
    _broken_at: int | None = None
    _problem: str = ""
    _missing: list[int] = field(default_factory=list)
    _missing_count: int = 0

    def take(self, event: Mapping[str, Any]) -> None:
        """The next event of the chain, as `read_audit` gives it."""
        seq: int = event["data"]["seq"]
        if not self._checked:
            self._begin(event, seq)
        else:
            self._follow(event, seq)
        self._check_hash(event, seq)
        self._checked += 1
        self._newest = max(self._newest, seq)
        self._last_hash = event["hash"]

    def _begin(self, event: Mapping[str, Any], seq: int) -> None:
        self.chain = self.chain or event["subject"]
        self._oldest = seq
        self._complete = seq == 1
        if seq == 1 and event["prevhash"] != FIRST_PREVHASH:
            self._break(seq, "it is the first, and its prevhash is not 64 zeros")

    def _follow(self, event: Mapping[str, Any], seq: int) -> None:
        if event["subject"] != self.chain:
            self._break(seq, "it belongs to another chain")
        elif seq <= self._newest:
            self._break(seq, f"it comes after event {self._newest}")
        elif seq > self._newest + 1:
            absent = range(self._newest + 1, seq)
            self._missing_count += len(absent)
            self._missing.extend(absent[: max(0, MISSING_SHOWN_MAX - len(self._missing))])
        elif event["prevhash"] != self._last_hash:
            self._break(seq, "its prevhash is not the hash of the event before it")

    def _check_hash(self, event: Mapping[str, Any], seq: int) -> None:
        try:
            actual = event_hash(event)
        except LedgerError:
            actual = ""
        if actual != event["hash"]:
            self._break(seq, "its content does not give its hash")

    def _break(self, seq: int, why: str) -> None:
        if self._broken_at is None:
            self._broken_at = seq
            self._problem = f"event {seq} is broken: {why}"

    def report(self, head: tuple[int, str] | None = None) -> ChainReport:
        """What was found; ``head`` (seq and hash that the state record has) also shows events cut off at the end."""
        if head is not None and self._checked and head != (self._newest, self._last_hash):
            self._break(head[0], f"the state record stands at event {head[0]}, the trail ends with {self._newest}")
        ok = self._broken_at is None and not self._missing_count
        return ChainReport(
            chain=self.chain,
            ok=ok,
            complete=self._complete,
            checked=self._checked,
            oldest_seq=self._oldest,
            newest_seq=self._newest,
            broken_at=self._broken_at,
            missing=tuple(self._missing),
            missing_count=self._missing_count,
            text=self._text(),
        )

    def _text(self) -> str:
        if not self._checked:
            return "no event to verify"
        parts = [self._problem] if self._problem else []
        if self._missing_count:
            parts.append(f"{self._missing_count} missing, the first of them event {self._missing[0]}")
        begin = "from the first" if self._complete else f"from event {self._oldest}, the oldest that is kept,"
        parts.append(f"{self._checked} events verified {begin} to event {self._newest}")
        return "; ".join(parts)


def verify_chain(events: Iterable[Mapping[str, Any]], head: tuple[int, str] | None = None) -> ChainReport:
    """What `ChainVerifier` says of the events of one chain, in order."""
    verifier = ChainVerifier()
    for event in events:
        verifier.take(event)
    return verifier.report(head)
