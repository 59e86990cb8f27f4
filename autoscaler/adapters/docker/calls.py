"""The pieces of work that run on a host's threads: what is asked of one engine, in which order, what answers mean.

Each takes a client with a running budget and blocks. Foreign errors pass through; `failures` reads them. What does not
carry the cluster's label is never changed.
"""

from __future__ import annotations

import math
import posixpath
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from docker.errors import APIError, NotFound

from autoscaler.adapters.docker import containers, secret_volume
from autoscaler.adapters.docker.client import SIGNAL_SINCE, EngineClient, version_parts
from autoscaler.adapters.docker.failures import read_failure
from autoscaler.configuration.settings import HostSettings
from autoscaler.core.actions import Create, Outcome, Remove, Start, StopReplica
from autoscaler.core.world import ObservedReplica

POLL_S = 0.1
"""Between two looks at a container that is ending."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The engine's, where an image has none."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call is made: one host, for one cluster."""

    cluster: str
    host: HostSettings


def create(client: EngineClient, action: Create, place: Place) -> Outcome:
    """Create the container; the engine's refusal of a taken name is the compare-and-set."""
    why = containers.forbidden(action)
    if why:
        return Outcome(action, "refused", why, "revision")
    body = containers.creation(action, place.cluster, place.host)
    try:
        made = client.create_replica(body, action.name)
    except APIError as error:
        if read_failure(error, "create").result == "conflict":
            return _whose(client, action, body["Labels"])
        raise
    if action.spec.secrets:
        secret_volume.sweep(client, containers.CLUSTER, place.cluster)
    return Outcome(action, "done", id=str(made["Id"]))


def start(client: EngineClient, action: Start, place: Place, proven: set[str], secrets: Mapping[str, bytes]) -> Outcome:
    """Start a created container, finishing what its creation left undone, with its ``secrets`` in it.

    One that has run before is left alone. ``proven`` holds contents whose command was found on this host.
    """
    inspected = _look(client, action.id)
    if inspected is None:
        return Outcome(action, "refused", f"{action.name} is gone")
    if not containers.belongs(inspected, place.cluster):
        return Outcome(action, "conflict", f"{action.name} is not this cluster's: left alone")
    state = inspected["State"]
    if state["Running"] or containers.moment(str(state.get("StartedAt") or "")) is not None:
        return Outcome(action, "done", id=action.id)
    for network in containers.missing_networks(inspected):
        client.connect_container_to_network(action.id, network)
    content = str(inspected["Config"]["Labels"].get(containers.SPEC, ""))
    if content not in proven:
        problem = command_problem(client, inspected)
        if problem:
            return Outcome(action, "refused", problem, "revision")
        proven.add(content)
    if secrets:
        secret_volume.deliver(client, inspected, secrets)
    client.start(action.id)
    return Outcome(action, "done", id=action.id)


def stop(client: EngineClient, action: StopReplica, place: Place) -> Outcome:
    """Ask the container to end, and wait until it has; the engine kills it after the grace."""
    inspected = _look(client, action.id)
    if inspected is None or not inspected["State"]["Running"]:
        return Outcome(action, "done", id=action.id)
    if not containers.belongs(inspected, place.cluster):
        return Outcome(action, "conflict", f"{action.name} is not this cluster's: left alone")
    signal = action.signal.removeprefix("SIG")
    own = str(inspected["Config"].get("StopSignal") or "TERM").removeprefix("SIG")
    try:
        if own != signal and version_parts(client.api_version) < SIGNAL_SINCE:
            _end_with_other_signal(client, action.id, signal, action.grace_s)
        else:
            client.stop_replica(action.id, grace_s=math.ceil(action.grace_s), signal=f"SIG{signal}")
    except NotFound:
        # Removed by somebody else meanwhile: it has ended.
        return Outcome(action, "done", id=action.id)
    return Outcome(action, "done", id=action.id)


