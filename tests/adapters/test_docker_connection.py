"""The docker target behind connections that are encrypted, lose answers or let them drip."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from autoscaler.adapters.docker import DockerTarget
from autoscaler.adapters.docker.host import Deadlines
from autoscaler.configuration.settings import HostSettings, HostTls, TargetSettings
from autoscaler.errors import ConfigurationError
from tests.contract.arena_docker import DockerArena, open_arena
from tests.contract.replicas import Asks, Listener, shows
from tests.parts.relay import Relay, relay
from tests.parts.tls import make_certificates

pytestmark = pytest.mark.timeout(60)

SHORT = Deadlines(list_s=2.0, create_s=2.0, start_s=2.0, stop_s=2.0, remove_s=2.0)


@pytest.fixture
def arena(request: pytest.FixtureRequest) -> Iterator[DockerArena]:
    with open_arena(request) as opened:
        if not opened.url.startswith("unix://"):
            pytest.skip("docker: the engine must have a socket on this machine, to be relayed")
        yield opened


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates") / "tls"
    make_certificates(folder)
    return folder


def tls(folder: Path, authority: str = "ca.pem") -> HostTls:
    return HostTls(folder / authority, folder / "client.crt", folder / "client.key")


@asynccontextmanager
async def behind(arena: DockerArena, way: Relay, tls: HostTls | None = None) -> AsyncIterator[Asks]:
    host = HostSettings("h1", f"tcp://127.0.0.1:{way.port}", "127.0.0.1", "127.0.0.1", tls=tls)
    target = DockerTarget(TargetSettings("edge", "docker", hosts=(host,)), arena.cluster, (), SHORT)
    await target.open()
    try:
        yield Asks(target, arena.cluster, "h1")
    finally:
        await target.close()


async def test_an_engine_behind_tls_is_used_with_the_configured_certificates(
    arena: DockerArena, certificates: Path
) -> None:
    with relay(arena.url, certificates) as way:
        async with behind(arena, way, tls(certificates)) as asks:
            async with Listener(asks.target) as listener:
                running = await asks.run(arena.serves())
                arena.kill(running)
                change = await listener.until(shows("exited"))
            assert change.replica is not None
            assert change.replica.id == running.id
            assert (await asks.remove(running)).result == "done"


async def test_an_engine_of_another_authority_is_not_spoken_to(arena: DockerArena, certificates: Path) -> None:
    with relay(arena.url, certificates) as way:
        async with behind(arena, way, tls(certificates, "client.crt")) as asks:
            outcome = await asks.target.create(asks.creation(arena.serves()))
            assert outcome.result == "unavailable"
            (listing,) = await asks.target.list_replicas()
            assert "certificate" in listing.error.lower()


def test_certificate_files_that_are_not_there_are_a_configuration_error(tmp_path: Path) -> None:
    host = HostSettings("h1", "tcp://127.0.0.1:9", "127.0.0.1", "127.0.0.1", tls=tls(tmp_path))
    with pytest.raises(ConfigurationError, match=r"targets\.edge\.hosts\.h1\.tls"):
        DockerTarget(TargetSettings("edge", "docker", hosts=(host,)), "shop", ())


async def test_a_creation_whose_answer_was_lost_is_unknown_and_found_by_asking_again(arena: DockerArena) -> None:
    with relay(arena.url) as way:
        async with behind(arena, way) as asks:
            action = asks.creation(arena.serves())
            way.fault, way.to = "lose", b"/containers/create"
            assert (await asks.target.create(action)).result == "unknown"
            way.fault = ""
            (made,) = await asks.replicas()
            assert (made.name, made.condition) == (action.name, "created")
            again = await asks.target.create(action)
            assert (again.result, again.id) == ("done", made.id)


async def test_an_answer_that_drips_ends_at_the_deadline(arena: DockerArena) -> None:
    with relay(arena.url) as way:
        async with behind(arena, way) as asks:
            way.fault, way.to = "drip", b"/containers/create"
            began = time.monotonic()
            assert (await asks.target.create(asks.creation(arena.serves()))).result == "unknown"
            assert time.monotonic() - began < SHORT.create_s + 1
            way.fault = ""
            assert (await asks.view()).known
