"""A host's capacity and what is reserved on it, from what the engine reports and lists. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from autoscaler.adapters.docker.circuit import Circuit
from autoscaler.configuration.settings import HostSettings
from autoscaler.core.world import HostView, ObservedReplica

MILLIS_PER_CPU = 1000
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
"""The kernel's names of machines, as the engine reports them, in the image specification's words."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the engine reports of its host, which changes rarely. ``images``: by id and by each digest reference, with
    their size in bytes."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    platform: str = ""
    images: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, info: Mapping[str, Any], images: Iterable[Mapping[str, Any]] = ()) -> Machine:
        """From the engine's ``info`` and its list of images."""
        architecture = str(info.get("Architecture", ""))
        platform = f"{info.get('OSType', 'linux')}/{ARCHITECTURES.get(architecture, architecture)}"
        sizes: dict[str, int] = {}
        for image in images:
            names = (str(image.get("Id", "")), *(image.get("RepoDigests") or ()))
            sizes |= dict.fromkeys(names, int(image.get("Size", 0)))
        cpu_millis, memory_bytes = MILLIS_PER_CPU * int(info.get("NCPU", 0)), int(info.get("MemTotal", 0))
        return cls(cpu_millis, memory_bytes, platform, MappingProxyType(sizes))


def view(
    settings: HostSettings,
    machine: Machine,
    circuit: Circuit,
    replicas: Iterable[ObservedReplica],
    ports_taken: frozenset[int],
    lacks_images: frozenset[str],
) -> HostView:
    """The host as placement sees it. Ended replicas hold nothing any more, so they are not counted."""
    alive = [replica for replica in replicas if replica.condition != "exited"]
    return HostView(
        name=settings.name,
        condition="suspect" if circuit.is_open else "ready",
        known=not circuit.is_open,
        since=circuit.since,
        labels=settings.labels,
        cpu_millis=settings.cpu_millis or machine.cpu_millis,
        memory_bytes=settings.memory_bytes or machine.memory_bytes,
        reserved_cpu_millis=sum(replica.cpu_millis for replica in alive),
        reserved_memory_bytes=sum(replica.memory_bytes for replica in alive),
        replicas=len(alive),
        ports_taken=ports_taken,
        lacks_images=lacks_images,
        platform=machine.platform,
        taints=settings.taints,
        cpu_percent=settings.cpu_percent,
        memory_percent=settings.memory_percent,
        kept_cpu_millis=settings.kept_cpu_millis,
        kept_memory_bytes=settings.kept_memory_bytes,
        images=machine.images,
    )
