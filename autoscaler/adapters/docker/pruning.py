"""Removing an image from one host: only under the names that we gave it, and only where nothing there uses it.

The engine is never asked to force anything: what it refuses to remove stays.
"""

from __future__ import annotations

from docker.errors import APIError, ImageNotFound

from autoscaler.adapters.docker.client import EngineClient
from autoscaler.adapters.docker.failures import read_failure
from autoscaler.core.revision import Pairs
from autoscaler.ports.target import Pruned


def prune(client: EngineClient, images: Pairs, needed: frozenset[str], host: str) -> list[Pruned]:
    """What became of each image (as written, pinned content) on this host."""
    return [_prune(client, image, pinned, needed, host) for image, pinned in images]


def _prune(client: EngineClient, image: str, pinned: str, needed: frozenset[str], host: str) -> Pruned:
    try:
        found = client.image(pinned)
    except ImageNotFound:
        return Pruned(host, pinned, "absent")
    identity = str(found["Id"])
    names = {*(found.get("RepoTags") or ()), *(found.get("RepoDigests") or ())} - {"<none>:<none>", "<none>@<none>"}
    if identity in needed or not needed.isdisjoint(names):
        return Pruned(host, pinned, "used", "a kept revision runs it under another name")
    others = sorted(names - {tagged(image), pinned})
    if others:
        return Pruned(host, pinned, "named", f"it has other names: {', '.join(others)}")
    if client.containers(all=True, filters={"ancestor": identity}):
        return Pruned(host, pinned, "used", "a container uses it")
    try:
        # The tag first: with its last tag gone, the engine drops the digest of the same repository by itself.
        for name in sorted(names, key=lambda name: "@" in name):
            _forget(client, name)
    except APIError as error:
        failure = read_failure(error, "remove")
        if failure.result != "conflict":
            raise
        return Pruned(host, pinned, "used", failure.text)
    return Pruned(host, pinned, "removed")


def _forget(client: EngineClient, name: str) -> None:
    try:
        client.remove_image(name, noprune=True)
    except ImageNotFound:
        return


def tagged(image: str) -> str:
    """The tag that a pull of the image as written leaves on a host; empty where it was written with a digest."""
    name, at, _ = image.partition("@")
    if at:
        return ""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
