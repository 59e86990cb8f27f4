"""`autoscaler hosts`: the pool, what is reserved and used on it; and what an operator says of a host.

Hosts belong to no partition, so `drain`, `cordon` and `uncordon` tell the owner of each one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from autoscaler.cli.commands import Reason, Timeout, print_settled
from autoscaler.cli.connecting import Sending, opened_client
from autoscaler.cli.context import (
    EXIT_DONE,
    CommandError,
    ending,
    print_json,
    read_configuration,
    say,
    wrong_usage,
)
from autoscaler.cli.emitting import new_ref
from autoscaler.cli.options import Config, Json, chosen
from autoscaler.cli.phrases import seconds_of
from autoscaler.cli.pool import PROCESS_HOST, PoolView, look, opened_targets
from autoscaler.cli.reading import snapshot
from autoscaler.cli.tables import print_rows
from autoscaler.cli.waiting import Settled, publish_and_wait
from autoscaler.configuration.settings import Configuration
from autoscaler.configuration.vocabulary import suggestion
from autoscaler.core.claims import canonical, is_overbooked
from autoscaler.core.host_marks import HOST_COMMANDS, Mark, marked_host
from autoscaler.core.world import HostView
from autoscaler.errors import AutoscalerError
from autoscaler.events.writing import control_event
from autoscaler.ports.stream import StreamClient, Topic, partition_of
from autoscaler.ports.target import Usage

MIB = 1024 * 1024
USAGE_S = 3.0
"""How long the replicas' usage may take: an engine refreshes its counters once a second."""

Load = tuple[float, int]
"""Cores and bytes in use."""

Said = tuple[Mapping[str, Mark], Mapping[str, set[str]]]
"""Host -> what an operator said of it; host -> services that have not left it in time."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("hosts")(_hosts)


def _hosts(
    context: typer.Context,
    action: Annotated[str | None, typer.Argument(metavar="[ACTION]", help="drain, cordon or uncordon.")] = None,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The host.")] = None,
    reason: Reason = "",
    timeout: Timeout = "60s",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print the pool, or drain a host (its replicas move, start-first), cordon it (no new ones), uncordon it."""
    with ending(as_json=as_json):
        configuration = read_configuration(chosen(context, config))
        if action is None:
            _show(configuration, as_json=as_json)
            return
        if action not in HOST_COMMANDS:
            raise wrong_usage("there is no such action", "Write drain, cordon or uncordon.", f"hosts {action[:40]}")
        known = [host.name for target in configuration.targets.values() for host in target.hosts]
        known += [PROCESS_HOST for target in configuration.targets.values() if target.kind == "process"]
        if name is None:
            raise wrong_usage("the host is missing", f"Write `autoscaler hosts {action} NAME`.", f"hosts {action}")
        if name not in known:
            raise CommandError("is no host of this configuration", suggestion(name, known), name[:63])
        timeout_s = seconds_of(timeout, "--timeout")
        fields = {"host": name} | ({"reason": reason} if reason else {})
        code = asyncio.run(_tell_all(configuration, action, fields, timeout_s, as_json=as_json))
    if code != EXIT_DONE:
        raise SystemExit(code)


# What an operator says.


async def _tell_all(
    configuration: Configuration, action: str, fields: Mapping[str, Any], timeout_s: float, *, as_json: bool
) -> int:
    async with opened_client(configuration, looks=False) as client:
        told = [_tell(client, subject, action, fields, timeout_s) for subject in _subjects(client.partitions)]
        settled = await asyncio.gather(*told)
    worst = max(settled, key=lambda one: one.exit_code)
    counts = {one.verdict or "timeout": 0 for one in settled}
    for one in settled:
        counts[one.verdict or "timeout"] += 1
    if as_json:
        document = {"command": action, "host": fields["host"], "verdict": worst.verdict or None}
        print_json(document | {"code": worst.code, "text": worst.text, "partitions": counts})
    else:
        print_settled(worst, f" ({counts.get('timeout', 0)} of {len(settled)} partitions)")
    return worst.exit_code


async def _tell(
    client: StreamClient, subject: str, action: str, fields: Mapping[str, Any], timeout_s: float
) -> Settled:
    ref = new_ref(None, None)
    event = control_event(subject, action, ref.source, fields, id=ref.id)
    _, settled = await publish_and_wait(client, Sending(Topic.CONTROL, subject, ref, event), timeout_s)
    return settled


