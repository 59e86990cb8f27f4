"""The rank of hosts for one replica: the whole order, for a single choice and for an explanation. Pure.

`spread`: failures (five or more lately), fewest of the service per key of ``spread``, score, fewest replicas in all,
hash of service and host. `binpack`: failures, score with anti-affinity, hash. A slot that is to move away from its host
takes that one last. What `placer` finds by its index is what `choose_host` finds by looking at every host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from autoscaler.core.placement.asked import MICRO, Asked, Reserved, Room
from autoscaler.core.placement.filters import Refusal, counted, room_refusal, standing_refusal
from autoscaler.core.placement.scorers import (
    Common,
    anti_affinity_score,
    common_of,
    host_scores,
    share_score,
    weighted,
)
from autoscaler.core.settings import PlacementRules
from autoscaler.core.world import HostView

FAILURES_MIN = 5
"""So many failures of a service's revision on a host within `FAILURES_S` count before all else (moby/swarmkit)."""

FAILURES_S = 300.0
RING = 2**64

Rank = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One host as a place for one replica: why not, or its rank and the scores that made it, in millionths."""

    host: str
    refusal: Refusal | None
    rank: Rank = ()
    scores: Mapping[str, int] | None = None
    score: int = 0


@lru_cache(maxsize=65_536)
def ring_of(name: str) -> int:
    """Where a host or a service stands on a ring of 2^64 places."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def distance(service: str, host: str) -> int:
    """The hash of service and host: how far the host is from the service on the ring. An order of its own for each
    service, which a sorted list of hosts gives without asking every one."""
    return (ring_of(host) - ring_of(service)) % RING


def crowd_of(hosts: Sequence[HostView], rules: PlacementRules, room: Room) -> dict[tuple[str, str], int]:
    """(key, value) of host labels -> replicas of the service on such hosts."""
    crowd: dict[tuple[str, str], int] = {}
    keys = group_keys(rules)
    if not keys:
        return crowd
    for host in hosts:
        count = room.by_host.get(host.name, 0)
        if count:
            for key in keys:
                place = (key, host.labels.get(key, ""))
                crowd[place] = crowd.get(place, 0) + count
    return crowd


def group_keys(rules: PlacementRules) -> tuple[str, ...]:
    """The host labels by which the service's replicas are counted."""
    keys = [key for key in rules.spread if key != "host"] if rules.strategy == "spread" else []
    return tuple(dict.fromkeys([*keys, *(share.key for share in rules.shares)]))


def shares_offset(asked: Asked, values: Mapping[str, str], crowd: Mapping[tuple[str, str], int]) -> tuple[int, int]:
    """What the zone targets add to the weighted score of hosts with these labels, and the value itself. Shares of one
    key are one scorer; a value that is not named has what is left of a hundred."""
    weight = asked.rules.weights.shares
    if not asked.rules.shares or not weight:
        return 0, 0
    keys = dict.fromkeys(share.key for share in asked.rules.shares)
    found = []
    for key in keys:
        label = values.get(key, "")
        found.append(share_score(_percent(asked.rules, key, label), asked.demand, crowd.get((key, label), 0)))
    value = sum(found) // len(found)
    return weight * value, value


def _percent(rules: PlacementRules, key: str, value: str) -> int:
    named = {share.value: share.percent for share in rules.shares if share.key == key}
    return named[value] if value in named else max(0, 100 - sum(named.values()))


def spread_counts(rules: PlacementRules, values: Mapping[str, str], crowd: Mapping[tuple[str, str], int], count: int
) -> Rank:  # fmt: skip
    """The service's replicas per key of ``spread``: part of the rank of a host that has ``count`` of them."""
    if rules.strategy != "spread":
        return ()
    return tuple(count if key == "host" else crowd.get((key, values.get(key, "")), 0) for key in rules.spread)


def many_failures(asked: Asked, host: str) -> int:
    """The failures on the host where they are so many that they count before all else."""
    failures = asked.failures.get(host, 0)
    return failures if failures >= FAILURES_MIN else 0


