"""What the demo knows at this moment. Written by the story; `live`, `plain` and the report show it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Progress = Literal["ahead", "under way", "ok", "failed", "not reached"]

HISTORY = 240
LINES_KEPT = 50


@dataclass(slots=True)
class Chapter:
    """One chapter: what it promises, and once told what was seen. ``note`` says the finding, ``why`` a failure."""

    name: str
    promise: str
    progress: Progress = "ahead"
    seconds: float = 0.0
    events: int = 0
    requests: int = 0
    failed_requests: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    why: str = ""

    def document(self) -> dict[str, Any]:
        """As it stands in the JSON report."""
        told: dict[str, Any] = {
            "name": self.name,
            "ok": self.progress == "ok",
            "seconds": round(self.seconds, 2),
            "events": self.events,
            "requests": self.requests,
            "failed_requests": self.failed_requests,
            **self.facts,
        }
        return told | {"why": self.why} if self.why else told


@dataclass(frozen=True, slots=True)
class Seen:
    """A replica as the demo itself sees it: ``id`` a pid or container, ``answers`` whether its own address says 200.

    ``version`` is what it answers, or where it does not what it was started as.
    """

    id: str
    name: str
    host: str
    version: str
    address: str
    answers: bool = False
    said: str = ""


@dataclass(slots=True)
class Board:
    """Everything on show. ``on_line`` hears each line as it is said."""

    chapters: list[Chapter]
    parts: str = ""
    replicas: tuple[Seen, ...] = ()
    answered: dict[str, int] = field(default_factory=dict)
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    counts: deque[int] = field(default_factory=lambda: deque(maxlen=HISTORY))
    demand: int = 0
    revision: int = 0
    requests: int = 0
    failed_requests: int = 0
    decision: str = ""
    decided_at: float = 0.0
    waiting_for: str = ""
    tasks: dict[str, int] = field(default_factory=dict)
    lines: deque[tuple[float, str, str]] = field(default_factory=lambda: deque(maxlen=LINES_KEPT))
    began_at: float = field(default_factory=time.monotonic)
    on_line: Callable[[float, str, str], None] | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.began_at

    def say(self, text: str, kind: str = "") -> None:
        """A line for the reader. ``kind``: chapter, decision, replica, ok, failed, or nothing special."""
        at = self.elapsed_s
        self.lines.append((at, text, kind))
        if self.on_line is not None:
            self.on_line(at, text, kind)

    def decided(self, text: str) -> None:
        """What the autoscaler decided last, and why."""
        self.decision, self.decided_at = text, self.elapsed_s

    def saw(self, replicas: Sequence[Seen]) -> None:
        """The replicas that exist now; a line for each that came, went, or began to answer."""
        before = {replica.id: replica for replica in self.replicas}
        now = {replica.id: replica for replica in replicas}
        for replica in replicas:
            if replica.id not in before:
                self.say(f"{replica.name} has started: version {replica.version}, {replica.id}", "replica")
            elif replica.answers and not before[replica.id].answers:
                self.say(f"{replica.name} answers: version {replica.version}", "replica")
        for gone in before.keys() - now.keys():
            self.say(f"{before[gone].name} has ended: version {before[gone].version}, {gone}", "replica")
        self.replicas = tuple(replicas)
