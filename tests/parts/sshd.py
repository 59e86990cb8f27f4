"""An OpenSSH server of the suite's own: on loopback, for one key, which it makes with the client's configuration."""

from __future__ import annotations

import getpass
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from tests.parts.processes import Process, accepts, await_probe, find_program, free_ports, run, spawn

REMEDY = "install Debian's openssh-server and openssh-client"


@dataclass(frozen=True)
class Sshd:
    """A running server; ``config`` is the client's configuration for the host ``engine``."""

    config: Path
    process: Process

    def stop(self) -> None:
        """End it with the connections that it has."""
        sessions = psutil.Process(self.process.pid).children(recursive=True) if self.process.alive else []
        self.process.end()
        for session in sessions:
            with suppress(psutil.NoSuchProcess):
                session.kill()

    def __enter__(self) -> Sshd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(directory: Path, port: int = 0, *, known: bool = True) -> Sshd:
    """Start a server below a directory. With ``known=False`` the client has not met it before."""
    program = find_program("sshd", REMEDY)
    for each in ("ssh", "ssh-keygen"):
        find_program(each, REMEDY)
    directory.mkdir(parents=True, exist_ok=True)
    Path("/run/sshd").mkdir(exist_ok=True)  # where the server's unprivileged half lives
    port = port or free_ports(1)[0]
    for name in ("host", "user"):
        if not (directory / name).exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name), remedy=REMEDY)
    host_key = (directory / "host.pub").read_text()
    (directory / "known").write_text(f"[127.0.0.1]:{port} {host_key}" if known else "")
    server = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {directory}/host",
        f"AuthorizedKeysFile {directory}/user.pub",
        "StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin prohibit-password",
        f"PidFile {directory}/sshd.pid",
    ]  # fmt: skip
    (directory / "sshd_config").write_text("\n".join(server) + "\n")
    client = [
        "Host engine", "  HostName 127.0.0.1", f"  Port {port}", f"  User {getpass.getuser()}",
        f"  IdentityFile {directory}/user", "  IdentitiesOnly yes", f"  UserKnownHostsFile {directory}/known",
        "  GlobalKnownHostsFile none",
    ]  # fmt: skip
    (directory / "client").write_text("\n".join(client) + "\n")
    process = spawn([program, "-D", "-e", "-f", f"{directory}/sshd_config"], directory / "sshd.log")
    server_up = Sshd(directory / "client", process)
    try:
        await_probe("sshd", lambda: accepts(port), [process], seconds=20.0)
    except BaseException:
        server_up.stop()
        raise
    return server_up
