"""Images for the tests, made of Debian's static busybox by import: two megabytes each, no registry needed.

Imported images have no repository digest, so they are pinned by image id. Two versions of one image differ in the text
that they serve.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from docker.api.client import APIClient
from docker.errors import ImageNotFound

from tests.parts import PartMissing

REPOSITORY = "t/httpd"
"""``t/httpd:1`` serves ``version 1`` on port 8080, ``t/httpd:2`` serves ``version 2``."""

QUITS, STUBBORN, SICK = "t/quits:1", "t/stubborn:1", "t/sick:1"
"""Ends at once with code 3; runs for ever and ignores TERM; serves, and its own HEALTHCHECK fails."""

ALL = (f"{REPOSITORY}:1", f"{REPOSITORY}:2", QUITS, STUBBORN, SICK)

PORT = 8080
PROGRAMS = ("sh", "httpd", "wget", "cat", "echo", "sleep", "seq", "touch", "rm", "test", "false", "true", "kill", "nc")
HTTPD = ["/bin/httpd", "-f", "-p", str(PORT), "-h", "/www"]
SECOND = 1_000_000_000
"""The engine counts durations in nanoseconds."""

CHECK = {"Test": ["CMD", "/bin/false"], "Interval": SECOND // 2, "Timeout": SECOND, "Retries": 1}


def make_images(url: str) -> dict[str, str]:
    """Make every test image on the engine at ``url`` (again is harmless); name -> image id."""
    made = {f"{REPOSITORY}:{version}": import_server(url, str(version)) for version in (1, 2)}
    trap = "trap '' TERM; while :; do sleep 0.2; done"
    made[QUITS] = import_image(url, QUITS, "quits", {"Cmd": ["/bin/sh", "-c", "exit 3"]})
    made[STUBBORN] = import_image(url, STUBBORN, "stubborn", {"Cmd": ["/bin/sh", "-c", trap]})
    made[SICK] = import_image(url, SICK, "sick", {"Entrypoint": HTTPD, "Healthcheck": CHECK})
    return made


def import_server(url: str, text: str, reference: str = "") -> str:
    """Make an image that serves ``version <text>``, by default ``t/httpd:<text>``; its id."""
    config = {"Entrypoint": HTTPD, "ExposedPorts": {f"{PORT}/tcp": {}}}
    return import_image(url, reference or f"{REPOSITORY}:{text}", f"version {text}", config)


def copy_images(source: str, destinations: Sequence[str], references: Sequence[str] = ALL) -> None:
    """Load images of one engine into others, so that their ids are the same everywhere."""
    with engine(source) as client:
        archives = [b"".join(client.get_image(reference)) for reference in references]
    for destination in destinations:
        with engine(destination) as client:
            for archive in archives:
                for progress in client.load_image(archive):
                    assert "error" not in progress, progress


def import_image(
    url: str,
    reference: str,
    page: str,
    config: Mapping[str, object],
    files: Mapping[str, tuple[bytes, int]] | None = None,
) -> str:
    """Import a root file system whose page is ``page``, then give it ``config`` by committing a container of it.
    ``files``: path -> content and mode of what else is in it."""
    with engine(url) as client:
        existing = _id_of(client, reference)
        if existing:
            return existing
        repository, _, tag = reference.rpartition(":")
        root_system = root_file_system(page, files)
        answer = _post(client, "images/create", root_system, fromSrc="-", repo=f"{repository}-root", tag=tag)
        root = json.loads(answer.strip().splitlines()[-1])["status"]
        container = client.create_container(root, command=["/bin/true"])["Id"]
        _post(client, "commit", json.dumps(config).encode(), container=container, repo=repository, tag=tag)
        client.remove_container(container)
        return _id_of(client, reference)


@contextmanager
def engine(url: str) -> Iterator[Any]:
    """The SDK's low-level client of an engine, for what tests do behind the target's back."""
    client = APIClient(base_url=url, version="auto", timeout=60)
    try:
        yield client
    finally:
        client.close()


def _post(client: Any, path: str, body: bytes, **query: str) -> str:
    url = f"{client.base_url}/v{client.api_version}/{path}?{urlencode(query)}"
    answer = client.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=60)
    answer.raise_for_status()
    return str(answer.text)


def _id_of(client: Any, reference: str) -> str:
    try:
        return str(client.inspect_image(reference)["Id"])
    except ImageNotFound:
        return ""


def root_file_system(page: str, more: Mapping[str, tuple[bytes, int]] | None = None) -> bytes:
    """A tar of a small root file system whose web page is ``page``, with ``more`` files in it."""
    busybox = shutil.which("busybox")
    if busybox is None:
        message = "install Debian's busybox-static"
        raise PartMissing(message)
    files = {"bin/busybox": (Path(busybox).read_bytes(), 0o755), "www/index.html": (f"{page}\n".encode(), 0o644)}
    script = "#!/bin/sh\nsleep $QUERY_STRING\nprintf 'Content-Length: %d\\r\\n\\r\\n'\ncat /www/index.html\n"
    files["www/cgi-bin/slow"] = ((script % (len(page) + 1)).encode(), 0o755)
    files["etc/passwd"] = (b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", 0o644)
    files |= more or {}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
        for program in PROGRAMS:
            link = tarfile.TarInfo(f"bin/{program}")
            link.type, link.linkname = tarfile.SYMTYPE, "/bin/busybox"
            archive.addfile(link)
        for folder in ("tmp", "proc", "dev", "sys"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(entry)
    return packed.getvalue()
