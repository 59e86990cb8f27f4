"""A running instance on embedded parts in a directory of its own, and the command line against it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import structlog
from typer.testing import CliRunner, Result

from autoscaler.adapters.embedded.client import EmbeddedClient
from autoscaler.cli.main import app
from autoscaler.configuration.settings import StreamSettings
from autoscaler.ports.stream import Topic
from tests.parts.processes import free_ports

PROGRAM = [sys.executable, "-c", "from autoscaler.cli.main import main; main()"]

SERVICES = ("shop", "checkout", "search", "basket", "leaflet", "poster")

SERVER = """\
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if "bad" in sys.argv else 200)
        self.end_headers()

    def log_message(self, *arguments):
        pass

print("serving", *sys.argv[1:], flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

CONFIGURATION = f"""\
cluster: cli
stream: {{kind: embedded, path: ./stream.db, partitions: 3}}
http: {{listen: "127.0.0.1:PORT_OF_HTTP"}}
targets:
  local: {{kind: process, dir: ./replicas}}
defaults:
  target: local
  replicas: {{min: 1, max: 4}}
  policies:
    - {{use: target_value, with: {{metric: requests_per_second, per_replica: 50}}}}
  scaling: {{down_window: 1m}}
  update:
    {{min_healthy: 200ms, startup_deadline: 5s, deadline: 6s, soak: 500ms, monitor: 500ms, drain_timeout: 0s}}
  commands: ["{sys.executable} server.py **"]
  revision:
    command: [{sys.executable}, server.py, one]
    ports: {{http: 8080}}
    health: {{http: /, port: http, every: 100ms, start: 1500ms}}
    stop: {{grace: 1s}}
services:
  shop: {{}}
  checkout: {{}}
  search: {{}}
  basket: {{}}
  leaflet: {{update: {{min_healthy: 1500ms}}}}
  poster: {{}}
"""


def clean_environment() -> dict[str, str]:
    """The environment without what the suite itself, or whoever runs it, says to the program."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AUTOSCALER_")}


def call(*arguments: str, given: str | None = None, environment: Mapping[str, str] | None = None) -> Result:
    """The command line in this process, whose logging is afterwards as it was before."""
    unset: dict[str, str | None] = dict.fromkeys(set(os.environ) - set(clean_environment()))
    root = logging.getLogger()
    before, handlers, level = structlog.get_config(), list(root.handlers), root.level
    try:
        return CliRunner().invoke(app, list(arguments), input=given, env=unset | dict(environment or {}))
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)


def document(result: Result) -> Any:
    """The one JSON document on stdout."""
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def eventually(claim: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What ``claim`` returns once it is true; fails with the last that it said."""
    deadline = time.monotonic() + seconds
    while True:
        last = claim()
        if last:
            return last
        assert time.monotonic() < deadline, f"not within {seconds} s; last: {last!r}"
        time.sleep(0.1)


@dataclass
class Project:
    """A directory with a configuration, with or without an instance running on it."""

    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def file(self) -> str:
        return str(self.directory / "autoscaler.yaml")

    def call(self, *arguments: str, given: str | None = None) -> Result:
        """The command line on this configuration."""
        return call("-c", self.file, *arguments, given=given)

    def json(self, *arguments: str) -> Any:
        """The one document that the command prints."""
        return document(self.call(*arguments, "--json"))

    def server(self, word: str) -> str:
        """The command of a replica with another argument."""
        return f"{sys.executable} server.py {word}"

    def deploy(self, service: str, word: str, *more: str) -> Result:
        """Deploy the server with another argument and wait."""
        waiting = ("--wait", "--timeout", "40s")
        return self.call("emit", "deployment", service, *waiting, *more, "--", *self.server(word).split())

    def start(self) -> None:
        """Run an instance."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*PROGRAM, "-c", self.file, "run"],
                cwd=self.directory,
                env=clean_environment(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def stop(self) -> None:
        """End the instance, then the replicas that it left running, which live in this directory."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()) == self.directory:
                    process.kill()
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue

    def settled(self, service: str) -> dict[str, Any] | None:
        """The service's status once it is at rest on a revision."""
        shown = self.json("status", service)
        return shown if shown["phase"] == "idle" and shown["revision"] else None

    def stored(self, topic: str) -> list[dict[str, Any]]:
        """The events on a topic, in order per partition."""

        async def read() -> list[dict[str, Any]]:
            stream = StreamSettings(path=self.directory / "stream.db", partitions=3)
            client = EmbeddedClient(stream, "cli")
            await client.open()
            try:
                return [json.loads(message.value or b"") async for _, message in client.read(Topic(topic))]
            finally:
                await client.close()

        return asyncio.run(read())

    def copy(self, directory: Path) -> Project:
        """The same stream where no instance runs and no replica is, such as a machine that went down."""
        directory.mkdir()
        shutil.copy(self.file, directory)
        with (
            closing(sqlite3.connect(self.directory / "stream.db")) as source,
            closing(sqlite3.connect(directory / "stream.db")) as target,
        ):
            source.backup(target)
        return Project(directory)


def new_project(directory: Path) -> Project:
    """A project that nothing has run on yet."""
    (directory / "server.py").write_text(SERVER)
    (directory / "autoscaler.yaml").write_text(CONFIGURATION.replace("PORT_OF_HTTP", str(free_ports(1)[0])))
    return Project(directory)