def _subjects(partitions: int) -> list[str]:
    """A subject for each partition, in their order: the first of ``hosts-0``, ``hosts-1`` ... that belongs there."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        found.setdefault(partition_of(f"hosts-{number}".encode(), partitions), f"hosts-{number}")
        number += 1
    return [found[partition] for partition in range(partitions)]


# What is there.


def _show(configuration: Configuration, *, as_json: bool) -> None:
    pool, (marks, stuck), loads = asyncio.run(_pool(configuration))
    hosts = [(target, marked_host(host, marks), error) for target, host, error in pool.hosts()]
    waiting = {(target, host.name): _waiting(pool, target, host.name) for target, host, _ in hosts}
    rows = [_host_document(*one, loads.get((one[0], one[1].name))) for one in hosts]
    for row in rows:
        row["waiting"] = waiting[row["target"], row["host"]]
        row["stuck"] = sorted(stuck.get(row["host"], ()))
    for problem in pool.problems:
        say(f"note: {problem}")
    if as_json:
        print_json({"hosts": rows})
    else:
        columns = ["target", "host", "condition", "replicas", "cpu", "memory", "used", "labels"]
        print_rows(columns, [_host_row(*one, loads.get((one[0], one[1].name))) for one in hosts])
        for row in rows:
            if row["stuck"]:
                verb = "have" if len(row["stuck"]) > 1 else "has"
                say(f"note: {', '.join(row['stuck'])} {verb} not left {row['host']}, which is to be emptied")
        for (_, name), claims in waiting.items():
            for claim in claims:
                say(f"note: {claim['replica']} waits on {name} for {', '.join(claim['displaces'])} to give way")
    if pool.silent and not any(row["reachable"] for row in rows):
        raise CommandError("no host could be asked", "Check that their engines are up and reachable.")


def _waiting(pool: PoolView, target: str, name: str) -> list[dict[str, Any]]:
    """The replicas on the host that wait for others to give way."""
    found = [r for listing in pool.listings.get(target, ()) if listing.host.name == name for r in listing.replicas]
    waiting = [r for r in found if r.displaces and r.condition == "created"]
    return [{"replica": canonical(r), "displaces": list(r.displaces)} for r in waiting]


async def _pool(configuration: Configuration) -> tuple[PoolView, Said, dict[tuple[str, str], Load]]:
    async with opened_targets(configuration) as targets:
        marks = asyncio.ensure_future(_marks(configuration))
        pool = await look(targets)
        asking = {n: asyncio.ensure_future(target.usage()) for n, target in targets.items() if n not in pool.silent}
        if asking:
            await asyncio.wait(asking.values(), timeout=USAGE_S)
        used: dict[tuple[str, str], Load] = {}
        for name, task in asking.items():
            if not task.done():
                task.cancel()
            elif task.exception() is None:
                _add_up(pool, name, task.result(), used)
        return pool, await marks, used


async def _marks(configuration: Configuration) -> Said:
    """What operators said of hosts: by any partition, as all of them are told the same; and who is stuck there."""
    marks: dict[str, Mark] = {}
    stuck: dict[str, set[str]] = {}
    try:
        async with opened_client(configuration) as client:
            seen = await snapshot(client)
            for record in seen.partitions.values():
                marks |= record.marks
            for service, state in seen.states.items():
                for one in state.leaving:
                    if one.told:
                        stuck.setdefault(one.host, set()).add(service)
    except AutoscalerError as error:
        say(f"note: whether hosts are drained or cordoned is not known: {error}")
    return marks, stuck


def _add_up(pool: PoolView, target: str, usages: Sequence[Usage], used: dict[tuple[str, str], Load]) -> None:
    listings = pool.listings.get(target, ())
    where = {replica.name: listing.host.name for listing in listings for replica in listing.replicas}
    for usage in usages:
        if usage.name in where:
            place = (target, where[usage.name])
            cores, size = used.get(place, (0.0, 0))
            used[place] = (cores + usage.cpu_cores, size + usage.memory_bytes)


def _host_document(target: str, host: HostView, error: str, load: Load | None) -> dict[str, Any]:
    return {
        "target": target,
        "host": host.name,
        "reachable": not error,
        "condition": host.condition,
        "circuit": "open" if error else "closed",
        "error": error or None,
        "replicas": host.replicas if not error else None,
        "cpu_millis": host.cpu_millis or None,
        "memory_bytes": host.memory_bytes or None,
        "cpu_room_millis": host.cpu_room or None,
        "memory_room_bytes": host.memory_room or None,
        "overbooked": is_overbooked(host),
        "reserved_cpu_millis": host.reserved_cpu_millis,
        "reserved_memory_bytes": host.reserved_memory_bytes,
        "used_cpu_cores": round(load[0], 3) if load is not None else None,
        "used_memory_bytes": load[1] if load is not None else None,
        "labels": dict(host.labels),
        "taints": [str(taint) for taint in host.taints],
        "platform": host.platform or None,
    }


def _host_row(target: str, host: HostView, error: str, load: Load | None) -> list[str]:
    if error:
        return [target, host.name, "unreachable", "?", "?", "?", "?", _labels(host)]
    cpu = f"{host.reserved_cpu_millis}m of {host.cpu_room}m" if host.cpu_room else f"{host.reserved_cpu_millis}m"
    reserved, whole = host.reserved_memory_bytes // MIB, host.memory_room // MIB
    memory = f"{reserved}Mi of {whole}Mi" if whole else f"{reserved}Mi"
    used = f"{load[0]:.2f} cores {load[1] // MIB}Mi" if load is not None else "-"
    return [target, host.name, host.condition, str(host.replicas), cpu, memory, used, _labels(host)]


def _labels(host: HostView) -> str:
    told = [f"{name}={value}" for name, value in sorted(host.labels.items())] + [str(taint) for taint in host.taints]
    return ",".join(told) or "-"
