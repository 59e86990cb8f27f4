"""Where replicas run in a system test, seen from outside: real Docker engines, or processes of this machine.

A ground gives the configuration of a target and of revisions that behave in a certain way there, and tells by its own
means, never by the program's, which replicas are and which were ever made.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from autoscaler.adapters.process.record import ReplicaDirectories
from tests.parts.images import engine
from tests.system.engine_watch import CLUSTER_LABEL, EngineWatch

SERVER = """
import os, http.server
class Ok(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Ok).serve_forever()
"""


@dataclass(frozen=True, order=True)
class Standing:
    """A replica that is there: its name without the cluster, whether it runs, and on which host."""

    name: str
    running: bool
    host: str = ""

    @property
    def service(self) -> str:
        return self.name.split(".")[0]

    @property
    def slot(self) -> int:
        return int(self.name.split(".")[1].removeprefix("s"))

    @property
    def revision(self) -> int:
        return int(self.name.split(".")[2].removeprefix("r"))


@dataclass(frozen=True)
class Made:
    """One creation, and when."""

    name: str
    at: float


class Ground(Protocol):
    """One kind of target for one cluster."""

    cluster: str

    def target(self) -> dict[str, Any]:
        """The target's block of the configuration."""
        ...

    def rules(self) -> dict[str, Any]:
        """What a service may run here."""
        ...

    def revision(self, kind: str) -> dict[str, Any]:
        """A revision as the configuration and an event write it: "one", "two", "three" serve; "quits" ends at once;
        "sick" never becomes healthy. Of processes, "serving" is asked for its health and the others merely run."""
        ...

    def standing(self) -> list[Standing]:
        """Every replica of the cluster, by name."""
        ...

    def made(self) -> list[Made]:
        """Every creation so far."""
        ...

    def started(self) -> list[str]:
        """The name of each start so far."""
        ...

    def kill(self, name: str) -> None:
        """End a replica's main process behind the program's back."""
        ...

    def clean(self) -> None:
        """Remove every replica."""
        ...


@dataclass
class DockerGround:
    """Containers on one or more engines, watched by their own events."""

    cluster: str
    urls: Sequence[str]
    watch: EngineWatch
    images: ClassVar = {
        "one": "t/httpd:1",
        "two": "t/httpd:2",
        "quits": "t/quits:1",
        "sick": "t/sick:1",
        "idle": "t/stubborn:1",
    }

    def target(self) -> dict[str, Any]:
        hosts = [{"name": f"h{number}", "url": url} for number, url in enumerate(self.urls, start=1)]
        return {"kind": "docker", "hosts": hosts}

    def rules(self) -> dict[str, Any]:
        return {"images": ["t/*"]}

    def revision(self, kind: str) -> dict[str, Any]:
        base: dict[str, Any] = {"image": self.images[kind], "stop": {"grace": "1s"}, "ports": {"http": 8080}}
        if kind == "sick":
            return base | {"health": {"http": "/absent", "port": "http", "every": "200ms", "start": "0s"}}
        return base | {"health": {"http": "/", "port": "http", "every": "200ms", "start": "2s"}}

    def standing(self) -> list[Standing]:
        found = []
        for number, url in enumerate(self.urls, start=1):
            with engine(url) as client:
                listed = client.containers(all=True, filters={"label": f"{CLUSTER_LABEL}={self.cluster}"})
            for container in listed:
                name = container["Names"][0].removeprefix(f"/{self.cluster}.")
                found.append(Standing(name, container["State"] == "running", f"h{number}"))
        return sorted(found)

    def made(self) -> list[Made]:
        return [Made(self._own(e.name), e.at) for e in self.watch.of(self.cluster, "create")]

    def started(self) -> list[str]:
        return [self._own(event.name) for event in self.watch.of(self.cluster, "start")]

    def kill(self, name: str) -> None:
        with engine(self._url_of(name)) as client:
            client.kill(f"{self.cluster}.{name}", "KILL")

    def remove(self, name: str) -> None:
        """As a person would with ``docker rm -f``."""
        with engine(self._url_of(name)) as client:
            client.remove_container(f"{self.cluster}.{name}", force=True)

    def clean(self) -> None:
        for url in self.urls:
            with engine(url) as client:
                for container in client.containers(all=True, filters={"label": f"{CLUSTER_LABEL}={self.cluster}"}):
                    client.remove_container(container["Id"], force=True)

    def _url_of(self, name: str) -> str:
        (host,) = [replica.host for replica in self.standing() if replica.name == name]
        return self.urls[int(host.removeprefix("h")) - 1]

    def _own(self, name: str) -> str:
        return name.removeprefix(f"{self.cluster}.")


