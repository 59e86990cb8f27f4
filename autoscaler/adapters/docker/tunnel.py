"""An engine behind ssh: its socket, forwarded to one of ours by the machine's own ssh client.

The user's ssh configuration says keys, known hosts and jumps; nothing is asked for, and an unknown host is refused. The
client is started again when it ends, ever more slowly; meanwhile the host does not answer, as any that is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from autoscaler.configuration.settings import HostSettings
from autoscaler.errors import Problem

REMOTE_SOCKET = "/var/run/docker.sock"
OPTIONS = {
    "BatchMode": "yes",  # asks nobody: an unknown host key or a key with a passphrase is an error
    "ExitOnForwardFailure": "yes",
    "ConnectTimeout": "5",
    "ServerAliveInterval": "5",  # a connection that is cut is given up after 15 s
    "ServerAliveCountMax": "3",
    "StreamLocalBindUnlink": "yes",
    "ControlPath": "none",
    "ClearAllForwardings": "no",
}
AGAIN_FIRST_S, AGAIN_LAST_S = 0.5, 30.0
"""Wait before ssh is started again, doubled while it ends early."""

LASTED_S = 10.0
UP_S = 3.0
"""Longest wait of `open` for the forwarded socket."""

STOP_S = 2.0
LOOK_EVERY_S = 0.05
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")

LOG = logging.getLogger(__name__)


class Tunnel:
    """One ssh client. `settings` is the host as it is reached through it."""

    def __init__(self, host: HostSettings) -> None:
        self._host = host
        # A short path: a socket's may have 107 bytes.
        self._directory = Path(tempfile.gettempdir()) / f"eventscaler-ssh-{secrets.token_hex(6)}"
        self._socket = self._directory / "engine.sock"
        self._task: asyncio.Task[None] | None = None

    @property
    def settings(self) -> HostSettings:
        """The host, its url that of the forwarded socket."""
        return replace(self._host, url=f"unix://{self._socket}")

    async def open(self) -> None:
        """Start ssh; returns when the engine's socket is there, or after a few seconds."""
        self._directory.mkdir(mode=0o700)
        self._task = asyncio.create_task(self._keep(), name=f"docker-{self._host.name}-ssh")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UP_S):
                while not self._socket.exists():  # noqa: ASYNC110 - made by another process
                    await asyncio.sleep(LOOK_EVERY_S)

    async def close(self) -> None:
        """End ssh and take the socket away."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = AGAIN_FIRST_S
        while True:
            begun = loop.time()
            try:
                process = await asyncio.create_subprocess_exec(
                    *command(self._host, self._socket), stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
                )
            except OSError as error:
                LOG.warning("ssh to host %s cannot be started: %s", self._host.name, error.strerror)
            else:
                said = await _ended(process)
                LOG.warning("ssh to host %s ended: %s", self._host.name, said or f"code {process.returncode}")
            lasted = loop.time() - begun > LASTED_S
            wait_s = AGAIN_FIRST_S if lasted else min(AGAIN_LAST_S, 2 * wait_s)
            await asyncio.sleep(wait_s)


async def _ended(process: Process) -> str:
    """The last line that ssh said before its end; if we are cancelled meanwhile, ssh is ended first."""
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        await _end(process)
        raise
    lines = said.decode(errors="replace").strip().splitlines()
    return " ".join(lines[-1].split())[:200] if lines else ""


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def command(host: HostSettings, socket: Path) -> list[str]:
    """The ssh client's argv for an ``ssh://user@host:port/remote/socket`` url."""
    parts = urlsplit(host.url)
    words = ["ssh", "-nNT"]
    if host.ssh_config is not None:
        words += ["-F", str(host.ssh_config)]
    for name, value in OPTIONS.items():
        words += ["-o", f"{name}={value}"]
    if parts.port is not None:
        words += ["-p", str(parts.port)]
    remote = parts.path if parts.path not in ("", "/") else REMOTE_SOCKET
    destination = f"{parts.username}@{parts.hostname}" if parts.username else str(parts.hostname)
    return [*words, "-L", f"{socket}:{remote}", "--", destination]


def check_ssh(host: HostSettings, path: str) -> list[Problem]:
    """What is wrong with an ssh:// host on this machine."""
    parts = urlsplit(host.url)
    if not (parts.hostname and WORD.fullmatch(parts.hostname) and WORD.fullmatch(parts.username or "root")):
        return [Problem(f"{path}.url", "names no host that ssh could be asked for", "Write it as ssh://user@host")]
    if shutil.which("ssh") is None:
        return [Problem(f"{path}.url", "needs ssh, which is not on this machine", "Install Debian's openssh-client")]
    return []
