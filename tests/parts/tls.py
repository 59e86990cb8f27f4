"""A certificate authority and two certificates (server, client) in PEM, valid for loopback and a month."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.parts.processes import find_program

EXTENSIONS = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_certificates(directory: Path) -> None:
    """Write ca.pem, server.{key,crt,pem} and client.{key,crt}."""
    openssl = find_program("openssl", "install OpenSSL (Debian: openssl)")
    directory.mkdir(parents=True)
    (directory / "extensions").write_text(EXTENSIONS)

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=directory, check=True, capture_output=True, timeout=60)

    run("req", "-x509", *KEY, "-days", "30", "-subj", "/CN=test-ca", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("server", "client"):
        run("req", *KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        authority = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        run(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            *authority,
            "-days",
            "30",
            "-out",
            f"{name}.crt",
            "-extfile",
            "extensions",
        )
    chain = "".join((directory / name).read_text() for name in ("server.key", "server.crt", "ca.pem"))
    (directory / "server.pem").write_text(chain)
