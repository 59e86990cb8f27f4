"""A replica as a container: the engine's words for what is to run, and our words for what runs. Pure.

The name and the labels are the compare-and-set; nothing else remembers what a container is. Labels ``.ports`` and
``.networks`` (ours, beside those of the documented surface) let a later observer give ports their names and let a
start finish what an interrupted creation left undone; ``.displaces`` tells other owners who is to give way.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Any

from autoscaler.adapters.docker import secret_volume
from autoscaler.adapters.secret_files import told_paths
from autoscaler.configuration.settings import HostSettings
from autoscaler.core.actions import Create
from autoscaler.core.rollout import replica_name
from autoscaler.core.world import ObservedReplica, ReplicaCondition
from autoscaler.events.forms import SERVICE
from autoscaler.events.models import REVISION_NUMBER_MAX

PREFIX = "io.eventscaler."
CLUSTER = f"{PREFIX}cluster"
SPEC = f"{PREFIX}spec"
NETWORKS = f"{PREFIX}networks"
PORTS = f"{PREFIX}ports"
IDENTITY = tuple(f"{PREFIX}{part}" for part in ("cluster", "service", "slot", "revision", "attempt", "spec"))
"""Labels that make a container exactly this replica; who made it (generation, token) does not count."""

NUMBERS = {"slot": 0, "revision": 1, "attempt": 1, "generation": 0, "token": 0, "cpu": 0, "memory": 0}
"""Labels that are numbers, with the least that each can be."""

NUMBER_MAX = {"slot": 2**31 - 1, "revision": REVISION_NUMBER_MAX}
"""The greatest, of those that leave the program as an integer of the wire; the others end at 2^63."""

DISPLACES_MAX = 256
"""More than one replica can take the place of; a label says what its writer wants."""

NANO_CPUS_PER_MILLI = 1_000_000
DIGITS_MAX = 19
EXIT_NOTES = {126: "its command could not be executed", 127: "its command was not found", 137: "killed (SIGKILL)"}

Labels = Mapping[str, str]


def cluster_filter(cluster: str) -> dict[str, Any]:
    """The engine's filter for this cluster's containers."""
    return {"label": f"{CLUSTER}={cluster}"}


def labels_of(action: Create, cluster: str) -> dict[str, str]:
    """Every label of the new container; the user's come first, so that they never replace ours."""
    spec = action.spec
    labels = {name: value for name, value in spec.labels if not name.startswith(PREFIX)}
    ours = {
        "cluster": cluster,
        "service": action.service,
        "slot": str(action.slot),
        "revision": str(action.revision),
        "attempt": str(action.attempt),
        "generation": str(action.generation),
        "token": str(action.token),
        "spec": action.content,
        "cpu": str(spec.resources.cpu_millis),
        "memory": str(spec.resources.memory_bytes),
        "ports": ",".join(f"{name}={port.container}" for name, port in spec.ports),
        "networks": ",".join(spec.networks),
    }
    if action.displaces:
        ours["displaces"] = ",".join(action.displaces)
    return labels | {f"{PREFIX}{name}": value for name, value in ours.items()}


def same_replica(labels: Labels, wanted: Labels) -> bool:
    """Whether a container with ``labels`` is exactly the replica that would have got ``wanted``."""
    return all(labels.get(name) == wanted[name] for name in IDENTITY)


def forbidden(action: Create) -> str:
    """Why this spec may not run as a container at all, or nothing."""
    if not action.spec.pinned:
        return "its image is not resolved to content yet"
    for network in action.spec.networks:
        if network.startswith("container:"):
            return f"network {network} would leave the container's isolation; name a bridge or overlay network"
    return ""


