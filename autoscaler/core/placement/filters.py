"""Why a host will not take a replica: the filters in their order, and the reasons counted. Pure.

Order: ready, image, platform, labels, taints, resources, host port, volume, `max_per_host`, required anti-affinity. The
first that refuses is the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoscaler.core.placement.asked import Asked, Reserved
from autoscaler.core.settings import PlacementRules
from autoscaler.core.world import HostView, Taint

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which filter, in words that are counted together where they are equal; ``free``: how much of a resource was
    left, in ``unit``."""

    code: str
    text: str
    free: int | None = None
    unit: str = ""


def standing_refusal(host: HostView, asked: Asked) -> Refusal | None:
    """What stands against the host whatever is placed: its condition, image, platform, labels, taints."""
    rules = asked.rules
    if host.condition != "ready":
        return Refusal("condition", host.condition)
    if not host.known:
        return Refusal("unknown", "not answering")
    if asked.spec.pinned and asked.spec.pinned in host.lacks_images:
        return Refusal("image", "cannot get the image")
    if host.platform and (rules.platform or asked.spec.platforms):
        # What the configuration says has the last word: a host may well run foreign code by emulation.
        if rules.platform and host.platform != rules.platform:
            return Refusal("platform", f"of another platform (need {rules.platform})")
        if not rules.platform and host.platform not in asked.spec.platforms:
            return Refusal("platform", f"of another platform (the image is for {', '.join(asked.spec.platforms)})")
    for key, values in rules.labels:
        if host.labels.get(key) not in values:
            return Refusal("labels", f"without label {key}={'|'.join(values)}")
    if host.taints:
        taint = next((t for t in host.taints if t.effect != "PreferNoSchedule" and not tolerated(t, rules)), None)
        if taint is not None:
            return Refusal("taint", f"tainted {taint}")
    return None


def room_refusal(host: HostView, asked: Asked, count: int, fresh: Reserved, *, home: str = "") -> Refusal | None:
    """What stands against one more replica on a host that has ``count`` of the service already."""
    resources, rules = asked.spec.resources, asked.rules
    whole = host.cpu_room
    used = host.reserved_cpu_millis + fresh.cpu_millis
    if whole and resources.cpu_millis and used + resources.cpu_millis > whole:
        return Refusal("cpu", f"lack cpu (need {resources.cpu_millis}m", max(0, whole - used), "m")
    whole = host.memory_room
    used = host.reserved_memory_bytes + fresh.memory_bytes
    if whole and resources.memory_bytes and used + resources.memory_bytes > whole:
        need = f"lack memory (need {_mib_up(resources.memory_bytes)} MiB"
        return Refusal("memory", need, max(0, whole - used) // MIB)
    if asked.spec.ports:
        fixed = asked.fixed_ports
        if fixed and (fresh.replicas or not fixed.isdisjoint(host.ports_taken)):
            return Refusal("port", "have the port taken")
    if home and host.name != home:
        return Refusal("volume", f"do not hold the volume, which is on {home}")
    if rules.max_per_host and count >= rules.max_per_host:
        return Refusal("max_per_host", f"have {rules.max_per_host} of the service already")
    if rules.beside_none_of and host.services:
        beside = next((name for name in rules.beside_none_of if name in host.services), None)
        if beside is not None and beside != asked.service:
            return Refusal("anti_affinity", f"run {beside}")
    return None


def tolerated(taint: Taint, rules: PlacementRules) -> bool:
    """Whether the service's replicas put up with the taint."""
    return any(toleration.covers(taint) for toleration in rules.tolerations)


def must_leave(host: HostView, rules: PlacementRules) -> bool:
    """Whether replicas that run on the host belong there no more: it drains, its labels match no longer, or a taint
    sends them away."""
    if host.condition == "draining":
        return True
    if any(host.labels.get(key) not in values for key, values in rules.labels):
        return True
    return any(taint.effect == "NoExecute" and not tolerated(taint, rules) for taint in host.taints)


def counted(refusals: Iterable[Refusal]) -> str:
    """``no host: 2 lack memory (need 512 MiB, most free 300), 1 draining``, the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    most: dict[tuple[str, str], int] = {}
    for refusal in refusals:
        key = (refusal.text, refusal.unit)
        counts[key] = counts.get(key, 0) + 1
        if refusal.free is not None:
            most[key] = max(most.get(key, 0), refusal.free)
    ordered = sorted(counts, key=lambda key: (-counts[key], key))
    texts = [
        f"{counts[key]} {key[0]}" + (f", most free {most[key]}{key[1]})" if key in most else "") for key in ordered
    ]
    return f"no host: {', '.join(texts) or 'the pool has no host'}"


def told(refusal: Refusal) -> str:
    """One host's refusal in words."""
    return refusal.text + (f", free {refusal.free}{refusal.unit})" if refusal.free is not None else "")


def _mib_up(size_bytes: int) -> int:
    return -(-size_bytes // MIB)
