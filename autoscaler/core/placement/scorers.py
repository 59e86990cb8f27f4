"""How well a host suits a replica: the built-in scorers, each in whole millionths, and what they have in common. Pure.

A scorer that has nothing to say of any host is left out; a host of which it knows nothing gets the mean of the others.
Both are judged over the hosts that no standing filter refuses, as they are shown, whatever this decision has placed.
Sources: hashicorp/nomad `nomad/structs/funcs.go` (fit) and `scheduler/feasible/rank.go`, `spread.go` (anti-affinity,
shares); kubernetes `pkg/scheduler/framework/plugins` (balance, image locality, taints).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoscaler.core.placement.asked import MICRO, NOTHING, Asked, Reserved
from autoscaler.core.placement.filters import tolerated
from autoscaler.core.settings import Affinity
from autoscaler.core.world import HostView

MIB = 2**20
IMAGE_MIB_MIN, IMAGE_MIB_MAX = 23, 1000
"""An image below the first is pulled in no time; one above the second says no more. Kubernetes' image locality."""

BUILT_IN = frozenset({"fit", "balance", "load", "image", "affinity", "taints"})
"""The scorers that look at nothing but the host."""

FIT_BEST = 18.0
"""10^1 + 10^1 - 2: Nomad's best fit, of a host that one replica fills or leaves empty."""


@dataclass(frozen=True, slots=True)
class Common:
    """What all hosts of one choice share. ``have`` of ``hosts`` have the image; ``taints_most``: most soft taints on
    one host. ``means``: by scorer what a host gets of which it knows nothing. ``weights``: of the scorers that have
    something to say of any host."""

    hosts: int
    have: int
    taints_most: int
    means: dict[str, int]
    weights: dict[str, int]


def common_of(standing: Sequence[HostView], asked: Asked) -> Common:
    """What the hosts have in common; ``standing``: those that no standing filter refuses."""
    pinned = asked.spec.pinned
    have = sum(1 for host in standing if pinned in host.images) if pinned else 0
    most = max((soft_taints(host, asked) for host in standing if host.taints), default=0)
    known: dict[str, list[int]] = {}
    for host in standing:
        for name, value in _measured(host, asked, NOTHING).items():
            known.setdefault(name, []).append(value)
    for label, scores in asked.scores.items():
        known[label] = [scores[host.name] for host in standing if host.name in scores]
    means = {name: sum(values) // len(values) for name, values in known.items() if values}
    present = {*means} | ({"image"} if have else set()) | ({"taints"} if most else set())
    if asked.rules.affinity:
        present.add("affinity")
    weights = {name: weight for name in sorted(present) if (weight := _weight(name, asked))}
    return Common(len(standing), have, most, means, weights)


def _weight(scorer: str, asked: Asked) -> int:
    if scorer in BUILT_IN:
        return int(getattr(asked.rules.weights, scorer))
    return next((weight for use, weight in asked.rules.scorers if use.label == scorer), 1)


def _measured(host: HostView, asked: Asked, fresh: Reserved) -> dict[str, int]:
    """The scorers that may know nothing of a host, where they know something."""
    found: dict[str, int] = {}
    cpu_room, memory_room = host.cpu_room, host.memory_room
    if cpu_room and memory_room:
        cpu = host.reserved_cpu_millis + fresh.cpu_millis + asked.spec.resources.cpu_millis
        memory = host.reserved_memory_bytes + fresh.memory_bytes + asked.spec.resources.memory_bytes
        best = 10.0 ** (1 - cpu / cpu_room) + 10.0 ** (1 - memory / memory_room)
        free = best - 2 if asked.rules.strategy == "spread" else 20 - best
        free = min(FIT_BEST, max(0.0, free))
        found["fit"] = int(free / FIT_BEST * MICRO + 0.5)
        balance = MICRO - ratio(abs(cpu * memory_room - memory * cpu_room), 2 * cpu_room * memory_room)
        found["balance"] = max(0, balance)
    if host.cpu_load is not None or host.memory_load is not None:
        busiest = min(1.0, max(host.cpu_load or 0.0, host.memory_load or 0.0))
        found["load"] = MICRO - int(busiest * MICRO + 0.5)
    return found


SIZED = ("fit", "balance")
"""The scorers that what is placed changes."""


def sized_score(host: HostView, asked: Asked, common: Common, fresh: Reserved) -> int:
    """The weighted part of the score that what is placed changes."""
    weights, means, found = common.weights, common.means, _measured(host, asked, fresh)
    return sum([weights[name] * found.get(name, means[name]) for name in SIZED if name in weights])


def standing_score(host: HostView, asked: Asked, common: Common) -> int:
    """The weighted part of the score that what is placed does not change."""
    weights, scores = common.weights, host_scores(host, asked, common)
    return sum([weights[name] * value for name, value in scores.items() if name not in SIZED])


def ratio(part: int, whole: int) -> int:
    """``part / whole`` in millionths, rounded half up."""
    return (2 * part * MICRO + whole) // (2 * whole)


def host_scores(host: HostView, asked: Asked, common: Common, fresh: Reserved = NOTHING) -> dict[str, int]:
    """Every scorer's value that belongs to the host alone; what is silent for every host, or counts nothing, is
    missing."""
    weights = common.weights
    found = _measured(host, asked, fresh)
    if "image" in weights:
        found["image"] = image_score(host.images.get(asked.spec.pinned), common)
    if "affinity" in weights:
        found["affinity"] = affinity_score(host, asked.rules.affinity)
    if "taints" in weights:
        found["taints"] = MICRO - ratio(soft_taints(host, asked), common.taints_most)
    for label, scores in asked.scores.items():
        if host.name in scores:
            found[label] = scores[host.name]
    means = common.means
    return {name: found[name] if name in found else means[name] for name in weights}


def weighted(scores: Mapping[str, int], common: Common) -> int:
    """The sum of weight times value: what hosts are compared by, as the weights' sum is the same for all."""
    weights = common.weights
    return sum(weights[name] * value for name, value in scores.items())


def image_score(size_bytes: int | None, common: Common) -> int:
    """0 where it is absent, more the larger it is and the more hosts have it, so that no single host draws all."""
    if size_bytes is None:
        return 0
    scaled = min(IMAGE_MIB_MAX * MIB * common.hosts, max(IMAGE_MIB_MIN * MIB * common.hosts, size_bytes * common.have))
    least = IMAGE_MIB_MIN * MIB * common.hosts
    return ratio(scaled - least, (IMAGE_MIB_MAX - IMAGE_MIB_MIN) * MIB * common.hosts)


def affinity_score(host: HostView, wanted: Sequence[Affinity]) -> int:
    """The matched weights over the sum of all weights' sizes."""
    total = sum(abs(one.weight) for one in wanted)
    matched = sum(one.weight for one in wanted if host.labels.get(one.key) in one.values)
    return ratio(matched, total) if total else 0


def soft_taints(host: HostView, asked: Asked) -> int:
    """How many taints speak against the host without forbidding it."""
    soft = (taint for taint in host.taints if taint.effect == "PreferNoSchedule")
    return sum(1 for taint in soft if not tolerated(taint, asked.rules))


def anti_affinity_score(count: int, demand: int) -> int:
    """-(c+1)/D where ``count`` of the service are there already, 0 where none is."""
    return -ratio(count + 1, max(1, demand)) if count else 0


def share_score(percent: int, demand: int, have: int) -> int:
    """(want - (have + 1)) / want, no less than -1, where ``percent`` of the demand is wanted."""
    want = percent * demand
    return max(-MICRO, MICRO - ratio(100 * (have + 1), want)) if want else -MICRO
