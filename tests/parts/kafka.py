"""Apache Kafka brokers (KRaft, combined roles) as plain processes; the jars are fetched once by Maven into a cache."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import shutil
import signal
import ssl
import subprocess
import tempfile
import uuid
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.parts.kafka_settings import JAAS, node_settings, secured_settings
from tests.parts.processes import (
    PartFailed,
    PartMissing,
    Process,
    accepts,
    await_probe,
    cache,
    find_program,
    free_ports,
    spawn,
)
from tests.parts.tls import make_certificates

VERSION = "4.1.1"
LOG4J = "2.25.1"
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{VERSION}",
    f"org.apache.kafka:kafka-tools:{VERSION}",
    f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J}",
    f"org.apache.logging.log4j:log4j-core:{LOG4J}",
)
USERS = {"admin": "admin-pw", "alice": "alice-pw"}
"""Names and passwords on a secured broker; ``admin`` is the super user."""

LOGGING = """<Configuration>
<Appenders><Console name="out"><PatternLayout pattern="%d %p %c %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


@dataclass(frozen=True)
class Tls:
    """Where the certificates of a secured broker lie."""

    ca: Path
    client_certificate: Path
    client_key: Path


@dataclass
class Kafka:
    """Running brokers. Nodes are counted from 1; with one broker the argument may stay away."""

    directory: Path
    bootstrap: str
    ports: list[int]
    heap: str
    nodes: dict[int, Process] = field(default_factory=dict)
    mtls_bootstrap: str | None = None
    tls: Tls | None = None

    def kill(self, node: int = 1) -> None:
        self.nodes[node].end(signal.SIGKILL)

    def pause(self, node: int = 1) -> None:
        self.nodes[node].send(signal.SIGSTOP)

    def resume(self, node: int = 1) -> None:
        self.nodes[node].send(signal.SIGCONT)

    def restart(self, node: int = 1) -> None:
        """Start a node again, with the data that it left, and wait until all running ones know each other."""
        self.kill(node)
        self.launch(node)
        self.wait()

    def stop(self) -> None:
        for process in self.nodes.values():
            process.end(signal.SIGKILL)

    def launch(self, node: int) -> None:
        home = self.directory / f"n{node}"
        java = [*_java(), f"-Xmx{self.heap}", f"-Dlog4j2.configurationFile={self.directory}/log4j2.xml"]
        command = [*java, "-cp", f"{jars()}/*", "kafka.Kafka", f"{home}/server.properties"]
        self.nodes[node] = spawn(command, home / "broker.log")

    def wait(self, seconds: float = 60.0) -> None:
        running = {node: process for node, process in self.nodes.items() if process.alive}

        def up() -> bool:
            return all(accepts(self.ports[node - 1]) for node in running) and _in_thread(self._members()) >= len(
                running
            )

        await_probe("Kafka", up, list(running.values()), seconds)

    def record(self) -> dict[str, Any]:
        return {"bootstrap": self.bootstrap, "nodes": [process.record() for process in self.nodes.values()]}

    async def _members(self) -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5000, **self.client_settings())
        try:
            await admin.start()
            cluster = await admin.describe_cluster()
        except KafkaError:
            return 0
        finally:
            await admin.close()
        return len(cluster["brokers"])

    def client_settings(self, user: str = "admin") -> dict[str, Any]:
        """What an aiokafka client needs besides the address: nothing, or SCRAM over TLS on a secured broker."""
        if self.tls is None:
            return {}
        return {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": user,
            "sasl_plain_password": USERS[user],
            "ssl_context": ssl.create_default_context(cafile=str(self.tls.ca)),
        }

    def allow(self, user: str, operation: str, *resource: str) -> None:
        """Grant a user of a secured broker an operation on what follows, such as ``--topic jobs``."""
        assert self.tls is not None, "a broker without users asks for no rights"
        settings = self.directory / "admin.properties"
        login = f'{JAAS}.scram.ScramLoginModule required username="admin" password="{USERS["admin"]}";'
        settings.write_text(
            f"security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config={login}\n"
            f"ssl.truststore.type=PEM\nssl.truststore.location={self.tls.ca}\n"
        )
        tool = [*_java(), "-cp", f"{jars()}/*", "org.apache.kafka.tools.AclCommand"]
        address = ["--bootstrap-server", self.bootstrap, "--command-config", str(settings)]
        what = ["--add", "--allow-principal", f"User:{user}", "--operation", operation, *resource]
        subprocess.run([*tool, *address, *what], capture_output=True, check=True, timeout=60)

    def __enter__(self) -> Kafka:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(
    directory: Path, *, secured: bool = False, brokers: int = 1, heap: str = "384m", **overrides: object
) -> Kafka:
    """Format and start brokers below a directory, and wait until they answer.

    An override is a broker property with ``_`` for ``.``: ``start(d, message_max_bytes=20_000_000)``.
    """
    if secured and brokers != 1:
        message = "a secured cluster has one broker"
        raise ValueError(message)
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    jars()
    properties = {name.replace("_", "."): str(value) for name, value in overrides.items()}
    ports = free_ports(2 * brokers + 1)
    clients, controllers, mtls = ports[:brokers], ports[brokers:-1], ports[-1]
    bootstrap = ",".join(f"127.0.0.1:{port}" for port in clients)
    kafka = Kafka(directory, bootstrap, clients, heap)
    (directory / "log4j2.xml").write_text(LOGGING)
    security: dict[str, str] = {}
    if secured:
        make_certificates(directory / "tls")
        security = secured_settings(directory / "tls", clients[0], mtls, controllers[0], USERS)
        kafka.mtls_bootstrap = f"127.0.0.1:{mtls}"
        kafka.tls = Tls(*(directory / "tls" / name for name in ("ca.pem", "client.crt", "client.key")))
    for node in range(1, brokers + 1):
        home = directory / f"n{node}"
        home.mkdir()
        settings = node_settings(home, node, clients, controllers) | security | properties
        (home / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    _format(directory, brokers, secured=secured)
    try:
        for node in range(1, brokers + 1):
            kafka.launch(node)
        kafka.wait()
    except BaseException:
        kafka.stop()
        raise
    return kafka


def jars() -> Path:
    """The folder with Kafka's jars; fetched by Maven where the cache has none."""
    find_program("java", "install a Java runtime, 17 or later (Debian: default-jre-headless)")
    library = cache() / f"kafka-{VERSION}"
    if library.is_dir():
        return library
    maven = find_program("mvn", f"install Maven (Debian: maven), or put the jars of Kafka {VERSION} into {library}")
    library.parent.mkdir(parents=True, exist_ok=True)
    with library.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.is_dir():
            _fetch(maven, library)
    return library


def _fetch(maven: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        (Path(scratch) / "pom.xml").write_text(_pom())
        command = [
            maven,
            "-q",
            "-B",
            "-f",
            f"{scratch}/pom.xml",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={scratch}/lib",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode != 0:
            message = f"Maven could not fetch Kafka {VERSION} (is its repository reachable?): {done.stdout[-2000:]}"
            raise PartMissing(message)
        shutil.move(f"{scratch}/lib", library)


def _pom() -> str:
    entries = []
    for coordinate in COORDINATES:
        group, artifact, version = coordinate.split(":")
        entry = f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        entries.append(f"<dependency>{entry}</dependency>")
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>parts</groupId>'
        "<artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{''.join(entries)}</dependencies></project>"
    )


def _java() -> list[str]:
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]


def _format(directory: Path, brokers: int, *, secured: bool) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    scram: list[str] = []
    for user, password in USERS.items() if secured else ():
        scram += ["-S", f"SCRAM-SHA-512=[name={user},password={password}]"]
    tool = [
        *_java(),
        "-cp",
        f"{jars()}/*",
        "kafka.tools.StorageTool",
        "format",
        f"--cluster-id={cluster}",
        *scram,
        "-c",
    ]

    def run(node: int) -> subprocess.CompletedProcess[str]:
        command = [*tool, f"{directory}/n{node}/server.properties"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    with ThreadPoolExecutor(brokers) as pool:
        for done in pool.map(run, range(1, brokers + 1)):
            if done.returncode != 0:
                message = f"Kafka's storage could not be formatted: {done.stdout[-1000:]}{done.stderr[-2000:]}"
                raise PartFailed(message)


def _in_thread(coroutine: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine to its end, also for a caller that is inside a running event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def stop_recorded(record: Mapping[str, Any]) -> None:
    for node in record["nodes"]:
        Process.adopt(node).end(signal.SIGKILL)
