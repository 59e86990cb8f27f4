"""Installations for the system tests: on the embedded stream with processes, or on Kafka with containers."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from autoscaler.adapters.topics import topic_name
from autoscaler.ports.stream import Topic
from tests.parts.images import copy_images, make_images
from tests.parts.shared import VARIABLE
from tests.system.engine_watch import EngineWatch
from tests.system.grounds import DockerGround, ProcessGround
from tests.system.installation import Installation

SESSION = "6s"


def new_cluster() -> str:
    return f"t{secrets.token_hex(4)}"


def on_kafka(bootstrap: str, cluster: str, partitions: int = 1) -> dict[str, Any]:
    """The `stream:` block of an installation on a broker."""
    return {
        "kind": "kafka",
        "brokers": bootstrap.split(","),
        "prefix": cluster,
        "partitions": partitions,
        "replication": 1,
        "session_timeout": SESSION,
    }


@pytest.fixture(scope="session")
def engine_watch(docker_host: str) -> Iterator[EngineWatch]:
    """The engine's own events from now on; its images are made."""
    make_images(docker_host)
    with EngineWatch([docker_host]) as watch:
        yield watch


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Callable[..., Installation]]:
    """Make installations on the embedded stream with processes."""
    made: list[Installation] = []

    def make(partitions: int = 1) -> Installation:
        directory = tmp_path / f"local-{len(made)}"
        directory.mkdir()
        cluster = new_cluster()
        stream = {"kind": "embedded", "path": str(directory / "stream.db"), "partitions": partitions}
        made.append(Installation(directory, cluster, stream, ProcessGround(cluster, directory / "replicas")))
        return made[-1]

    yield make
    for installation in made:
        await installation.close()


@pytest.fixture
async def served(
    tmp_path: Path, kafka_broker: object, docker_host: str, engine_watch: EngineWatch
) -> AsyncIterator[Callable[..., Installation]]:
    """Make installations on the shared broker with containers of the shared engine."""
    made: list[Installation] = []

    def make(partitions: int = 1) -> Installation:
        directory = tmp_path / f"served-{len(made)}"
        directory.mkdir()
        cluster = new_cluster()
        stream = on_kafka(str(kafka_broker), cluster, partitions)
        made.append(Installation(directory, cluster, stream, DockerGround(cluster, [docker_host], engine_watch)))
        return made[-1]

    yield make
    for installation in made:
        await installation.close()
    await drop_topics(str(kafka_broker), [installation.cluster for installation in made])


@pytest.fixture(scope="session")
def watched_engines(container_hosts: list[str]) -> Iterator[tuple[list[str], EngineWatch]]:
    """Three engines with addresses of their own and the same images, and their events from now on."""
    urls = container_hosts[:3]
    make_images(urls[0])
    copy_images(urls[0], urls[1:])
    with EngineWatch(urls) as watch:
        yield urls, watch


@pytest.fixture
def pool(watched_engines: tuple[list[str], EngineWatch]) -> Iterator[tuple[list[str], EngineWatch]]:
    """The engines for this test alone: what befalls them would befall a test of another worker, too."""
    with (Path(os.environ[VARIABLE]) / "pool.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield watched_engines


@pytest.fixture
async def pooled(
    tmp_path: Path, kafka_broker: object, pool: tuple[list[str], EngineWatch]
) -> AsyncIterator[Callable[..., Installation]]:
    """Make installations on the shared broker with containers of two engines, or of ``engines=3``."""
    made: list[Installation] = []
    urls, watch = pool

    def make(partitions: int = 1, engines: int = 2) -> Installation:
        directory = tmp_path / f"pooled-{len(made)}"
        directory.mkdir()
        cluster = new_cluster()
        stream = on_kafka(str(kafka_broker), cluster, partitions)
        made.append(Installation(directory, cluster, stream, DockerGround(cluster, urls[:engines], watch)))
        return made[-1]

    yield make
    for installation in made:
        await installation.close()
    await drop_topics(str(kafka_broker), [installation.cluster for installation in made])


async def drop_topics(bootstrap: str, prefixes: list[str]) -> None:
    """Delete what installations left on a broker that others go on with."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        present = set(await admin.list_topics())
        await admin.delete_topics(
            [name for prefix in prefixes for topic in Topic if (name := topic_name(prefix, topic)) in present]
        )
    finally:
        await admin.close()
