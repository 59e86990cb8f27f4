"""One installation under test: a configuration, members that are real processes, and a client on its stream."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from autoscaler.adapters.streams import admin_for, client_for
from autoscaler.configuration.loading import load
from autoscaler.configuration.settings import Configuration
from autoscaler.core.facts import EventRef
from autoscaler.events.writing import control_event, deployment_event, metric_event
from autoscaler.ports.stream import Place, StreamClient, Topic
from tests.system.grounds import DockerGround, Ground
from tests.system.patience import eventually

PROGRAM = [sys.executable, "-c", "from autoscaler.cli.main import main; main()"]
SOURCE = "/tests"

QUICK_UPDATE = {
    "min_healthy": "300ms",
    "startup_deadline": "4s",
    "deadline": "15s",
    "soak": "1s",
    "monitor": "500ms",
    "drain_timeout": "0s",
    "restart": {"attempts": 2, "delay": "200ms"},
}
POLICY = {"use": "target_value", "with": {"metric": "load", "per_replica": 50}}
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)


def clean_environment() -> dict[str, str]:
    """The environment without what the suite, or whoever runs it, says to the program."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AUTOSCALER_")}


@dataclass
class Running:
    """One `autoscaler run`."""

    process: subprocess.Popen[bytes]
    log: Path
    failpoint: str = ""

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def said(self, *words: str) -> int:
        """How many lines of its log hold all of the words."""
        lines = self.log.read_text(errors="replace").splitlines()
        return sum(1 for line in lines if all(word in line for word in words))

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def ended(self, within_s: float) -> int:
        """The exit code once it has ended by itself; negative is a signal."""
        what = f"the end of `run` ({self.failpoint or 'no failpoint'})"
        try:
            code = await eventually(what, self.process.poll, lambda code: code is not None, within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None
        assert code is not None
        return code

    async def terminated(self, within_s: float = 20.0) -> int:
        """The exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended(within_s)

    def end(self) -> None:
        """Whatever its condition."""
        if self.alive:
            self.thaw()
            self.kill()


@dataclass
class Installation:
    """A directory with a configuration; ``ground`` is where its replicas run."""

    directory: Path
    cluster: str
    stream: dict[str, Any]
    ground: Ground
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    members: list[Running] = field(default_factory=list)
    _client: StreamClient | None = None
    _closed: bool = False
    _configuration: Configuration | None = None

    @property
    def file(self) -> Path:
        return self.directory / "autoscaler.yaml"

    @property
    def configuration(self) -> Configuration:
        if self._configuration is None:
            self._configuration = load(self.file, {}).configuration
        return self._configuration

    @property
    def client(self) -> StreamClient:
        assert self._client is not None, "open it first"
        return self._client

    def service(self, replicas: int = 1, **changes: Any) -> dict[str, Any]:
        """A service with the configuration's revision "one", quick to update, scaled by the metric ``load``."""
        block: dict[str, Any] = {
            "target": "here",
            "replicas": {"min": 0, "max": 8, "initial": replicas},
            "policies": [POLICY],
            "scaling": {"down_window": "5m"},
            "update": QUICK_UPDATE,
            "revision": self.ground.revision("one"),
            **self.ground.rules(),
        }
        return block | changes

    def write(self) -> None:
        """The configuration as it stands."""
        document = {
            "cluster": self.cluster,
            "stream": self.stream,
            "targets": {"here": self.ground.target()},
            "services": self.services,
            **self.extra,
        }
        self.file.write_text(yaml.safe_dump(document, sort_keys=False))
        self._configuration = None

    async def open(self) -> None:
        """Write the configuration, make the topics, connect the client."""
        self.write()
        stream = self.configuration.stream
        admin = admin_for(stream, self.cluster)
        await admin.create_topics()
        await admin.close()
        self._client = client_for(stream, self.cluster)
        await self._client.open()

    def start(self, failpoint: str = "", *options: str, **environ: str) -> Running:
        """Start a member."""
        runtime = self.directory / "runtime"
        runtime.mkdir(mode=0o700, exist_ok=True)
        given = {"XDG_RUNTIME_DIR": str(runtime), **environ}
        if failpoint:
            given["AUTOSCALER_FAILPOINT"] = failpoint
        log = self.directory / f"member-{len(self.members)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*PROGRAM, "-c", str(self.file), "run", "--log-level", "debug", *options],
                cwd=self.directory,
                env=clean_environment() | given,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.members.append(Running(process, log, failpoint))
        return self.members[-1]

    async def call(self, *arguments: str, within_s: float = 60.0) -> tuple[int, str, str]:
        """The command line as a user has it: exit code, stdout, stderr."""
        done = await _in_thread_run([*PROGRAM, "-c", str(self.file), *arguments], self.directory, within_s)
        return done.returncode, done.stdout, done.stderr

    # Events.

    async def deploy(self, service: str, kind: str, id: str, **changes: Any) -> EventRef:  # noqa: A002
        """A deployment event of a revision of the ground."""
        revision = self.ground.revision(kind) | changes
        event = deployment_event(service, revision, SOURCE, version=id, id=id)
        await self.publish(Topic.DEPLOYMENTS, service, event)
        return EventRef(SOURCE, id)

    async def command(self, service: str, command: str, id: str, **fields: Any) -> EventRef:  # noqa: A002
        """A control event."""
        await self.publish(Topic.CONTROL, service, control_event(service, command, SOURCE, fields, id=id))
        return EventRef(SOURCE, id)

    async def measure(self, service: str, value: float, name: str = "load") -> None:
        """A metric event."""
        await self.publish(Topic.METRICS, service, metric_event(service, {name: value}, SOURCE))

    async def publish(self, topic: Topic, service: str, event: bytes) -> Place:
        return await self.client.publish(topic, service.encode(), event, STRUCTURED)

    # Looking.

    async def wanted(self, service: str, count: int, revision: int, within_s: float = 40.0) -> None:
        """Wait until exactly so many replicas run, all of that revision, and nothing else is there."""

        def look() -> list[str]:
            return [
                f"{s.name}{'' if s.running else ' (ended)'}" for s in self.ground.standing() if s.service == service
            ]

        def holds(seen: list[str]) -> bool:
            right = [name for name in seen if name.split(".")[2] == f"r{revision}" and "ended" not in name]
            return len(seen) == len(right) == count

        try:
            await eventually(f"{count} replicas of {service} revision {revision}", look, holds, within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def logs(self) -> str:
        """The end of what the last two members said."""
        return "\n".join(f"--- {member.log.name}\n{member.tail()}" for member in self.members[-2:])

    async def close(self) -> None:
        """End the members, remove the replicas, let go of the stream. A second call changes nothing."""
        if self._closed:
            return
        self._closed = True
        for member in self.members:
            member.end()
        if self._client is not None:
            await self._client.close()
        self.ground.clean()


async def _in_thread_run(command: list[str], directory: Path, within_s: float) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=directory,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


def ground_of(installation: Installation) -> DockerGround:
    """The engines that the installation runs on."""
    assert isinstance(installation.ground, DockerGround)
    return installation.ground
