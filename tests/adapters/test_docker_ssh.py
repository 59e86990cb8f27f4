"""An engine behind ssh is an engine like any other: reached by the machine's ssh client, lost and found again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.adapters.docker import DockerTarget
from autoscaler.adapters.docker.tunnel import command
from autoscaler.configuration.settings import HostSettings, TargetSettings
from tests.conftest import lacking
from tests.contract.arena_docker import DockerArena
from tests.contract.replicas import Asks, Listener, eventually, shows
from tests.parts import PartMissing, sshd

pytestmark = pytest.mark.timeout(90)

Start = Callable[..., sshd.Sshd]


@pytest.fixture
def start_sshd(tmp_path: Path) -> Iterator[Start]:
    """Start servers of the test's own."""
    started: list[sshd.Sshd] = []

    def start(**settings: object) -> sshd.Sshd:
        try:
            started.append(sshd.start(tmp_path / "sshd", **settings))  # type: ignore[arg-type]
        except PartMissing as error:
            raise lacking("ssh", error) from error
        return started[-1]

    yield start
    for server in started:
        server.stop()


def behind(server: sshd.Sshd, arena: DockerArena) -> DockerTarget:
    """A target whose one host is the arena's engine, behind the server."""
    if not arena.url.startswith("unix://"):
        pytest.skip("docker: only an engine with a socket can be reached through ssh")
    url = f"ssh://engine{arena.url.removeprefix('unix://')}"
    host = HostSettings(arena.host, url, "127.0.0.1", "127.0.0.1", ssh_config=server.config)
    return DockerTarget(TargetSettings("edge", "docker", hosts=(host,)), arena.cluster, ())


async def test_a_replica_behind_ssh_is_made_heard_of_and_removed(arena: DockerArena, start_sshd: Start) -> None:
    target = behind(start_sshd(), arena)
    await target.open()
    try:
        asks = Asks(target, arena.cluster, arena.host)
        running = await asks.run(arena.serves())
        async with Listener(target) as listener:
            arena.kill(running)
            await listener.until(shows("exited"))
        assert (await asks.remove(await asks.ended(running.name))).result == "done"
        assert await asks.replicas() == []
    finally:
        await target.close()


async def test_a_connection_that_was_lost_is_made_again(arena: DockerArena, start_sshd: Start) -> None:
    server = start_sshd()
    target = behind(server, arena)
    await target.open()
    try:
        asks = Asks(target, arena.cluster, arena.host)
        running = await asks.run(arena.serves())
        server.stop()

        async def error() -> str:
            (listing,) = await target.list_replicas()
            return listing.error

        await eventually(error, bool)
        start_sshd(port=int(server.config.read_text().split("Port ")[1].split()[0]))
        await eventually(error, lambda said: not said, within_s=40.0)
        assert [replica.id for replica in await asks.replicas()] == [running.id]
    finally:
        await target.close()


async def test_a_server_that_nobody_has_met_is_not_trusted(
    arena: DockerArena, start_sshd: Start, caplog: pytest.LogCaptureFixture
) -> None:
    target = behind(start_sshd(known=False), arena)
    await target.open()
    try:
        (listing,) = await target.list_replicas()
        assert listing.error
        assert "ssh to host h1 ended: Host key verification failed" in caplog.text
    finally:
        await target.close()


def test_url_says_user_port_and_socket_and_can_smuggle_no_option_in() -> None:
    host = HostSettings("h1", "ssh://me@h:2222/run/user/1000/docker.sock", "h", "0.0.0.0")
    words = command(host, Path("/x/engine.sock"))
    assert words[:2] == ["ssh", "-nNT"]
    assert words[-6:] == ["-p", "2222", "-L", "/x/engine.sock:/run/user/1000/docker.sock", "--", "me@h"]
    plain = command(replace(host, url="ssh://h", ssh_config=Path("/c")), Path("/x/s"))
    assert plain[2:4] == ["-F", "/c"]
    assert plain[-3:] == ["/x/s:/var/run/docker.sock", "--", "h"]
