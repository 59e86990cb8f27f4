"""The process target: one host, ``local``, whose replicas are processes of this machine.

It keeps nothing in memory that a restart would lose: a replica is a directory (see `record`), the process in it is
known by pid and birth, and any member sharing the directory sees and may act on all of them. Each replica has a small
supervisor of its own, in its own session, so replicas outlive the autoscaler; if a supervisor is killed the kernel ends
its replica. Linux only.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import secrets
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import psutil

from autoscaler.adapters.process import launch, replica_log
from autoscaler.adapters.process.identity import kill_marked
from autoscaler.adapters.process.ports import PortReservations
from autoscaler.adapters.process.process_usage import UsageMeter
from autoscaler.adapters.process.record import HOST, PortNumber, Record, ReplicaDirectories, Standing
from autoscaler.adapters.process.watch import Watch
from autoscaler.adapters.secret_files import SecretRefused, marks_of, scope_of
from autoscaler.configuration.settings import TargetSettings
from autoscaler.core.actions import Action, Create, Outcome, Remove, Resolve, Start, StopReplica
from autoscaler.core.revision import ISOLATION, Port, RevisionSpec
from autoscaler.core.world import HostView, ObservedReplica
from autoscaler.ports.target import HostChange, HostListing, Usage

T = TypeVar("T")

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,127}")
LOG_LIMIT_BYTES = 4 * 1024 * 1024
KILL_PATIENCE_S = 5.0


def unsupported(spec: RevisionSpec) -> str:
    """Why such a revision cannot run as a process; empty where it can."""
    if not spec.entrypoint + spec.command:
        return "command: a process target needs one. Give the argv to run"
    for field in ("user", "volumes", "networks", *ISOLATION):
        if getattr(spec, field):
            return f"{field}: not available on a process target. Remove it or use a docker target"
    texts = (*spec.entrypoint, *spec.command, *(f"{name}{value}" for name, value in spec.env))
    if any("\0" in text for text in texts):
        return "command, env: hold a NUL character. Remove it"
    return ""


def missing_program(spec: RevisionSpec, directory: Path) -> str:
    """Why the program cannot be had when run in ``directory``; empty where it can. The start has the last word."""
    program = (spec.entrypoint + spec.command)[0]
    searched = dict(spec.env).get("PATH") or os.environ.get("PATH")
    where = str(directory / program) if "/" in program else program
    if shutil.which(where, path=searched):
        return ""
    return f"command: no such program: {program}. Install it on this machine"


class ProcessTarget:
    """Implements `autoscaler.ports.target.Target` for ``settings.dir``.

    ``working_directory`` is where replicas run (default: this process's at their creation). ``log_limit_bytes`` bounds
    each of the two log files of a replica. No method raises for what a host does: outcomes and listings say it.
    """

    kind = "process"

    def __init__(
        self,
        settings: TargetSettings,
        cluster: str,
        *,
        working_directory: Path | None = None,
        log_limit_bytes: int = LOG_LIMIT_BYTES,
    ) -> None:
        if settings.dir is None:
            raise ValueError(f"target {settings.name}: a process target needs dir")
        self.name = settings.name
        self._cluster = cluster
        self._directories = ReplicaDirectories(settings.dir, cluster)
        self._ports = PortReservations(settings.dir)
        self._working_directory = working_directory
        self._log_limit_bytes = log_limit_bytes
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"process-target-{settings.name}")
        self._watches: set[Watch] = set()
        self._meter = UsageMeter()
        self._metering = asyncio.Lock()

    async def open(self) -> None:
        """The directory exists. Where it cannot be made, the listing says so."""
        (listing,) = await self.list_replicas()
        if not listing.error:
            await self._in_thread(self._directories.clear_leftovers)

    async def close(self) -> None:
        """Lets go of threads; the replicas go on."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def list_replicas(self) -> Sequence[HostListing]:
        """The one host's listing."""
        return (await self._in_thread(self._list),)

    async def changes(self) -> AsyncIterator[HostChange]:
        """Ends are seen at once, what other members do within 0.3 s."""
        watch = Watch(self._directories, self._threads)
        self._watches.add(watch)
        try:
            async for change in watch.changes():
                yield change
        finally:
            watch.close()
            self._watches.discard(watch)

    async def resolve(self, action: Resolve) -> Outcome:
        """Done with ``pinned`` empty, as there is no image; refused where the spec cannot run here."""
        why = unsupported(action.spec) or missing_program(action.spec, self._directory())
        if why:
            return Outcome(action, "refused", why, blame="revision")
        try:
            scope = scope_of(self._cluster, action.service)
            marks = await self._in_thread(lambda: marks_of(action.spec.secrets, scope))
        except SecretRefused as refusal:
            return Outcome(action, "refused", str(refusal))
        return Outcome(action, "done", secret_marks=marks)

    async def create(self, action: Create) -> Outcome:
        """Ports are chosen here, so that the address is known before the start."""
        return await self._attempt(action, self._create, action)

    async def start(self, action: Start) -> Outcome:
        """Done when the command has replaced the supervisor's child, so a command that cannot run is refused."""
        return await self._attempt(action, self._start, action)

    async def stop(self, action: StopReplica) -> Outcome:
        """Signals the replica's process group; ``drain_s`` is the router's and the engine's to spend before."""
        try:
            return await self._stop(action)
        except (OSError, ValueError) as error:
            return Outcome(action, "unknown", f"{action.name}: {error}")

    async def remove(self, action: Remove) -> Outcome:
        """The replica's directory is deleted, logs included."""
        return await self._attempt(action, self._remove, action)

    async def usage(self) -> Sequence[Usage]:
        """Of every running replica, its whole process tree."""
        async with self._metering:
            return await self._in_thread(self._usage)

    async def logs(self, replica: ObservedReplica, *, follow: bool, tail: int) -> AsyncIterator[bytes]:
        """Standard output and error in one, without newlines. Following ends some time after the replica."""

        def running() -> bool:
            return self._directories.standing(replica.name).condition == "running"

        directory = self._directories.path(replica.name)
        async for line in replica_log.lines(directory, follow=follow, tail=tail, running=running):
            yield line

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _attempt(self, action: Action, work: Callable[..., Outcome], *arguments: object) -> Outcome:
        try:
            outcome = await self._in_thread(functools.partial(work, *arguments))
        except ValueError as error:
            return Outcome(action, "conflict", str(error))
        except OSError as error:
            return Outcome(action, "unknown", f"{action.key}: {error}", blame="host")
        for watch in self._watches:
            watch.nudge(action.key)
        return outcome

    def _list(self) -> HostListing:
        try:
            self._directories.prepare()
            observed = [self._directories.observe(name) for name in sorted(self._directories.names())]
        except (OSError, ValueError) as error:
            return HostListing(HostView(HOST, known=False), (), f"{self._directories.root}: {error}")
        replicas = tuple(replica for replica in observed if replica is not None)
        present = [replica for replica in replicas if replica.condition != "exited"]
        fixed = [port.number for replica in present for port in self._ports_of(replica.name).values() if port.fixed]
        host = HostView(
            HOST,
            cpu_millis=1000 * (psutil.cpu_count() or 0),
            memory_bytes=psutil.virtual_memory().total,
            reserved_cpu_millis=sum(replica.cpu_millis for replica in present),
            reserved_memory_bytes=sum(replica.memory_bytes for replica in present),
            replicas=len(present),
            ports_taken=frozenset(fixed),
        )
        return HostListing(host, replicas)

    def _ports_of(self, name: str) -> dict[str, PortNumber]:
        record = self._directories.record(name)
        return {} if record is None else dict(record.ports)

    def _create(self, action: Create) -> Outcome:
        why = unsupported(action.spec)
        if why:
            return Outcome(action, "refused", why, blame="revision")
        if action.host != HOST or not NAME.fullmatch(action.name):
            return Outcome(action, "refused", f"{action.name} on {action.host}: no such host or no such name can be")
        existing = self._directories.record(action.name)
        made = self._record(action, {})
        if existing is None:
            made = self._record(action, self._choose_ports(action))
            self._directories.prepare()
            if self._directories.make(made):
                return Outcome(action, "done", id=made.id)
            self._release(made)
            existing = self._directories.record(action.name)
        if existing is not None and existing.same_replica(made):
            return Outcome(action, "done", "it exists already", id=existing.id)
        return Outcome(action, "conflict", f"{action.name}: the name is taken by something else")

    def _record(self, action: Create, ports: dict[str, PortNumber]) -> Record:
        spec = action.spec
        return Record(
            id=f"{action.name}#{secrets.token_hex(4)}",
            name=action.name,
            cluster=self._cluster,
            service=action.service,
            slot=action.slot,
            revision=action.revision,
            attempt=action.attempt,
            generation=action.generation,
            token=action.token,
            content=action.content,
            argv=spec.entrypoint + spec.command,
            env=dict(spec.env),
            secrets=dict(spec.secrets),
            secret_marks=dict(spec.secret_marks),
            ports=ports,
            cpu_millis=spec.resources.cpu_millis,
            memory_bytes=spec.resources.memory_bytes,
            working_directory=str(self._directory()),
            made_at=time.time(),
            displaces=action.displaces,
        )

    def _directory(self) -> Path:
        return (self._working_directory or Path.cwd()).absolute()

    def _choose_ports(self, action: Create) -> dict[str, PortNumber]:
        """A number for each declared port; a revision that declares none gets one all the same, in ``PORT``."""
        path = self._directories.path(action.name)
        return {
            name: PortNumber(self._ports.reserve(path) if port.host is None else port.host, port.host is not None)
            for name, port in action.spec.ports or (("port", Port(0)),)
        }

    def _release(self, record: Record) -> None:
        path = self._directories.path(record.name)
        for port in record.ports.values():
            if not port.fixed:
                self._ports.release(port.number, path)

    def _known(self, name: str, replica_id: str) -> tuple[Record, Standing] | None:
        """The very replica of that id, or None where it is gone."""
        record = self._directories.record(name)
        if record is None or record.id != replica_id:
            return None
        return record, self._directories.standing(name)

    def _start(self, action: Start) -> Outcome:
        known = self._known(action.name, action.id)
        if known is None:
            return Outcome(action, "refused", f"{action.name}: it is gone")
        record, standing = known
        if standing.condition == "running":
            return Outcome(action, "done", "it runs already")
        if standing.condition == "exited":
            return Outcome(action, "refused", f"{action.name}: it has ended, a replica is started once")
        result = launch.start(self._directories.path(action.name), record, self._log_limit_bytes)
        self._directories.announce()
        return Outcome(action, result.result, result.text, result.blame)

    async def _stop(self, action: StopReplica) -> Outcome:
        known = await self._in_thread(lambda: self._known(action.name, action.id))
        if known is not None and known[1].condition == "created" and known[1].claimed_by == "supervisor":
            return Outcome(action, "unknown", f"{action.name}: it is being started")
        if known is None or known[1].condition != "running":
            return Outcome(action, "done", "it had ended before" if known else "it is gone")
        record, standing = known
        number = getattr(signal, f"SIG{action.signal}", None)
        if not isinstance(number, signal.Signals) or standing.main is None:
            return Outcome(action, "refused", f"{action.name}: no signal SIG{action.signal}", blame="revision")
        self._directories.write_stop(action.name, time.time() + action.grace_s)
        for watch in self._watches:
            watch.nudge(action.name)
        main_pid = standing.main.pid
        standing.main.signal_group(number)
        watched = standing.supervisor if standing.supervisor and standing.supervisor.alive else standing.main
        if await watched.ended(action.grace_s):
            return Outcome(action, "done")
        self._directories.write_stop(action.name, 0.0)
        standing.main.signal_group(signal.SIGKILL)
        if not await watched.ended(KILL_PATIENCE_S):
            if standing.main.alive:
                return Outcome(
                    action, "unknown", f"{action.name}: it has not ended {KILL_PATIENCE_S:g} s after SIGKILL"
                )
            watched.signal_group(signal.SIGKILL)  # a supervisor that does not react, as one that was stopped
            await watched.ended(KILL_PATIENCE_S)
            await self._in_thread(lambda: kill_marked(record.marker, main_pid))
        return Outcome(action, "done", f"killed after {action.grace_s:g} s of grace")

    def _remove(self, action: Remove) -> Outcome:
        known = self._known(action.name, action.id)
        if known is None:
            return Outcome(action, "done", "it is gone")
        record, standing = known
        if standing.condition == "running":
            return Outcome(action, "refused", f"{action.name}: it runs. Stop it first")
        if standing.condition == "created" and not self._directories.claim_for_removal(action.name):
            return Outcome(action, "unavailable", f"{action.name}: it is being started")
        if standing.condition == "exited" and standing.exit_code is None and standing.main is not None:
            kill_marked(record.marker, standing.main.pid)
        self._directories.delete(action.name)
        self._release(record)
        return Outcome(action, "done")

    def _usage(self) -> Sequence[Usage]:
        records: dict[str, Record] = {}
        mains: dict[str, int] = {}
        for name in self._directories.names():
            known, standing = self._directories.record(name), self._directories.standing(name)
            if known is not None and standing.condition == "running" and standing.main is not None:
                records[name], mains[name] = known, standing.main.pid
        consumed = self._meter.look(mains, time.time())
        return tuple(
            Usage(name, records[name].service, records[name].revision, use.cpu_cores, use.memory_bytes)
            for name, use in sorted(consumed.items())
        )
