"""Hosts in the order in which a replica of one kind would take them, kept up as single hosts change. Pure.

One index serves every service whose replicas are alike (resources, image, ports, placement rules): it knows nothing of
any service. It is a memo of the pool (`Hosts.memo`), filled anew where a host is another object than last time; whoever
has another view of the pool gets the answer for that view.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import chain

from autoscaler.core.placement.asked import NOTHING, Asked, Reserved
from autoscaler.core.placement.filters import room_refusal, standing_refusal
from autoscaler.core.placement.ranking import group_keys, replicas_counted, ring_of
from autoscaler.core.placement.scorers import common_of, sized_score, soft_taints, standing_score
from autoscaler.core.world import Hosts, HostView

Entry = tuple[int, int, int, str]
"""(-weighted score, replicas in all, place on the ring, name) of a host that would take one more replica."""

Group = tuple[str, ...]
"""The values of a host's labels by which the service's replicas are counted."""

KINDS_MAX = 128
"""Indexes kept for one pool, about a megabyte each for 5,000 hosts; the one that was asked longest ago goes first."""

FEW = 32
"""So many changed hosts of a group are put in their places one by one; for more the group is sorted."""


class Index:
    """The order of one pool's hosts for one kind of replica. ``order``: by group, best first."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.keys = group_keys(asked.rules)
        self.order: dict[Group, list[Entry]] = {}
        self.group_of: dict[str, Group] = {}
        self.common = common_of((), asked)
        self._hosts = Hosts()
        self._entries: dict[str, Entry | None] = {}
        self._standing: dict[str, int] = {}
        self._mixed = False

    def entry(self, host: str) -> Entry | None:
        """The host's place in the order; None where it would take no replica."""
        return self._entries.get(host)

    def follow(self, hosts: Hosts) -> None:
        """Bring the order up to date with this view of the pool."""
        before = self._hosts
        if hosts is before:
            return
        self._hosts = hosts
        if len(hosts) != len(before):
            self._fill(hosts)
            return
        if hosts.memo is before.memo and hosts.former == before.serial:
            pairs = [(before.named(name), hosts.named(name)) for name in hosts.changed]
            changed = [(old, new) for old, new in pairs if old is not None and new is not None]
        else:
            changed = [(old, new) for old, new in zip(before, hosts, strict=True) if old is not new]
        if any(self._stands_out(old, new) for old, new in changed):
            self._fill(hosts)
        else:
            self._move(changed)

    def _stands_out(self, old: HostView, new: HostView) -> bool:
        """Whether the change of one host means something for the others as well, or for its group."""
        if self._mixed or old.name != new.name or old.labels != new.labels:
            return True
        if (old.condition, old.known, old.cpu_load, old.memory_load) != (
            new.condition, new.known, new.cpu_load, new.memory_load,
        ):  # fmt: skip
            return True
        if bool(old.cpu_room and old.memory_room) != bool(new.cpu_room and new.memory_room):
            return True
        asked, pinned = self.asked, self.asked.spec.pinned
        if old.taints is not new.taints and soft_taints(old, asked) != soft_taints(new, asked):
            return True
        if pinned and (pinned in old.images) != (pinned in new.images):
            return True
        return (standing_refusal(old, asked) is None) != (standing_refusal(new, asked) is None)

    def _fill(self, hosts: Sequence[HostView]) -> None:
        standing = [host for host in hosts if standing_refusal(host, self.asked) is None]
        self.common = common_of(standing, self.asked)
        # Where some hosts' room is not known, they have the mean of the others, which moves with every replica.
        sized = sum(1 for host in standing if host.cpu_room and host.memory_room)
        self._mixed = 0 < sized < len(standing)
        self.group_of = {host.name: tuple(host.labels.get(key, "") for key in self.keys) for host in hosts}
        self._entries = dict.fromkeys(self.group_of)
        self._standing = {host.name: standing_score(host, self.asked, self.common) for host in standing}
        order: dict[Group, list[Entry]] = {}
        for host in standing:
            entry = self._entries[host.name] = self._entry_of(host)
            if entry is not None:
                order.setdefault(self.group_of[host.name], []).append(entry)
        for entries in order.values():
            entries.sort()
        self.order = order

    def _move(self, changed: Sequence[tuple[HostView, HostView]]) -> None:
        by_group: dict[Group, list[HostView]] = {}
        for old, host in changed:
            by_group.setdefault(self.group_of[host.name], []).append(host)
            if not (old.images is host.images and old.taints is host.taints):
                self._standing[host.name] = standing_score(host, self.asked, self.common)
        for group, hosts in by_group.items():
            entries = self.order.setdefault(group, [])
            before = [entry for host in hosts if (entry := self._entries[host.name]) is not None]
            for host in hosts:
                self._entries[host.name] = self._entry_of(host) if host.name in self._standing else None
            after = [entry for host in hosts if (entry := self._entries[host.name]) is not None]
            if len(hosts) <= FEW:
                for entry in before:
                    del entries[bisect_left(entries, entry)]
                for entry in after:
                    insort(entries, entry)
            else:
                gone = frozenset(before)
                kept = [entry for entry in entries if entry not in gone]
                kept += after
                kept.sort()
                self.order[group] = kept
            if not self.order[group]:
                del self.order[group]

    def _entry_of(self, host: HostView) -> Entry | None:
        if room_refusal(host, self.asked, 0, NOTHING) is not None:
            return None
        return -self.score(host, NOTHING), replicas_counted(self.asked, host, NOTHING), ring_of(host.name), host.name

    def score(self, host: HostView, fresh: Reserved) -> int:
        """The host's weighted score with what is still to come there, as `host_scores` gives it."""
        return self._standing[host.name] + sized_score(host, self.asked, self.common, fresh)


def best_first(entries: Sequence[Entry], start: int) -> Iterator[Entry]:
    """The entries in their order, equal ones (score and replicas) from the place ``start`` of the ring on."""
    begin, end_of_all = 0, len(entries)
    while begin < end_of_all:
        score, replicas = entries[begin][0], entries[begin][1]
        end = bisect_left(entries, (score, replicas + 1), begin)
        middle = bisect_left(entries, (score, replicas, start), begin, end)
        for place in chain(range(middle, end), range(begin, middle)):
            yield entries[place]
        begin = end


def index_for(hosts: Hosts, asked: Asked) -> Index:
    """The pool's index for this kind of replica, up to date."""
    if asked.scores:
        index = Index(asked)
        index.follow(hosts)
        return index
    resources = asked.spec.resources
    # The rules are told by their identity, which the index keeps alive; services of one template share them.
    beside = asked.service if asked.service in asked.rules.beside_none_of else ""
    spec = asked.spec
    key = ("placement", resources, spec.pinned, spec.platforms, asked.fixed_ports, id(asked.rules), beside)
    found = hosts.memo.pop(key, None)
    index = found if isinstance(found, Index) and found.asked.rules is asked.rules else Index(asked)
    hosts.memo[key] = index
    while len(hosts.memo) > KINDS_MAX:
        hosts.memo.pop(next(iter(hosts.memo)))
    index.follow(hosts)
    return index