def remove(client: EngineClient, action: Remove, place: Place) -> Outcome:
    """Remove an ended container with its anonymous volumes; never one that runs."""
    inspected = _look(client, action.id)
    if inspected is None:
        return Outcome(action, "done", id=action.id)
    if not containers.belongs(inspected, place.cluster):
        return Outcome(action, "conflict", f"{action.name} is not this cluster's: left alone")
    if inspected["State"]["Running"]:
        return Outcome(action, "refused", f"{action.name} still runs: stop it first")
    try:
        client.remove_container(action.id, v=True)
    except NotFound:
        # Removed by somebody else meanwhile.
        return Outcome(action, "done", id=action.id)
    except APIError as error:
        if read_failure(error, "remove").result != "conflict":
            raise
        # Another removal is under way; the budget ends this wait.
        while _look(client, action.id) is not None:
            time.sleep(POLL_S)
    return Outcome(action, "done", id=action.id)


def list_replicas(client: EngineClient, place: Place, stopping: Container[str]) -> list[ObservedReplica]:
    """The cluster's containers, each looked at; one that goes meanwhile is left out."""
    found = []
    for summary in client.containers(all=True, filters=containers.cluster_filter(place.cluster)):
        inspected = _look(client, str(summary["Id"]))
        replica = inspected and containers.observe(inspected, place.host, stopping=inspected["Id"] in stopping)
        if replica:
            found.append(replica)
    return found


def ports_taken(client: EngineClient) -> frozenset[int]:
    """Host ports that running containers hold, whoever's they are: a fixed port may not be placed on them."""
    return frozenset(
        int(port["PublicPort"])
        for summary in client.containers()
        for port in summary.get("Ports") or ()
        if port.get("PublicPort")
    )


def observe(client: EngineClient, container: str, place: Place, *, stopping: bool) -> ObservedReplica | None:
    """How a container looks now; None where it is gone or not a replica of this cluster."""
    inspected = _look(client, container)
    if inspected is None or not containers.belongs(inspected, place.cluster):
        return None
    return containers.observe(inspected, place.host, stopping=stopping)


def command_problem(client: EngineClient, inspected: Mapping[str, Any]) -> str:
    """Why a created container's program cannot be run, or nothing where it can (or where that cannot be told).

    With an init the engine itself starts anything: the init would fail inside, as an ended replica. So the program is
    looked for before.
    """
    program = str(inspected["Path"])
    settings = inspected["Config"]
    if "/" in program:
        places = [posixpath.join(settings.get("WorkingDir") or "/", program)]
    else:
        environment = dict(entry.split("=", 1) for entry in settings.get("Env") or () if "=" in entry)
        places = [posixpath.join(folder or "/", program) for folder in environment.get("PATH", DEFAULT_PATH).split(":")]
    seen = ""
    for place in places:
        found = client.find(str(inspected["Id"]), place)
        if found is not None and found.target:
            found = client.find(str(inspected["Id"]), found.target)
        if found is None:
            continue
        if found.executable_file:
            return ""
        seen = place
    return f"its command {seen} cannot be executed" if seen else f"its command {program} was not found in the image"


def _look(client: EngineClient, container: str) -> dict[str, Any] | None:
    try:
        inspected: dict[str, Any] = client.inspect_container(container)
    except NotFound:
        return None
    return inspected


def _whose(client: EngineClient, action: Create, wanted: Mapping[str, str]) -> Outcome:
    inspected = _look(client, action.name)
    if inspected is None:
        # The engine reserves a name before the container can be seen: somebody else is creating it right now.
        return Outcome(action, "unknown", f"{action.name} is being created or removed by another call")
    if containers.same_replica(inspected["Config"]["Labels"] or {}, wanted):
        return Outcome(action, "done", id=str(inspected["Id"]))
    return Outcome(action, "conflict", f"{action.name} is held by a container that is not this replica: left alone")


def _end_with_other_signal(client: EngineClient, container: str, signal: str, grace_s: float) -> None:
    """Stop with a signal that is not the container's own, on an engine whose stop call cannot say so."""
    client.kill(container, f"SIG{signal}")
    kill_at = time.monotonic() + grace_s
    killed = False
    while (inspected := _look(client, container)) is not None and inspected["State"]["Running"]:
        if time.monotonic() >= kill_at and not killed:
            client.kill(container, "SIGKILL")
            killed = True
        time.sleep(POLL_S)