def creation(action: Create, cluster: str, host: HostSettings) -> dict[str, Any]:
    """The body of the engine's create call. What the spec does not say stays as the image has it."""
    spec = action.spec
    environment = told_paths(secret_volume.paths_of(dict(spec.secrets)), dict(spec.env))
    ports = {f"{port.container}/tcp": port for _, port in spec.ports}
    host_config: dict[str, Any] = {
        "Init": True,  # without an init, PID 1 ignores TERM unless it has a handler for it
        "RestartPolicy": {"Name": "no"},
        "Privileged": spec.privileged,
        "CapAdd": list(spec.cap_add),
        "CapDrop": list(spec.cap_drop),
        "Devices": [_device(entry) for entry in spec.devices],
        "PidMode": spec.pid,
        "IpcMode": spec.ipc,
        "ReadonlyRootfs": spec.read_only,
        "Binds": list(spec.volumes),
        "PortBindings": {
            name: [{"HostIp": host.bind, "HostPort": str(port.host or "")}] for name, port in ports.items()
        },
        "NanoCpus": spec.resources.cpu_millis * NANO_CPUS_PER_MILLI,
        "Memory": spec.resources.memory_bytes,
    }
    body: dict[str, Any] = {
        "Image": spec.pinned,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": labels_of(action, cluster),
        "ExposedPorts": {name: {} for name in ports},
        "StopSignal": f"SIG{spec.stop.signal.removeprefix('SIG')}",
        "StopTimeout": math.ceil(spec.stop.grace_s),
        "HostConfig": host_config,
    }
    if spec.command:
        body["Cmd"] = list(spec.command)
    if spec.entrypoint:
        body["Entrypoint"] = list(spec.entrypoint)
    if spec.user:
        body["User"] = spec.user
    if spec.secrets:
        host_config["Mounts"] = [secret_volume.mount(CLUSTER, cluster)]
    if spec.networks:
        host_config["NetworkMode"] = spec.networks[0]
        body["NetworkingConfig"] = {"EndpointsConfig": {spec.networks[0]: {}}}
    return body


def _device(entry: str) -> dict[str, str]:
    host, _, rest = entry.partition(":")
    inside, _, rights = rest.partition(":")
    return {"PathOnHost": host, "PathInContainer": inside or host, "CgroupPermissions": rights or "rwm"}


def missing_networks(inspected: Mapping[str, Any]) -> list[str]:
    """Networks that the container should be on by its label and is not (its creation was interrupted)."""
    connected = inspected["NetworkSettings"].get("Networks") or {}
    wanted = _labels(inspected).get(NETWORKS, "")
    return [network for network in wanted.split(",") if network and network not in connected]


def belongs(inspected: Mapping[str, Any], cluster: str) -> bool:
    """Whether the container carries this cluster's label; if not, it is none of our business."""
    return _labels(inspected).get(CLUSTER) == cluster


def observe(inspected: Mapping[str, Any], host: HostSettings, *, stopping: bool) -> ObservedReplica | None:
    """What an inspected container of ours shows; None where its labels are not those of a replica."""
    labels = _labels(inspected)
    state = inspected["State"]
    condition = _condition(str(state["Status"]))
    numbers, service = numbers_of(labels), service_of(labels)
    if numbers is None or not service:
        return None
    exit_code = int(state["ExitCode"]) if condition == "exited" else None
    name = str(inspected["Name"]).removeprefix("/")
    return ObservedReplica(
        id=str(inspected["Id"]),
        name=name,
        service=service,
        slot=numbers["slot"],
        revision=numbers["revision"],
        attempt=numbers["attempt"],
        host=host.name,
        condition=condition,
        healthy=_healthy(state) if condition == "running" else None,
        started_at=moment(str(state.get("StartedAt") or "")),
        exit_code=exit_code,
        address=_addresses(inspected, labels, host),
        generation=numbers["generation"],
        token=numbers["token"],
        stopping=stopping and condition == "running",
        cpu_millis=numbers["cpu"],
        memory_bytes=numbers["memory"],
        note=_note(state, exit_code),
        own_check=str((state.get("Health") or {}).get("Status", "none")) != "none",
        drift=_drift(inspected, name, service, numbers) if condition != "exited" else "",
        made_at=moment(str(inspected.get("Created") or "")),
        displaces=displaced_by(labels),
    )


def displaced_by(labels: Labels) -> tuple[str, ...]:
    """The replicas of other services that are to go before this one starts, as its label says."""
    names = (labels.get(f"{PREFIX}displaces") or "").split(",")[:DISPLACES_MAX]
    return tuple(name for name in names if name)


def service_of(labels: Labels) -> str:
    """The service that a container is a replica of; empty where its label names none that there can be."""
    service = labels.get(f"{PREFIX}service", "")
    return service if re.fullmatch(SERVICE, service) else ""


