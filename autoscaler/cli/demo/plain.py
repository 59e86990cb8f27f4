"""The story as lines, for pipes, logs and terminals without colour."""

from __future__ import annotations

from typing import TextIO

MARKS = {"chapter": "==", "decision": "->", "replica": " .", "ok": "ok", "failed": "!!"}


class Lines:
    """Writes each line to ``out`` as it is said."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def line(self, at: float, text: str, kind: str) -> None:
        """One line: the second of the demo, a mark for its kind, the text."""
        self._out.write(f"{at:5.1f}s {MARKS.get(kind, '  ')} {text}\n")
        self._out.flush()
