"""The process target's arena: local processes under a temporary directory."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoscaler.adapters.process import ProcessTarget
from autoscaler.adapters.process.record import ReplicaDirectories
from autoscaler.configuration.settings import TargetSettings
from autoscaler.core.revision import Port, Resources, RevisionSpec, Stop
from autoscaler.core.world import ObservedReplica

SERVER = """
import os, http.server
class Ok(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Ok).serve_forever()
"""


def python(source: str, **changes: object) -> RevisionSpec:
    """A revision that runs ``source`` with this interpreter, quick to start."""
    return RevisionSpec(command=(sys.executable, "-I", "-S", "-u", "-c", source), **changes)  # type: ignore[arg-type]


class ProcessArena:
    """Implements `tests.contract.arena.Arena`."""

    kind = "process"
    host = "local"

    def __init__(self, base: Path) -> None:
        self.base = base
        self.cluster = f"t{secrets.token_hex(4)}"
        self.directories = ReplicaDirectories(base, self.cluster)
        self._foreign: dict[str, subprocess.Popen[bytes]] = {}

    def target(self, cluster: str = "") -> ProcessTarget:
        """A new, unopened target."""
        return ProcessTarget(self.target_settings(), cluster or self.cluster, working_directory=self.base)

    def target_settings(self) -> TargetSettings:
        """What a configuration would say of it."""
        return TargetSettings("here", "process", dir=self.base)

    def unresolved(self) -> RevisionSpec:
        """A process has no image: any spec is resolved."""
        return self.serves()

    def missing(self) -> RevisionSpec:
        """No such program."""
        return RevisionSpec(command=("no-such-program-anywhere",))

    def serves(self) -> RevisionSpec:
        """An HTTP server on its PORT."""
        port = (("http", Port(8080)),)
        return python(SERVER, ports=port, resources=Resources(100, 32 * 1024 * 1024), stop=Stop("TERM", 5.0))

    def exits(self, code: int) -> RevisionSpec:
        """Ends at once."""
        return RevisionSpec(command=("/bin/sh", "-c", f"exit {code}"))

    def ignores_term(self) -> RevisionSpec:
        """Runs for ever."""
        return RevisionSpec(command=("/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.2; done"))

    def prints(self, count: int) -> RevisionSpec:
        """Prints, then runs on."""
        return python(f"for n in range({count}): print('line', n + 1)\nimport time\nwhile True: time.sleep(60)")

    def cannot_run(self) -> RevisionSpec:
        """Its program is not there."""
        return RevisionSpec(command=("/no/such/program",))

    def kill(self, replica: ObservedReplica) -> None:
        """SIGKILL to the main process."""
        main = self.directories.standing(replica.name).main
        assert main is not None
        assert main.alive, replica
        os.kill(main.pid, signal.SIGKILL)

    def occupy(self, name: str) -> str:
        """A directory of that name that no target made, and a process that runs in it."""
        path = self.base / self.cluster / name
        path.mkdir(parents=True)
        (path / "belongs-to").write_text("somebody else", encoding="ascii")
        self._foreign[str(path)] = subprocess.Popen(["sleep", "600"], cwd=path)
        return str(path)

    def foreign_runs(self, foreign_id: str) -> bool:
        """The process runs and the directory is as it was made."""
        untouched = [entry.name for entry in Path(foreign_id).iterdir()] == ["belongs-to"]
        return untouched and self._foreign[foreign_id].poll() is None

    def clean(self) -> None:
        """Ends what runs by pid and birth, and waits for it."""
        for process in self._foreign.values():
            process.kill()
            process.wait()
        self._foreign.clear()
        for root in [entry for entry in self.base.iterdir() if not entry.name.startswith(".")]:
            directories = ReplicaDirectories(self.base, root.name)
            for name in directories.names():
                standing = directories.standing(name)
                if standing.main is not None:
                    standing.main.signal_group(signal.SIGKILL)
                until = time.monotonic() + 5.0
                while directories.standing(name).condition == "running" and time.monotonic() < until:
                    time.sleep(0.01)
            shutil.rmtree(root)

    def supervisor_pid(self, name: str) -> int:
        """The pid of a running replica's supervisor."""
        supervisor = self.directories.standing(name).supervisor
        assert supervisor is not None
        assert supervisor.alive
        return supervisor.pid


@contextmanager
def open_arena(request: pytest.FixtureRequest) -> Iterator[ProcessArena]:
    """An arena in a directory of its own, cleaned of what the test left; skips where the machine is no Linux."""
    if not sys.platform.startswith("linux"):
        pytest.skip("process target: needs Linux (/proc)")
    with tempfile.TemporaryDirectory(prefix="replicas-") as base:
        arena = ProcessArena(Path(base))
        try:
            yield arena
        finally:
            arena.clean()
