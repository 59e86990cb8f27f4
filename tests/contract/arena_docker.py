"""The docker target's arena: one real engine, and test images imported into it."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlparse

import pytest
from docker.errors import NotFound

from autoscaler.adapters.docker import DockerTarget
from autoscaler.configuration.settings import HostSettings, TargetSettings
from autoscaler.core.revision import Port, Resources, RevisionSpec, Stop
from autoscaler.core.world import ObservedReplica
from tests.contract.arena import Arena
from tests.parts import images

CLUSTER_LABEL = "io.eventscaler.cluster"


def host_settings(name: str, url: str) -> HostSettings:
    """A host as the configuration would have it: published where it is reached."""
    address = urlparse(url).hostname or "127.0.0.1"
    return HostSettings(name, url, address, address)


class DockerArena:
    """Implements `tests.contract.arena.Arena`."""

    kind = "docker"
    host = "h1"

    def __init__(self, url: str) -> None:
        self.url = url
        self.images = images.make_images(url)
        self.cluster = f"t{secrets.token_hex(4)}"
        self._clusters = {self.cluster}
        self._foreign: list[str] = []

    def target(self, cluster: str = "") -> DockerTarget:
        """A new, unopened target."""
        self._clusters.add(cluster or self.cluster)
        return DockerTarget(self.target_settings(), cluster or self.cluster, ())

    def target_settings(self) -> TargetSettings:
        """What a configuration would say of it."""
        return TargetSettings("edge", "docker", hosts=(host_settings(self.host, self.url),))

    def unresolved(self) -> RevisionSpec:
        """A tag."""
        return RevisionSpec(image="t/httpd:1")

    def missing(self) -> RevisionSpec:
        """An image that is not there and may not be pulled."""
        return RevisionSpec(image="t/no-such-image:1", pull="never")

    def serves(self) -> RevisionSpec:
        """Busybox' httpd."""
        ports = (("http", Port(images.PORT)),)
        resources = Resources(cpu_millis=100, memory_bytes=32 * 1024 * 1024)
        return replace(self._pinned("t/httpd:1"), ports=ports, resources=resources, stop=Stop(grace_s=5.0))

    def shell(self, script: str) -> RevisionSpec:
        """Runs a script with busybox' shell."""
        return replace(self._pinned("t/httpd:1"), entrypoint=("/bin/sh", "-c"), command=(script,))

    def exits(self, code: int) -> RevisionSpec:
        """Ends at once."""
        return self.shell(f"exit {code}")

    def ignores_term(self) -> RevisionSpec:
        """Runs for ever."""
        return self._pinned(images.STUBBORN)

    def prints(self, count: int) -> RevisionSpec:
        """Prints, then runs on."""
        return self.shell(f"for n in $(seq {count}); do echo line $n; done; while :; do sleep 1; done")

    def cannot_run(self) -> RevisionSpec:
        """Its entrypoint is not in the image."""
        return replace(self._pinned("t/httpd:1"), entrypoint=("no-such-program",))

    def kill(self, replica: ObservedReplica) -> None:
        """SIGKILL to the container's first process; through the engine where that is on another machine."""
        with images.engine(self.url) as client:
            if self.url.startswith("unix://"):
                os.kill(client.inspect_container(replica.id)["State"]["Pid"], signal.SIGKILL)
            else:
                client.kill(replica.id, "SIGKILL")

    def occupy(self, name: str) -> str:
        """A container of that name without our label."""
        with images.engine(self.url) as client:
            foreign = str(client.create_container("t/httpd:1", name=name)["Id"])
            client.start(foreign)
        self._foreign.append(foreign)
        return foreign

    def foreign_runs(self, foreign_id: str) -> bool:
        """It runs since its only start."""
        with images.engine(self.url) as client:
            shown = client.inspect_container(foreign_id)
            return bool(shown["State"]["Running"]) and shown["RestartCount"] == 0

    def clean(self) -> None:
        """Removes the containers of every cluster that a target was made for, and the foreign ones."""
        with images.engine(self.url) as client:
            found = list(self._foreign)
            for cluster in self._clusters:
                of_cluster = client.containers(all=True, filters={"label": f"{CLUSTER_LABEL}={cluster}"})
                found += [summary["Id"] for summary in of_cluster]
            for container in found:
                try:
                    client.remove_container(container, force=True, v=True)
                except NotFound:
                    continue
        self._foreign.clear()

    def _pinned(self, reference: str) -> RevisionSpec:
        return RevisionSpec(image=reference, pinned=self.images[reference])


@contextmanager
def open_arena(request: pytest.FixtureRequest) -> Iterator[DockerArena]:
    """An arena on the run's engine, cleaned of what the test left; the fixture skips where there is none."""
    arena = DockerArena(request.getfixturevalue("docker_host"))
    _: Arena = arena
    try:
        yield arena
    finally:
        arena.clean()
