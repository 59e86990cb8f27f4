"""Fixtures for the real parts, and what ``AUTOSCALER_REQUIRE`` means.

A test that asks for a part which the machine lacks is skipped, and the skip says how to get the part. Names in
``AUTOSCALER_REQUIRE=kafka,docker,...`` turn these skips into failures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from _pytest.nodeid import coerce_node_id

from tests.parts import PartMissing, dockerd, hosts, kafka, prometheus, shared
from tests.parts.processes import find_program

PARTS = ("chromium", "docker", "haproxy", "helm", "kafka", "prometheus", "ssh")
FIXTURE_PARTS = {
    "kafka_broker": "kafka",
    "secured_kafka_broker": "kafka",
    "docker_host": "docker",
    "container_hosts": "docker",
    "prometheus_url": "prometheus",
}
TOGETHER = {
    "container_hosts": "engines",  # what befalls these three befalls everybody's
    "secured_kafka_broker": "brokers",  # a second Java machine beside the run's own is enough
    "start_kafka": "brokers",
    "live": "live",  # one instance answers a whole directory of commands
}
"""Fixtures that only one worker of a run shall have, and the group of tests that it runs: the first that fits."""
DEFAULT_DOCKER = "unix:///var/run/docker.sock"
RUN = pytest.StashKey[Path]()


# No deadline: a shared machine is slow at times. No explanations: they trace every line and cost minutes on a failure.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    print_blob=True,
    phases=[phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.explain],
)
hypothesis.settings.load_profile("suite")


def required_parts() -> frozenset[str]:
    """The names in ``AUTOSCALER_REQUIRE``; an unknown one is an error of usage."""
    names = {name.strip() for name in os.environ.get("AUTOSCALER_REQUIRE", "").split(",") if name.strip()}
    unknown = sorted(names.difference(PARTS))
    if unknown:
        message = f"AUTOSCALER_REQUIRE names unknown parts {', '.join(unknown)}; known are {', '.join(PARTS)}"
        raise pytest.UsageError(message)
    return frozenset(names)


def lacking(part: str, reason: object) -> BaseException:
    """What to raise for want of a part: a skip, or a failure where the part is required."""
    if part in required_parts():
        return pytest.fail.Exception(f"{part} is required (AUTOSCALER_REQUIRE): {reason}", pytrace=False)
    return pytest.skip.Exception(f"{part}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    required_parts()
    if not hasattr(config, "workerinput"):
        config.stash[RUN] = shared.open_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    run = config.stash.get(RUN, None)
    if run is not None:
        shared.close_run(run)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the parts that it asks for, so that ``-m kafka`` or ``-m "not docker"`` selects by part, and
    with the worker that it shares (``--dist loadgroup``)."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        for fixture in fixtures:
            if fixture in FIXTURE_PARTS:
                item.add_marker(FIXTURE_PARTS[fixture])
        said = item.get_closest_marker("xdist_group")
        shared_part = next((TOGETHER[fixture] for fixture in TOGETHER if fixture in fixtures), None)
        group = said.args[0] if said is not None else shared_part or _module_of(item)
        if group is not None:
            if said is None:
                item.add_marker(pytest.mark.xdist_group(group))
            if getattr(item.config.option, "loadgroup", False):
                # pytest-xdist 3.8 writes the group where pytest 9.2 does not look for a test's id any more.
                item._id = coerce_node_id(f"{item.nodeid}@{group}")


def _module_of(item: pytest.Item) -> str | None:
    """The module whose own fixture the test shares with others there; None where it shares none."""
    known = getattr(item, "_fixtureinfo", None)
    for definitions in known.name2fixturedefs.values() if known is not None else ():
        if definitions[-1].scope == "module" and definitions[-1].baseid.startswith("tests/"):
            return str(definitions[-1].baseid)
    return None


@dataclass(frozen=True)
class KafkaBroker:
    """The broker of this run; every test shares it, so names of topics and groups must be a test's own."""

    bootstrap: str

    def __str__(self) -> str:
        return self.bootstrap


