"""What operators said of hosts: drain, cordon, uncordon. Pure.

Hosts belong to no partition, so every owner is told: each keeps the marks of its partition in the partition's record,
and shows its services the hosts with them. What is known to be wrong with a host counts more than a mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from autoscaler.core.draft import Draft
from autoscaler.core.facts import Reason
from autoscaler.core.records import Record
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import ControlArrived
from autoscaler.core.world import Hosts, HostView

HOST_COMMANDS = frozenset({"drain", "cordon", "uncordon"})
MARKS_MAX = 10_000
"""More marked hosts than any pool has; the partition record stays small."""

Mark = Literal["draining", "cordoned"]
_MARKS: dict[str, Mark | None] = {"drain": "draining", "cordon": "cordoned", "uncordon": None}
_WORDS = {"drain": "is being emptied", "cordon": "takes no new replica", "uncordon": "takes replicas again"}


@dataclass(frozen=True, slots=True)
class Marked:
    """One command carried out: the marks after it, and its record."""

    marks: Mapping[str, Mark]
    records: tuple[Record, ...]


def mark_host(nobody: ServiceState, marks: Mapping[str, Mark], command: ControlArrived, *, repeated: bool) -> Marked:
    """Carry the command out, or say why not; ``nobody`` is the chain of what belongs to no service."""
    draft = Draft(nobody, command.at)
    draft.causes = (command.event,)
    mark, host = _MARKS[command.command], command.host
    if repeated:
        seen = Reason("duplicate", "seen before")
        draft.add("refused", "control", seen, verdict="duplicate", event=command.event)
        return Marked(marks, tuple(draft.records))
    if command.refusal is not None:
        draft.settle(command.event, "refused", "control", Reason(*command.refusal))
    elif marks.get(host) == mark:
        text = f"host {host} {_WORDS[command.command]} already"
        draft.settle(command.event, "unchanged", "control", Reason("unchanged", text))
    elif mark is not None and host not in marks and len(marks) >= MARKS_MAX:
        draft.settle(command.event, "refused", "control", Reason("too_many", f"{MARKS_MAX} hosts are marked already"))
    else:
        marks = {name: kept for name, kept in marks.items() if name != host}
        if mark is not None:
            marks[host] = mark
        why = f": {command.reason}" if command.reason else ""
        text = f"host {host} {_WORDS[command.command]}{why}"
        draft.settle(command.event, "applied", "control", Reason(command.command, text))
    return Marked(marks, tuple(draft.records))


def marked_host(host: HostView, marks: Mapping[str, Mark]) -> HostView:
    """The host as its mark shows it: one that is suspect or lost stays that."""
    mark = marks.get(host.name)
    if mark is None or host.condition not in {"ready", "cordoned"}:
        return host
    return replace(host, condition=mark)


class MarkedHosts:
    """The hosts with their marks, made anew only where something has changed; one for each partition and target."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Hosts, Mapping[str, Mark], Hosts]] = {}

    def shown(self, target: str, hosts: tuple[HostView, ...], marks: Mapping[str, Mark]) -> tuple[HostView, ...]:
        """The target's hosts with these marks."""
        if not marks or not isinstance(hosts, Hosts):
            return hosts
        found = self._of.get(target)
        if found is not None and found[0] is hosts and found[1] is marks:
            return found[2]
        memo = found[2].memo if found is not None else None
        before = {host.name: (old, host) for old, host in zip(found[0], found[2], strict=True)} if found else {}
        views = []
        for host in hosts:
            old = before.get(host.name)
            same = old is not None and old[0] is host and found is not None and found[1] is marks
            views.append(old[1] if same and old is not None else marked_host(host, marks))
        made = Hosts(views, memo)
        self._of[target] = (hosts, marks, made)
        return made
