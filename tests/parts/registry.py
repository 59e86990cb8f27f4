"""A small image registry on loopback, enough for an engine to pull from: HTTP, optional basic authentication.

Engines take plain HTTP from 127.0.0.0/8 without being told to. ``log`` holds what was asked for.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from tests.parts.images import HTTPD, PORT, root_file_system

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry:
    """Images by ``repository:tag``; ``host`` is what stands before an image's name."""

    def __init__(self, login: tuple[str, str] | None) -> None:
        self.log: list[str] = []
        self.login = login
        self._content: dict[str, tuple[str, bytes]] = {}
        registry = self

        class Handler(_Handler):
            owner = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"

    def push(self, repository: str, tag: str, text: str, architecture: str = "amd64") -> str:
        """Put a server of ``version <text>`` under a tag; its digest. The program in it is this machine's, whatever
        ``architecture`` says."""
        tar = root_file_system(f"version {text}")
        layer = gzip.compress(tar, mtime=0)
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": HTTPD, "ExposedPorts": {f"{PORT}/tcp": {}}},
            "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]},
            "history": [{"created": "2024-01-01T00:00:00Z"}],
        }
        packed = json.dumps(config).encode()
        for kind, blob in ((LAYER, layer), (CONFIG, packed)):
            self._content[f"/v2/{repository}/blobs/{_digest(blob)}"] = (kind, blob)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, "size": len(packed), "digest": _digest(packed)},
                "layers": [{"mediaType": LAYER, "size": len(layer), "digest": _digest(layer)}],
            }
        ).encode()
        return self._put(repository, tag, MANIFEST, manifest)

    def push_list(self, repository: str, tag: str, text: str, architectures: Sequence[str]) -> str:
        """Put a manifest list under a tag, with one server for each architecture and a statement beside it; its
        digest."""
        entries = []
        for architecture in (*architectures, "unknown"):
            digest = self.push(repository, f"{tag}-{architecture}", text, architecture)
            _, manifest = self._content[f"/v2/{repository}/manifests/{digest}"]
            system = "linux" if architecture != "unknown" else "unknown"
            platform = {"architecture": architecture, "os": system}
            entries.append({"mediaType": MANIFEST, "size": len(manifest), "digest": digest, "platform": platform})
        return self._put(
            repository,
            tag,
            LIST,
            json.dumps({"schemaVersion": 2, "mediaType": LIST, "manifests": entries}).encode(),
        )

    def _put(self, repository: str, tag: str, kind: str, manifest: bytes) -> str:
        for reference in (tag, _digest(manifest)):
            self._content[f"/v2/{repository}/manifests/{reference}"] = (kind, manifest)
        return _digest(manifest)

    def answer(self, path: str, authorization: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of a request."""
        self.log.append(path)
        if self.login is not None:
            wanted = base64.b64encode(":".join(self.login).encode()).decode()
            if authorization != f"Basic {wanted}":
                return 401, {"WWW-Authenticate": 'Basic realm="registry"'}, b"{}"
        if path == "/v2/":
            return 200, {}, b"{}"
        if path not in self._content:
            error = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            return 404, {"Content-Type": "application/json"}, json.dumps(error).encode()
        kind, body = self._content[path]
        return 200, {"Content-Type": kind, "Docker-Content-Digest": _digest(body)}, body

    def serve(self) -> None:
        """Answer until closed."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: ClassVar[Registry]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, headers, body = self.owner.answer(self.path, self.headers.get("Authorization", ""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing: the owner keeps the log."""


@contextmanager
def registry(login: tuple[str, str] | None = None) -> Iterator[Registry]:
    """A running registry; ``login``: the only user and password that it lets in."""
    opened = Registry(login)
    thread = threading.Thread(target=opened.serve, daemon=True)
    thread.start()
    try:
        yield opened
    finally:
        opened.close()
        thread.join()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