@dataclass
class ProcessGround:
    """Processes below a directory, whose appearance there is watched."""

    cluster: str
    base: Path
    _made: dict[tuple[str, int], float] = field(default_factory=dict)
    _started: dict[tuple[str, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._directories = ReplicaDirectories(self.base, self.cluster)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def target(self) -> dict[str, Any]:
        return {"kind": "process", "dir": str(self.base)}

    def rules(self) -> dict[str, Any]:
        return {"commands": ["/bin/sleep *", "/bin/false", f"{sys.executable} **"]}

    def revision(self, kind: str) -> dict[str, Any]:
        stop = {"stop": {"grace": "1s"}}
        if kind == "quits":
            return stop | {"command": ["/bin/false"]}
        if kind == "serving":
            health = {"http": "/", "port": "http", "every": "200ms", "timeout": "500ms", "start": "2s"}
            command = [sys.executable, "-I", "-S", "-u", "-c", SERVER]
            return stop | {"command": command, "ports": {"http": 8080}, "health": health}
        seconds = {"one": "1001", "two": "1002", "three": "1003", "sick": "1004"}[kind]
        if kind == "sick":
            health = {"http": "/", "port": "http", "every": "200ms", "start": "0s"}
            return stop | {"command": ["/bin/sleep", seconds], "ports": {"http": 8080}, "health": health}
        return stop | {"command": ["/bin/sleep", seconds]}

    def standing(self) -> list[Standing]:
        prefix = f"{self.cluster}."
        return sorted(
            Standing(name.removeprefix(prefix), self._directories.standing(name).condition == "running", "local")
            for name in self._directories.names()
        )

    def made(self) -> list[Made]:
        prefix = f"{self.cluster}."
        found = [Made(name.removeprefix(prefix), at) for (name, _), at in list(self._made.items())]
        return sorted(found, key=lambda made: made.at)

    def started(self) -> list[str]:
        return [name.removeprefix(f"{self.cluster}.") for name, _ in list(self._started)]

    def kill(self, name: str) -> None:
        self.send(name, signal.SIGKILL)

    def send(self, name: str, number: signal.Signals) -> None:
        """A signal to a replica's main process."""
        main = self._directories.standing(f"{self.cluster}.{name}").main
        assert main is not None
        os.kill(main.pid, number)

    def clean(self) -> None:
        self._ended.set()
        self._thread.join()
        for name in self._directories.names():
            main = self._directories.standing(name).main
            if main is not None:
                main.signal_group(signal.SIGKILL)
            until = time.monotonic() + 5.0
            while self._directories.standing(name).condition == "running" and time.monotonic() < until:
                time.sleep(0.01)
        shutil.rmtree(self.base, ignore_errors=True)

    def _look(self) -> None:
        """A record is written once, before its directory appears: its time tells one creation from another."""
        root = self.base / self.cluster
        while not self._ended.wait(0.005):
            try:
                names = [entry.name for entry in os.scandir(root)]
            except FileNotFoundError:
                continue
            for name in names:
                if not name.startswith("."):
                    self._note(self._made, root / name / "record.json", name)
                    self._note(self._started, root / name / "run.json", name)

    def _note(self, into: dict[tuple[str, int], float], file: Path, name: str) -> None:
        try:
            written = file.stat().st_mtime_ns
        except FileNotFoundError:
            return
        into.setdefault((name, written), written / 1e9)
