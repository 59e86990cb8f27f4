"""Places many replicas of one kind, one after another, without looking at every host for each. Pure.

Hosts are kept by group (their labels of ``spread``), so that a replica in one zone moves that zone alone. Within a
group the hosts that the service does not touch stand in the index; those that it touches (replicas there already,
failures) are ranked by themselves. A group's rank only ever worsens by what is placed elsewhere, so the heap of groups
is put right when its top is looked at. Whatever changes the room behind its back makes a placer begin anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush, heapreplace

from autoscaler.core.placement.asked import Asked, Room
from autoscaler.core.placement.filters import room_refusal
from autoscaler.core.placement.index import Entry, Group, Index, best_first, index_for
from autoscaler.core.placement.ranking import (
    RING,
    Rank,
    many_failures,
    own_score,
    replicas_counted,
    ring_of,
    shares_offset,
)
from autoscaler.core.world import Hosts, HostView

Own = tuple[int, int, int, int, int, str]
"""(failures, replicas of the service, -score, replicas in all, distance, name): a host's rank within its group."""


class _Group:
    """One group of hosts: what the service touches and what it does not.

    ``crowds``: what is counted for each key of ``spread``, None for the host itself. ``waiting``: touched hosts that
    come after every untouched one, and are ranked when those are used up. ``best``: the group's best host as last
    looked at, and whether the service does not touch it.
    """

    __slots__ = ("best", "crowds", "own", "untouched", "untouched_top", "values", "waiting")

    def __init__(self, values: Mapping[str, str], spread: Sequence[str], untouched: Iterator[Entry]) -> None:
        self.values = values
        self.crowds = tuple(None if key == "host" else (key, values[key]) for key in spread)
        self.untouched: Iterator[Entry] | None = untouched
        self.untouched_top: Entry | None = None
        self.own: list[Own] = []
        self.waiting: list[str] = []
        self.best: tuple[Own, bool] | None = None


class Placer:
    """Places replicas of one spec of one service; ``room`` is shared with whoever else changes it."""

    def __init__(self, hosts: Sequence[HostView], asked: Asked, room: Room) -> None:
        self._hosts = hosts if isinstance(hosts, Hosts) else Hosts(hosts)
        self._asked = asked
        self._room = room
        self._index: Index = index_for(self._hosts, asked)
        self._spread = asked.rules.spread if asked.rules.strategy == "spread" else ()
        self._by_host = "host" in self._spread
        self._start = ring_of(asked.service)
        self._begin()

    def place(self) -> str | None:
        """The best host for one more replica, which is taken there at once; None where no host will do."""
        if self._version != self._room.version:
            self._begin()
        heap, shared = self._heap, len(self._index.keys) > 1
        while heap:
            rank, number, group = heap[0]
            # With one key at most, what is placed elsewhere leaves a group's rank as it is.
            current = self._rank_of(group) if shared else rank
            if current is not None and current == rank:
                name = self._take(group)
                current = self._rank_of(group)
                self._put(current, number, group)
                return name
            self._put(current, number, group)
        return None

    def _put(self, rank: Rank | None, number: int, group: _Group) -> None:
        """Give the group on top of the heap its place."""
        if rank is None:
            heappop(self._heap)
        else:
            heapreplace(self._heap, (rank, number, group))

    def _begin(self) -> None:
        asked, room, index = self._asked, self._room, self._index
        self._version = room.version
        self._touched = {name for name in (*room.fresh, *asked.failures) if not room.by_host.get(name)}
        early = list(self._touched)
        counts: dict[Group, int] = {}
        there: dict[Group, list[str]] = {}
        for name, count in room.by_host.items():
            place = index.group_of.get(name)
            if count and place is not None:
                self._touched.add(name)
                counts[place] = counts.get(place, 0) + count
                there.setdefault(place, []).append(name)
        self._crowd: dict[tuple[str, str], int] = {}
        for place, count in counts.items():
            for label in zip(index.keys, place, strict=True):
                self._crowd[label] = self._crowd.get(label, 0) + count
        groups: dict[Group, _Group] = {}
        for values, entries in index.order.items():
            labels = dict(zip(index.keys, values, strict=True))
            group = groups[values] = _Group(labels, self._spread, best_first(entries, self._start))
            if self._by_host:
                # Among hosts that are counted for spreading, one with a replica comes after all without.
                group.waiting = there.get(values, [])
            else:
                early += there.get(values, [])
        for name in early:
            of = index.group_of.get(name)
            if of is not None and of in groups:
                self._rank_own(groups[of], name)
        self._heap: list[tuple[Rank, int, _Group]] = []
        for number, group in enumerate(groups.values()):
            rank = self._rank_of(group)
            if rank is not None:
                self._heap.append((rank, number, group))
        heapify(self._heap)

    def _rank_own(self, group: _Group, name: str) -> None:
        """Rank a touched host by what it is now, if it would take one more."""
        host = self._hosts.named(name)
        entry = self._index.entry(name)
        if host is None or entry is None:
            return
        asked, room = self._asked, self._room
        count, fresh = room.by_host.get(name, 0), room.here(name)
        if room_refusal(host, asked, count, fresh) is not None:
            return
        score = self._index.score(host, fresh) if fresh.replicas else -entry[0]
        if asked.rules.strategy == "binpack":
            score += own_score(asked, count, failed_here=False)
        counted = count if self._by_host else 0
        failures = many_failures(asked, name) if asked.failures else 0
        away = (entry[2] - self._start) % RING
        heappush(group.own, (failures, counted, -score, replicas_counted(asked, host, fresh), away, name))

    def _find_best(self, group: _Group) -> tuple[Own, bool] | None:
        entry = group.untouched_top
        while group.untouched is not None and (entry is None or entry[3] in self._touched):
            entry = next(group.untouched, None)
            if entry is None:
                group.untouched = None
        group.untouched_top = entry
        if entry is None and group.waiting:
            for name in group.waiting:
                self._rank_own(group, name)
            group.waiting = []
        own = group.own[0] if group.own else None
        if entry is None:
            return None if own is None else (own, False)
        untouched = (0, 0, entry[0], entry[1], (entry[2] - self._start) % RING, entry[3])
        return (own, False) if own is not None and own < untouched else (untouched, True)

    def _rank_of(self, group: _Group) -> Rank | None:
        found = group.best = self._find_best(group)
        if found is None:
            return None
        best, crowd = found[0], self._crowd
        score = best[2]
        if self._asked.rules.shares:
            score -= shares_offset(self._asked, group.values, crowd)[0]
        counts = [best[1] if place is None else crowd.get(place, 0) for place in group.crowds]
        return (best[0], *counts, score, best[3], best[4])

    def _take(self, group: _Group) -> str:
        found = group.best
        assert found is not None  # noqa: S101 - its rank was just looked at
        name = found[0][5]
        room, crowd = self._room, self._crowd
        room.take(name, self._asked.spec.resources)
        self._version = room.version
        for place in group.values.items():
            crowd[place] = crowd.get(place, 0) + 1
        if found[1]:
            group.untouched_top = None
            self._touched.add(name)
            if self._by_host:
                group.waiting.append(name)
                return name
        else:
            heappop(group.own)
        self._rank_own(group, name)
        return name
