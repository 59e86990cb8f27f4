"""Replicas as containers on Docker engines, listed and killed with the SDK's plain client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from docker.api.client import APIClient
from docker.errors import APIError, DockerException, NotFound

from autoscaler.cli.demo import shop
from autoscaler.cli.demo.board import Seen
from autoscaler.cli.demo.busybox_image import import_shop
from autoscaler.cli.demo.stage import DemoFailed

CALL_S = 60
PORT = 8080
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container, where the engine publishes the port
VERSION_LABEL = "version"
CLUSTER_LABEL = "io.eventscaler.cluster"
VERSIONS = (("1.0", False), ("2.0", False), ("3.0", True))
HEALTHY = {"http": "/healthz", "every": "500ms", "timeout": "5s", "failures": 10, "start": "30s"}
BROKEN = {"http": "/healthz", "every": "500ms", "timeout": "5s", "failures": 4, "start": "2s"}


class DockerStage:
    """The pool of ``urls``. Without ``image`` a small one is made for each version and removed at the end."""

    def __init__(self, urls: Sequence[str], cluster: str, image: str) -> None:
        self.parts = f"{len(urls)} Docker host{'s' if len(urls) > 1 else ''}"
        self._urls = {f"h{number}": url for number, url in enumerate(urls, 1)}
        self._cluster = cluster
        self._image = image
        self._made: list[str] = []
        self._engines: dict[str, APIClient] = {}

    def prepare(self) -> None:
        """Every engine answers and has the images; imported ones come from one engine, so that their ids agree."""
        for name, url in self._urls.items():
            try:
                self._engines[name] = APIClient(base_url=url, version="auto", timeout=CALL_S)
            except (DockerException, requests.RequestException) as error:
                raise DemoFailed(f"no Docker engine answers at {url}: {error}. Check --docker") from error
        if self._image:
            return
        first, *others = self._engines.values()
        try:
            for version, broken in VERSIONS:
                reference = self._reference(version)
                self._made.append(reference)
                import_shop(first, reference, version, broken=broken, port=PORT)
                archive = b"".join(first.get_image(reference)) if others else b""
                for engine in others:
                    _load(engine, archive)
        except (DockerException, requests.RequestException) as error:
            raise DemoFailed(f"the demo's images cannot be imported: {error}. Name an image with --image") from error

    def target(self) -> dict[str, Any]:
        """The pool."""
        return {"kind": "docker", "hosts": [{"name": name, "url": url} for name, url in self._urls.items()]}

    def service(self) -> dict[str, Any]:
        """Deployment events may bring the demo's images, or the one named with any arguments."""
        if self._image:
            repository = self._image.partition("@")[0]
            head, slash, tail = repository.rpartition("/")
            allowed = head + slash + tail.partition(":")[0]
            return {"images": [allowed], "commands": ["**"], "revision": self.revision("1.0")}
        return {"images": [self._cluster], "revision": self.revision("1.0")}

    def revision(self, version: str, *, broken: bool = False) -> dict[str, Any]:
        """An image of that version, or the named image with the shop's program as an argument."""
        revision: dict[str, Any] = {
            "image": self._image or self._reference(version),
            "ports": {"http": PORT},
            "health": BROKEN if broken else HEALTHY,
            "stop": {"grace": "5s"},
            "labels": {VERSION_LABEL: version},
        }
        if self._image:
            program = Path(shop.__file__).read_text(encoding="utf-8")
            revision["entrypoint"] = ["python3", "-c", program]
            revision["env"] = {"SHOP_ADDRESS": EVERYWHERE}
            revision["command"] = [version, *(["broken"] if broken else [])]
        return revision

    def look(self) -> Sequence[Seen]:
        """Every running container that carries our cluster's label."""
        found = []
        for host, engine in self._engines.items():
            for container in engine.containers(filters={"label": f"{CLUSTER_LABEL}={self._cluster}"}):
                published = [port for port in container["Ports"] if port.get("PublicPort")]
                if published:
                    found.append(self._seen(host, container, published[0]["PublicPort"]))
        return sorted(found, key=lambda seen: seen.name)

    def identity(self, answer: Mapping[str, Any]) -> str:
        """A container says its short id where it runs the shop's own program."""
        return str(answer.get("host", ""))

    def shortened(self, text: str) -> str:
        """Without the cluster's name."""
        return text.replace(f"{self._cluster}:", "shop:")

    def kill(self, replica: Seen) -> None:
        """SIGKILL, from the engine."""
        self._engines[replica.host].kill(replica.id, "KILL")

    def clear(self) -> list[str]:
        """Containers of our cluster and images of our making are gone."""
        left: list[str] = []
        for host, engine in self._engines.items():
            try:
                for container in engine.containers(all=True, filters={"label": f"{CLUSTER_LABEL}={self._cluster}"}):
                    _removed(engine.remove_container, container["Id"], v=True, force=True)
                for reference in self._made:
                    _removed(engine.remove_image, reference, force=True)
            except (DockerException, requests.RequestException) as error:
                left.append(f"containers or images of {self._cluster} on {host}: {error}")
            engine.close()
        return left

    def _reference(self, version: str) -> str:
        return f"{self._cluster}:{version}"

    def _seen(self, host: str, container: Mapping[str, Any], port: int) -> Seen:
        parts = urlsplit(self._urls[host])
        address = parts.hostname if parts.scheme in {"tcp", "ssh"} and parts.hostname else "127.0.0.1"
        name = str(container["Names"][0]).lstrip("/").removeprefix(f"{self._cluster}.")
        version = container["Labels"].get(VERSION_LABEL, "")
        return Seen(str(container["Id"])[:12], name, host, version, f"{address}:{port}")


def _load(engine: Any, archive: bytes) -> None:
    for progress in engine.load_image(archive):
        if "error" in progress:
            raise DemoFailed(f"the demo's image cannot be loaded: {progress['error']}")


def _removed(remove: Any, name: str, **how: bool) -> None:
    """It is gone; that somebody else was faster is as good."""
    try:
        remove(name, **how)
    except NotFound:
        return
    except APIError as error:
        if "already in progress" not in str(error):
            raise
