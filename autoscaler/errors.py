"""The one error tree of the program.

Adapters translate foreign exceptions into these at the edge; everything inside raises and catches only these. A message
has the form *what is wrong, where, what to do*, and never echoes a secret or an event's content.

    AutoscalerError
    ├── ConfigurationError      the user's file                                        exit 2
    ├── Refused                 a guard or authorisation said no                       exit 3
    ├── EventRejected           an event that cannot be read: reason code, place
    ├── LedgerError             our own record that cannot be read or written: stop that partition
    ├── PolicyFailed            a plugin raised, was late, or returned nonsense
    ├── StreamError             the stream: .outcome = unavailable | unknown
    │   ├── Fenced              another member owns the partition now
    │   └── TooLarge            a message that no topic takes, ever: make it smaller
    └── TargetError             a host: .retriable, .outcome = refused | unavailable | unknown
        └── Conflict            the name is taken by something else
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CallOutcome = Literal["refused", "unavailable", "unknown"]


class AutoscalerError(Exception):
    """The root of everything that this program raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the user's configuration.

    ``path`` is dotted (``services.web.replicas.max``); ``line`` is 1-based in the file, 0 where unknown; ``severity``
    is ``error`` (exit 2) or ``warning`` (a consequence worth knowing; exit 0).
    """

    path: str
    what: str
    remedy: str = ""
    line: int = 0
    file: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line} " if self.file else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.path}: {ended(self.what)}{remedy}"


class ConfigurationError(AutoscalerError):
    """The user's configuration cannot be used; carries every problem found in one pass, sorted by path."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.path, p.what)))
        super().__init__("\n".join(str(p) for p in self.problems))


class Refused(AutoscalerError):
    """A guard, an allow-list or an authorisation forbids what was asked; ``code`` is from a closed list."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        super().__init__(text)


class EventRejected(AutoscalerError):
    """An event that does not parse or fails its schema.

    ``code`` is from the closed list in `autoscaler.events.rejection`; ``place`` names where in the document, such as
    ``data.revision.image``. The text never repeats the offending value.
    """

    def __init__(self, code: str, text: str, place: str = "") -> None:
        self.code = code
        self.place = place
        super().__init__(text)


class LedgerError(AutoscalerError):
    """A record of our own (state, partition, audit) that cannot be read back or cannot be written.

    The partition that holds it stops, the others go on; nothing is guessed in its place.
    """


class PolicyFailed(AutoscalerError):
    """A plugin raised, was late or returned nonsense: its vote is *unknown*."""

    def __init__(self, plugin: str, hook: str, error: str) -> None:
        self.plugin = plugin
        self.hook = hook
        self.error = error
        super().__init__(f"plugin {plugin}: {hook} failed: {error}")


class StreamError(AutoscalerError):
    """The stream did not do what was asked.

    ``unavailable``: surely not written, try again. ``unknown``: it may have been written; read the state back.
    ``partition``: the one that has to be taken over and sought anew before it can be read on.
    """

    def __init__(
        self, text: str, outcome: Literal["unavailable", "unknown"] = "unavailable", partition: int | None = None
    ) -> None:
        self.outcome = outcome
        self.partition = partition
        super().__init__(text)


class Fenced(StreamError):
    """Another member owns the partition now; stop acting for it at once."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "unavailable")


class TooLarge(StreamError):
    """A message is larger than its topic takes: nothing was written, and the same append can never succeed.

    ``topic`` is the role's name, ``size`` that of key, value and headers in bytes.
    """

    def __init__(self, text: str, topic: str, key: bytes, size: int) -> None:
        self.topic = topic
        self.key = key
        self.size = size
        super().__init__(text, "unavailable")


class TargetError(AutoscalerError):
    """A host call failed.

    ``refused``: the host said no and would again (no retry). ``unavailable``: surely not done, retry with back-off.
    ``unknown``: sent, no answer; observe before anything else.
    """

    def __init__(self, text: str, outcome: CallOutcome, code: str = "") -> None:
        self.outcome = outcome
        self.code = code or outcome
        super().__init__(text)

    @property
    def retriable(self) -> bool:
        """Whether the same call may succeed later without anybody changing anything."""
        return self.outcome != "refused"


class Conflict(TargetError):
    """The name is taken: by the same replica (observe: done already) or by something foreign (alarm, leave it)."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "refused", "conflict")


def ended(text: str) -> str:
    """The text as a sentence: with a mark at its end, and not two of them."""
    return text if text.endswith((".", "?")) else f"{text}."
