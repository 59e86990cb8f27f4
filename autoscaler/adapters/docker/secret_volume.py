"""Secrets inside a container: files of a volume of its own, put there between creation and start.

Not on a tmpfs: an engine mounts one only when the container starts, and its API then puts nothing into it before the
program runs. The volume has no name, so it goes with its container, is in no commit or export of it, and can be filled
where the root file system is read-only. Nothing of it is seen by who inspects the container but that it is there.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from docker.errors import APIError, NotFound

from autoscaler.adapters.docker.client import EngineClient

FOLDER = "/run/secrets"
"""Where Swarm and Compose have them as well."""

PASSWD_MAX = 1024 * 1024
MODE = 0o400


def paths_of(names: Mapping[str, object]) -> dict[str, str]:
    """Where each secret is in its container."""
    return {name: f"{FOLDER}/{name}" for name in names}


def mount(label: str, cluster: str) -> dict[str, Any]:
    """The volume in the words of the engine's create call."""
    return {"Type": "volume", "Target": FOLDER, "VolumeOptions": {"NoCopy": True, "Labels": {label: cluster}}}


def deliver(client: EngineClient, inspected: Mapping[str, Any], secrets: Mapping[str, bytes]) -> None:
    """Write the secrets of a created container, readable by its user alone; again is harmless."""
    container = str(inspected["Id"])
    owner = _user_number(client, container, str(inspected["Config"].get("User") or ""))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in secrets.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.mtime = len(content), MODE, owner, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
    client.put_archive(container, FOLDER, packed.getvalue())


def sweep(client: EngineClient, label: str, cluster: str) -> None:
    """Remove this cluster's secrets that no container has any more: a hand that removes a container leaves its volume.
    What the engine will not remove stays for the next time."""
    with suppress(APIError):
        left = client.volumes(filters={"label": f"{label}={cluster}", "dangling": "true"})
        for volume in left.get("Volumes") or ():
            client.remove_volume(str(volume["Name"]))


def _user_number(client: EngineClient, container: str, user: str) -> int:
    """The number of the container's user. 0 where nobody can say: a name that is not in the container's own passwd,
    which the engine refuses to start."""
    name = user.partition(":")[0]
    if not name or name.isdecimal():
        return int(name or 0)
    try:
        stream, _ = client.get_archive(container, "/etc/passwd")
    except NotFound:
        return 0
    packed = b"".join(stream)[:PASSWD_MAX]
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        member = archive.next()
        content = archive.extractfile(member) if member is not None else None
        for line in content.read().decode(errors="replace").splitlines() if content is not None else ():
            fields = line.split(":")
            if fields[0] == name and len(fields) > 2 and fields[2].isdecimal():  # noqa: PLR2004 - the third is the number
                return int(fields[2])
    return 0
