"""From an image as written to the content that really runs: asked of all hosts, the same on all, pinned once.

A digest where the image has one (any host can pull exactly that), else the engine's image id (imported and locally
built images have no digest; nobody can pull those).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from docker.auth import resolve_repository_name
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import parse_repository_tag

from autoscaler.adapters.docker.client import EngineClient
from autoscaler.adapters.docker.failures import CallFailed, Failure, pull_failure
from autoscaler.configuration.settings import Registry
from autoscaler.core.revision import RevisionSpec

HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
"""Names of the registry that is meant where none is written."""

_ID = re.compile(r"(sha256:)?[0-9a-f]{64}")

PullRule = Literal["missing", "always", "never"]


@dataclass(frozen=True, slots=True)
class Image:
    """What one host has under a name: the engine's ``id``, the repository digests (``shop/web@sha256:..``) and the
    platform that it is made for, as a host's is written."""

    id: str
    digests: frozenset[str] = frozenset()
    platform: str = ""


def look_up(client: EngineClient, reference: str) -> Image | None:
    """The image of that name, digest or id on this host, or None."""
    try:
        inspected = client.image(reference)
    except ImageNotFound:
        return None
    return Image(str(inspected["Id"]), frozenset(inspected.get("RepoDigests") or ()), platform_of(inspected))


def platform_of(told: Mapping[str, Any]) -> str:
    """``linux/amd64`` of an image or of an entry of a manifest list; a variant (v7, v8) does not count, as engines do
    not tell their own. Empty where it says none."""
    words = {
        str(name).lower(): str(value) for name, value in told.items() if str(name).lower() in ("os", "architecture")
    }
    system, architecture = words.get("os", ""), words.get("architecture", "")
    return f"{system}/{architecture}" if system and architecture else ""


def platforms_at_registry(client: EngineClient, pinned: str, credentials: Mapping[str, str] | None) -> tuple[str, ...]:
    """What the registry's manifest, or each entry of its manifest list, is made for; asked by the engine, nothing is
    pulled. An entry for ``unknown`` is no image but a statement about one."""
    found = cast("Any", client).inspect_distribution(pinned, auth_config=dict(credentials or {}))
    told = {platform_of(entry) for entry in found.get("Platforms") or ()}
    return tuple(sorted(platform for platform in told if platform and not platform.startswith("unknown/")))


def images_of(client: EngineClient) -> Sequence[Mapping[str, Any]]:
    """Every image of the host with its size; none where the engine will not list them, as only a score asks."""
    try:
        listed: Sequence[Mapping[str, Any]] = client.images()
    except APIError:
        return ()
    return listed


def pull(client: EngineClient, reference: str, credentials: Mapping[str, str] | None) -> Image:
    """Pull a tag or digest to this host and return what it is. Raises CallFailed where the registry or host says no."""
    repository, tag = parse_repository_tag(reference)
    # An empty login, never None: without one the SDK reads the user's config.json again, at this very moment.
    login = dict(credentials or {})
    for progress in client.pull(repository, tag=tag or "latest", stream=True, decode=True, auth_config=login):
        client.left_s()
        if "error" in progress:
            raise CallFailed(pull_failure(str(progress["error"])))
    image = look_up(client, reference)
    if image is None:
        raise CallFailed(Failure("unavailable", f"{reference} was pulled and is gone again", "host", answered=True))
    return image


def credentials_for(reference: str, registries: Sequence[Registry]) -> dict[str, str] | None:
    """The login that the configuration has for the image's registry; reads the password's file. Raises CallFailed."""
    try:
        host, _ = resolve_repository_name(parse_repository_tag(reference)[0])
    except DockerException as error:
        raise CallFailed(Failure("refused", f"{reference} is not an image name: {error}", "revision")) from None
    names = HUB if host in HUB else (host,)
    registry = next((registry for registry in registries if registry.host in names), None)
    if registry is None:
        return None
    password = ""
    if registry.password_file is not None:
        try:
            password = registry.password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            text = f"registry {registry.host}: its password file cannot be read"
            raise CallFailed(Failure("unavailable", text)) from None
    return {"username": registry.username, "password": password}


def pull_rule(spec: RevisionSpec) -> PullRule:
    """The rule as written, else *always* for a name that moves (``latest`` or no tag), *missing* for others."""
    if spec.pull:
        return spec.pull
    if _ID.fullmatch(spec.image):
        return "never"
    tag = parse_repository_tag(spec.image)[1]
    return "always" if tag in (None, "", "latest") else "missing"


def can_pull(pinned: str) -> bool:
    """Whether a host that lacks this content could get it: a digest can be pulled, an image id cannot."""
    return "@" in pinned


def choose_pin(reference: str, images: Mapping[str, Image]) -> str:
    """The one content of ``images`` (by host): a digest that all have, else the id that is the same on all; else ''."""
    repository = parse_repository_tag(reference)[0]
    common = frozenset[str].intersection(*(image.digests for image in images.values()))
    digests = sorted(digest for digest in common if digest.split("@")[0] == repository)
    if digests:
        return reference if reference in digests else digests[0]
    ids = {image.id for image in images.values()}
    return ids.pop() if len(ids) == 1 else ""


def describe(images: Mapping[str, Image]) -> str:
    """Hosts and ids for a person."""
    return ", ".join(f"{host} has {image.id[:19]}" for host, image in sorted(images.items()))