def numbers_of(labels: Labels) -> dict[str, int] | None:
    """What the labels count, or None where one is no number or none that a replica can have."""
    numbers = {}
    for name, least in NUMBERS.items():
        text = labels.get(f"{PREFIX}{name}") or ("0" if name in ("cpu", "memory") else "")
        if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX):
            return None
        numbers[name] = int(text)
        if not least <= numbers[name] <= NUMBER_MAX.get(name, 2**63 - 1):
            return None
    return numbers


def moment(text: str) -> float | None:
    """The engine's RFC 3339 time with nanoseconds as seconds since the epoch; None for its zero time."""
    if not text or text.startswith("0001-"):
        return None
    whole, _, rest = text.partition(".")
    digits = rest.rstrip("Z") or "0"
    parsed = dt.datetime.fromisoformat(whole.rstrip("Z")).replace(tzinfo=dt.UTC)
    return parsed.timestamp() + float(f"0.{digits[:9]}")


def _labels(inspected: Mapping[str, Any]) -> Labels:
    labels: Labels = inspected["Config"]["Labels"] or {}
    return labels


def _condition(status: str) -> ReplicaCondition:
    if status == "created":
        return "created"
    return "running" if status in ("running", "paused", "restarting") else "exited"


def _drift(inspected: Mapping[str, Any], name: str, service: str, numbers: Mapping[str, int]) -> str:
    """What differs from what we made: everything that an engine lets a hand change on a container."""
    limits, labels = inspected["HostConfig"], _labels(inspected)
    made = f"{labels[CLUSTER]}.{replica_name(service, numbers['slot'], numbers['revision'], numbers['attempt'])}"
    policy = str((limits.get("RestartPolicy") or {}).get("Name") or "no")
    cpu, memory = numbers["cpu"] * NANO_CPUS_PER_MILLI, numbers["memory"]
    found = [f"it is called {name}"] if name != made else []
    found += [f"its restart policy is {policy}"] if policy != "no" else []
    if int(limits.get("NanoCpus") or 0) != cpu or limits.get("CpuQuota") or limits.get("CpusetCpus"):
        found.append("its cpu limit is another")
    found += ["its memory limit is another"] if int(limits.get("Memory") or 0) != memory else []
    if inspected["State"]["Status"] == "running":
        found += [f"it left network {network}" for network in missing_networks(inspected)]
    found += ["it is paused"] if inspected["State"]["Status"] == "paused" else []
    return ", ".join(found)


def _healthy(state: Mapping[str, Any]) -> bool | None:
    if state["Status"] == "paused":  # it answers nobody, whatever was last known
        return False
    status = (state.get("Health") or {}).get("Status")
    return {"healthy": True, "unhealthy": False}.get(str(status))


def _note(state: Mapping[str, Any], exit_code: int | None) -> str:
    if state.get("OOMKilled"):
        return "out of memory: killed by the kernel"
    if state.get("Error"):
        return " ".join(str(state["Error"]).split())[:200]
    if state.get("Status") == "paused":
        return "paused by hand"
    return EXIT_NOTES.get(exit_code, "") if exit_code is not None else ""


def _addresses(inspected: Mapping[str, Any], labels: Labels, host: HostSettings) -> dict[str, str]:
    published = inspected["NetworkSettings"].get("Ports") or {}
    names = [entry.partition("=") for entry in labels.get(PORTS, "").split(",") if entry]
    if inspected["HostConfig"].get("NetworkMode") == "host":  # nothing is published: the ports are the host's own
        found = {name: number for name, _, number in names}
    else:
        found = {name: _host_port(published.get(f"{number}/tcp") or [], host) for name, _, number in names}
    at = f"[{host.address}]" if ":" in host.address else host.address
    return {name: f"{at}:{port}" for name, port in found.items() if port}


def _host_port(bindings: list[dict[str, str]], host: HostSettings) -> str:
    # Engine 20.10 publishes IPv4 and IPv6 on different ephemeral ports: take the one that the address is of.
    family = [b for b in bindings if (":" in b["HostIp"]) == (":" in host.address)]
    return next((b["HostPort"] for b in family or bindings), "")
