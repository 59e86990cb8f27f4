"""An image of two megabytes for each version of the shop: this machine's static busybox, serving files."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

from docker.api.client import APIClient

from autoscaler.cli.demo.stage import DemoFailed

STATIC_INTERPRETER = b"/ld-"
"""A program that needs a loader names it; such a busybox cannot run in an empty root."""
PROGRAMS = ("sh", "httpd")
HEAD_BYTES = 4096


def import_shop(engine: APIClient, reference: str, version: str, *, broken: bool, port: int) -> None:
    """The engine has an image of that name that serves its version at every path; a broken one serves nothing."""
    repository, _, tag = reference.partition(":")
    entrypoint = json.dumps(["/bin/httpd", "-f", "-p", str(port), "-h", "/www"])
    engine.import_image_from_data(
        root_file_system(version, broken=broken),
        repository=repository,
        tag=tag,
        changes=[f"ENTRYPOINT {entrypoint}", f"EXPOSE {port}/tcp"],
    )


def root_file_system(version: str, *, broken: bool) -> bytes:
    """A tar of the whole root. Raises `DemoFailed` where this machine has no static busybox."""
    found = shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin")
    program = Path(found).read_bytes() if found else b""
    if not program or STATIC_INTERPRETER in program[:HEAD_BYTES]:
        raise DemoFailed("there is no static busybox here to make an image of. Name an image that has python3: --image")
    answer = json.dumps({"version": version}).encode()
    pages = {} if broken else {"www/index.html": answer, "www/healthz": answer}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for folder in ("bin", "www", "tmp", "proc", "dev", "sys"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content in {"bin/busybox": program, **pages}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
        for name in PROGRAMS:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/bin/busybox"
            archive.addfile(entry)
    return packed.getvalue()