def own_score(asked: Asked, count: int, *, failed_here: bool) -> int:
    """What the service's own replicas, and the slot's last failure, add to the weighted score."""
    weights, total = asked.rules.weights, 0
    if asked.rules.strategy == "binpack":
        total += weights.anti_affinity * anti_affinity_score(count, asked.demand)
    return total - (weights.failed_here * MICRO if failed_here else 0)


def replicas_counted(asked: Asked, host: HostView, fresh: Reserved) -> int:
    """How many replicas a host has in all, where the strategy asks."""
    return host.replicas + fresh.replicas if asked.rules.strategy == "spread" else 0


@dataclass(frozen=True, slots=True)
class Slot:
    """What is special about the slot: ``home``, where its volume is; ``failed_on``, where its last replica failed;
    ``moves``: whether it is to leave that host wherever there is another."""

    home: str = ""
    failed_on: str = ""
    moves: bool = False


PLAIN = Slot()


def ranked(hosts: Sequence[HostView], asked: Asked, room: Room, slot: Slot = PLAIN) -> list[Choice]:
    """Every host as a place for one more replica: those that will do first, best first, then the refused ones by
    name."""
    common = common_of([host for host in hosts if standing_refusal(host, asked) is None], asked)
    crowd = crowd_of(hosts, asked.rules, room)
    choices = [_choice(host, asked, common, crowd, room, slot) for host in hosts]
    return sorted(choices, key=lambda choice: (choice.refusal is not None, choice.rank, choice.host))


def _choice(
    host: HostView, asked: Asked, common: Common, crowd: Mapping[tuple[str, str], int], room: Room, slot: Slot
) -> Choice:
    refusal = _refusal(host, asked, room, slot)
    if refusal is not None:
        return Choice(host.name, refusal)
    count, fresh = room.by_host.get(host.name, 0), room.here(host.name)
    failed_here = host.name == slot.failed_on
    scores = host_scores(host, asked, common, fresh)
    offset, share = shares_offset(asked, host.labels, crowd)
    total = weighted(scores, common) + offset + own_score(asked, count, failed_here=failed_here)
    rank = (
        int(failed_here and slot.moves),
        many_failures(asked, host.name),
        *spread_counts(asked.rules, host.labels, crowd, count),
        -total,
        replicas_counted(asked, host, fresh),
        distance(asked.service, host.name),
    )
    weights, weight = asked.rules.weights, sum(common.weights.values())
    if asked.rules.shares and weights.shares:
        scores["shares"] = share
        weight += weights.shares
    if asked.rules.strategy == "binpack" and weights.anti_affinity and any(room.by_host.values()):
        scores["anti_affinity"] = anti_affinity_score(count, asked.demand)
        weight += weights.anti_affinity
    if slot.failed_on and weights.failed_here:
        scores["failed_here"] = -MICRO if failed_here else 0
        weight += weights.failed_here
    return Choice(host.name, None, rank, scores, total // weight if weight else 0)


def choose_host(hosts: Sequence[HostView], asked: Asked, room: Room, slot: Slot = PLAIN) -> tuple[str | None, str]:
    """The best host's name, or None and why no host will do, counted by filter."""
    best = next(iter(ranked(hosts, asked, room, slot)), None)
    if best is not None and best.refusal is None:
        return best.host, ""
    return None, reason_for_none(hosts, asked, room, slot)


def reason_for_none(hosts: Sequence[HostView], asked: Asked, room: Room, slot: Slot = PLAIN) -> str:
    """Why no host will do, counted by the first filter that refuses each."""
    refusals = (_refusal(host, asked, room, slot) for host in hosts)
    return counted(refusal for refusal in refusals if refusal is not None)


def _refusal(host: HostView, asked: Asked, room: Room, slot: Slot) -> Refusal | None:
    refusal = standing_refusal(host, asked)
    if refusal is not None:
        return refusal
    return room_refusal(host, asked, room.by_host.get(host.name, 0), room.here(host.name), home=slot.home)
