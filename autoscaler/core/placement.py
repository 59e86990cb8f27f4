"""Which host a replica goes to: filters with counted reasons, then a spread rank. Pure, no shuffle.

Called by convergence. The order of the rank: fewest replicas of the service per topology key of ``spread``, fewest
replicas in all, hash of service and host.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoscaler.core.revision import RevisionSpec
from autoscaler.core.settings import PlacementRules
from autoscaler.core.state import Replica
from autoscaler.core.world import HostView


@dataclass(frozen=True, slots=True)
class Room:
    """Replicas of the service by host: all wanted ones, and those (``fresh``) that the hosts do not show yet."""

    by_host: Counter[str]
    fresh: Counter[str]


def room_of(replicas: Iterable[Replica], unseen: Iterable[Replica] = ()) -> Room:
    """The room as the service's wanted replicas fill it; ``unseen`` are those that no host has reserved for so far."""
    return Room(Counter(replica.host for replica in replicas), Counter(replica.host for replica in unseen))


def choose_host(
    hosts: Sequence[HostView],
    service: str,
    spec: RevisionSpec,
    rules: PlacementRules,
    room: Room,
    *,
    avoid: str = "",
    home: str = "",
) -> tuple[str | None, str]:
    """The best host's name, or None and why no host will do, counted by filter ("2 lack memory (need 512 MiB), 1
    draining").

    ``avoid``: the host on which this slot just failed, taken only where no other will do; ``home``: where it wants to
    stay.
    """
    refusals: Counter[str] = Counter()
    fitting: list[HostView] = []
    for host in hosts:
        refusal = _refusal(host, spec, rules, room)
        if refusal:
            refusals[refusal] += 1
        else:
            fitting.append(host)
    if not fitting:
        counted = ", ".join(f"{count} {why}" for why, count in sorted(refusals.items())) or "the pool has no host"
        return None, f"no host: {counted}"

    def rank(host: HostView) -> tuple[bool | int | str, ...]:
        return (host.name != home, host.name == avoid, *_rank(host, hosts, service, rules, room))

    return min(fitting, key=rank).name, ""


def _refusal(host: HostView, spec: RevisionSpec, rules: PlacementRules, room: Room) -> str:
    if host.condition != "ready":
        return host.condition
    if not host.known:
        return "not answering"
    if spec.pinned and spec.pinned in host.lacks_images:
        return "cannot get the image"
    cpu, memory = spec.resources.cpu_millis, spec.resources.memory_bytes
    extra = room.fresh[host.name]
    if host.cpu_millis and host.reserved_cpu_millis + cpu * (extra + 1) > host.cpu_millis:
        return f"lack cpu (need {cpu}m)"
    if host.memory_bytes and host.reserved_memory_bytes + memory * (extra + 1) > host.memory_bytes:
        return f"lack memory (need {memory // 2**20} MiB)"
    if rules.max_per_host and room.by_host[host.name] >= rules.max_per_host:
        return f"have {rules.max_per_host} of the service already"
    fixed = {port.host for _, port in spec.ports if port.host is not None}
    if fixed & host.ports_taken or (fixed and extra):
        return "have the port taken"
    return ""


def _rank(
    host: HostView, hosts: Sequence[HostView], service: str, rules: PlacementRules, room: Room
) -> tuple[int | str, ...]:
    rank: list[int | str] = []
    for key in rules.spread:
        if key == "host":
            rank.append(room.by_host[host.name])
        else:
            zone = host.labels.get(key, "")
            rank.append(sum(room.by_host[other.name] for other in hosts if other.labels.get(key, "") == zone))
    rank.append(host.replicas + room.fresh[host.name])
    rank.append(hashlib.sha256(f"{service}/{host.name}".encode()).hexdigest())
    return tuple(rank)
