"""What a container may be given that takes it out of its isolation: nothing, unless the operator's ``allow`` says so.

Asked by the configuration for its own revision and by `decide` for every deployment, so that what was allowed once and
is not any more comes no further. Pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from autoscaler.core.revision import RevisionSpec
from autoscaler.core.settings import Permissions

Step = str | int

ENGINE_PATHS = (
    "/run/docker.sock",
    "/run/docker",
    "/run/containerd",
    "/run/podman",
    "/run/crio",
    "/run/user",
    "/var/lib/docker",
    "/var/lib/containerd",
)
"""Where engines listen and keep what they run (``/var/run`` is ``/run``)."""

SOCKETS = ("docker.sock", "containerd.sock", "podman.sock", "crio.sock")
"""Names of engines' sockets, wherever they are."""

SHARED_ENTRIES = ("pid", "ipc")
"""Fields whose only value is the host's own namespace."""


@dataclass(frozen=True, slots=True)
class Denial:
    """One thing that the spec asks for and nobody allowed: where it stands in the revision, and how it is allowed."""

    steps: tuple[Step, ...]
    what: str
    remedy: str

    @property
    def text(self) -> str:
        """The denial as one sentence after another, its place first."""
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.steps).lstrip(".")
        return f"{place} {self.what}. {self.remedy}"


def denials(spec: RevisionSpec, allowed: Permissions) -> tuple[Denial, ...]:
    """Everything of ``spec`` that is not allowed, in the order in which the fields stand."""
    return tuple(_found(spec, allowed))


def _found(spec: RevisionSpec, allowed: Permissions) -> Iterator[Denial]:
    if spec.privileged and not allowed.privileged:
        yield Denial(("privileged",), "gives the container the whole host", _remedy("privileged: true"))
    for index, capability in enumerate(spec.cap_add):
        if capability not in allowed.capabilities:
            what = f"adds the capability {capability}"
            yield Denial(("cap_add", index), what, _remedy(f"capabilities: [{capability}]"))
    for index, device in enumerate(spec.devices):
        path = source_of(device)
        if path not in allowed.devices:
            yield Denial(("devices", index), f"hands out the host's {path}", _remedy(f"devices: [{path}]"))
    for name in SHARED_ENTRIES:
        if getattr(spec, name) == "host" and name not in allowed.namespaces:
            yield Denial((name,), f"shares the host's {name} namespace", _remedy(f"namespaces: [{name}]"))
    yield from _of_networks(spec, allowed)
    yield from _of_volumes(spec, allowed)
    yield from _of_resources(spec, allowed)


def _remedy(entry: str) -> str:
    return f"Remove it, or write allow: {{{entry}}}"


def _of_networks(spec: RevisionSpec, allowed: Permissions) -> Iterator[Denial]:
    for index, network in enumerate(spec.networks):
        if network == "host" and "network" not in allowed.namespaces:
            yield Denial(("networks", index), "shares the host's network", _remedy("namespaces: [network]"))


def _of_volumes(spec: RevisionSpec, allowed: Permissions) -> Iterator[Denial]:
    for index, volume in enumerate(spec.volumes):
        path = source_of(volume)
        if not path.startswith("/"):
            continue  # a named volume, which the engine keeps among its own
        if reaches_engine(path) and not allowed.engine_socket:
            what = f"reaches the engine through {path}, and with it the whole host"
            yield Denial(("volumes", index), what, _remedy("engine_socket: true"))
        elif not reaches_engine(path) and not _mount_allowed(path, volume.endswith(":ro"), allowed.mounts):
            entry = f'mounts: ["{path}:ro"]' if volume.endswith(":ro") else f'mounts: ["{path}"]'
            yield Denial(("volumes", index), f"mounts the host's {path}", _remedy(entry))


def source_of(entry: str) -> str:
    """The host's side of a volume or device, without ``..`` and double slashes; a named volume's name."""
    source = entry.partition(":")[0]
    # normpath keeps two leading slashes, which mean one.
    return "/" + posixpath.normpath(source).lstrip("/") if source.startswith("/") else source


def reaches_engine(path: str) -> bool:
    """Whether an engine's socket or its data lie at, below or above the path; ``/var/run`` is ``/run``."""
    plain = path.removeprefix("/var") if path == "/var/run" or path.startswith("/var/run/") else path
    if posixpath.basename(plain) in SOCKETS:
        return True
    return any(_within(plain, engine) or _within(engine, plain) for engine in ENGINE_PATHS)


def _within(path: str, directory: str) -> bool:
    return directory in ("/", path) or path.startswith(f"{directory}/")


def _mount_allowed(path: str, read_only: bool, mounts: tuple[str, ...]) -> bool:  # noqa: FBT001 - one fact of the mount
    return any(_within(path, source_of(entry)) and (read_only or not entry.endswith(":ro")) for entry in mounts)


def _of_resources(spec: RevisionSpec, allowed: Permissions) -> Iterator[Denial]:
    limits = (
        ("cpu", spec.resources.cpu_millis, allowed.cpu_millis, "{}m"),
        ("memory", spec.resources.memory_bytes, allowed.memory_bytes, "{} bytes"),
    )
    for name, asked, most, shown in limits:
        if most and not asked:
            what, remedy = f"is not limited, and allow.{name} is {shown.format(most)}", "Give it, at most so much"
            yield Denial(("resources", name), what, remedy)
        elif most and asked > most:
            what = f"{shown.format(asked)} is above allow.{name}, {shown.format(most)}"
            yield Denial(("resources", name), what, f"Lower it or raise allow.{name}")