@pytest.fixture(scope="session")
def kafka_broker() -> KafkaBroker:
    """A real broker: ``AUTOSCALER_TEST_KAFKA=host:port``, or one started for this run."""
    given = os.environ.get("AUTOSCALER_TEST_KAFKA")
    if given:
        return KafkaBroker(given)
    try:
        record = shared.obtain("kafka", lambda directory: kafka.start(directory).record())
    except PartMissing as error:
        raise lacking("kafka", f"{error}; or set AUTOSCALER_TEST_KAFKA=host:port") from None
    return KafkaBroker(str(record["bootstrap"]))


@pytest.fixture
def start_kafka(tmp_path: Path) -> Iterator[Callable[..., kafka.Kafka]]:
    """Start brokers of the test's own: ``start_kafka(secured=True)``, ``start_kafka(brokers=3)``."""
    started: list[kafka.Kafka] = []

    def start(**settings: object) -> kafka.Kafka:
        try:
            started.append(kafka.start(tmp_path / f"kafka-{len(started)}", **settings))  # type: ignore[arg-type]
        except PartMissing as error:
            raise lacking("kafka", error) from None
        return started[-1]

    yield start
    for broker in started:
        broker.stop()


@pytest.fixture(scope="session")
def secured_kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka.Kafka]:
    """A broker with SCRAM and PLAIN over TLS, an mTLS listener and ACLs, one a worker."""
    try:
        broker = kafka.start(tmp_path_factory.mktemp("secured-kafka"), secured=True)
    except PartMissing as error:
        raise lacking("kafka", error) from None
    with broker:
        yield broker


@pytest.fixture(scope="session")
def docker_host() -> str:
    """The url of a real Docker engine: ``DOCKER_HOST``, the default socket, or one started for this run."""
    given = os.environ.get("DOCKER_HOST")
    for url in filter(None, (given, DEFAULT_DOCKER)):
        if dockerd.answers(url):
            return url
    if given:
        raise lacking("docker", f"no engine answers at DOCKER_HOST={given}")
    try:
        return str(shared.obtain("docker", lambda directory: dockerd.start(directory).record())["url"])
    except PartMissing as error:
        raise lacking("docker", error) from None


@pytest.fixture(scope="session")
def container_hosts() -> list[str]:
    """The urls of three Docker engines with addresses of their own; ``hosts.control`` freezes, kills and cuts them."""
    try:
        record = shared.obtain("container-hosts", lambda _: hosts.start(3, owner=shared.owner()))
    except PartMissing as error:
        raise lacking("docker", error) from None
    return list(record["urls"])


@pytest.fixture(scope="session")
def prometheus_url() -> str:
    """The url of a Prometheus that scrapes at least itself: ``AUTOSCALER_TEST_PROMETHEUS``, or the run's own."""
    given = os.environ.get("AUTOSCALER_TEST_PROMETHEUS")
    if given:
        return given
    try:
        return str(shared.obtain("prometheus", lambda directory: prometheus.start(directory).record())["url"])
    except PartMissing as error:
        raise lacking("prometheus", error) from None


@pytest.fixture
def start_prometheus(tmp_path: Path) -> Iterator[Callable[..., prometheus.Prometheus]]:
    """Start a Prometheus of the test's own: ``start_prometheus(targets=["127.0.0.1:9000"])``; ended after the test."""
    started: list[prometheus.Prometheus] = []

    def start(**settings: object) -> prometheus.Prometheus:
        try:
            started.append(prometheus.start(tmp_path / f"prometheus-{len(started)}", **settings))  # type: ignore[arg-type]
        except PartMissing as error:
            raise lacking("prometheus", error) from None
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def find_part() -> Callable[[str], str]:
    """The path of an installed program among ``haproxy``, ``chromium``, ``helm``; skips or fails without it."""
    remedies = {
        "chromium": "install Debian's chromium",
        "haproxy": "install Debian's haproxy",
        "helm": "install Helm 3 (go install helm.sh/helm/v3/cmd/helm@v3.19.0)",
    }

    def find(part: str) -> str:
        try:
            return find_program(part, remedies[part])
        except PartMissing as error:
            raise lacking(part, error) from None

    return find
