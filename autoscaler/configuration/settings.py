"""The configuration as the program uses it: plain frozen values in seconds and bytes, made by
`autoscaler.configuration.load`.

`cli` hands each adapter its part; no adapter reads files or the environment by itself, secrets' files excepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from autoscaler.core.budgets import Budget
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.world import Taint


@dataclass(frozen=True, slots=True)
class StreamSecurity:
    """How to speak to the brokers: Kafka's own protocol and mechanism names; secrets by file only."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Which stream, and how this member joins it. ``replication`` 0 = min(3, brokers).

    ``member`` may be auto until `member.hold_member` has resolved it.
    """

    kind: Literal["kafka", "embedded"] = "embedded"
    brokers: tuple[str, ...] = ()
    path: Path | None = None
    prefix: str = "autoscaler"
    partitions: int = 12
    replication: int = 0
    member: str = "auto"
    session_timeout_s: float = 30.0
    security: StreamSecurity = StreamSecurity()


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where `run` listens; TLS where both files are given."""

    host: str = "127.0.0.1"
    port: int = 9180
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Registry:
    """Credentials of one image registry."""

    host: str
    username: str = ""
    password_file: Path | None = None


@dataclass(frozen=True, slots=True)
class HostTls:
    """Client certificate of a tcp engine."""

    ca_file: Path
    cert_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class HostSettings:
    """One Docker engine. ``address``: where its published ports are reached; ``bind``: where they are published.
    ``cpu_millis``/``memory_bytes`` 0: what the engine reports; ``*_percent`` of it may be reserved, less ``kept_*``."""

    name: str
    url: str
    address: str
    bind: str
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    tls: HostTls | None = None
    ssh_config: Path | None = None
    cpu_millis: int = 0
    memory_bytes: int = 0
    cpu_percent: int = 100
    memory_percent: int = 100
    kept_cpu_millis: int = 0
    kept_memory_bytes: int = 0
    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """One target: a pool of engines, or local processes under ``dir``. ``prune_s``: how often images that no kept
    revision needs are removed from the hosts; None: never."""

    name: str
    kind: Literal["docker", "process"]
    hosts: tuple[HostSettings, ...] = ()
    dir: Path | None = None
    prune_s: float | None = None


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """A HAProxy: one that somebody else runs, reached at ``socket``, or one that we start below ``dir``.

    ``activator``: this member's address as HAProxy reaches it, for requests that are held.
    """

    name: str
    socket: str = ""
    dir: Path | None = None
    program: str = "haproxy"
    activator: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """One Prometheus to poll. ``queries``: service -> metric name -> PromQL."""

    url: str
    every_s: float
    queries: Mapping[str, Mapping[str, str]]
    timeout_s: float = 2.0


@dataclass(frozen=True, slots=True)
class KafkaLagSettings:
    """A consumer group whose lag is polled, as metric ``name`` of ``service``; ``brokers``: where it is.

    ``persistent_s``: after so long without a move a partition's lag does not count (None: it always does).
    """

    group: str
    topics: tuple[str, ...]
    service: str
    brokers: StreamSettings
    every_s: float
    name: str = "lag"
    timeout_s: float = 5.0
    offset_reset: Literal["latest", "earliest"] = "latest"
    persistent_s: float | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole file, valid. ``digest``: hash of its content without secrets.

    ``directory``: what its paths are relative to.
    """

    cluster: str
    directory: Path
    stream: StreamSettings
    targets: Mapping[str, TargetSettings]
    services: Mapping[str, ServiceSettings]
    http: HttpSettings | None = None
    registries: tuple[Registry, ...] = ()
    prometheus: tuple[PrometheusSettings, ...] = ()
    kafka_lags: tuple[KafkaLagSettings, ...] = ()
    routers: Mapping[str, RouterSettings] = field(default_factory=lambda: MappingProxyType({}))
    budgets: Mapping[str, Budget] = field(default_factory=lambda: MappingProxyType({}))
    plugins: tuple[str, ...] = ()
    trusted_plugins: frozenset[str] = frozenset()
    digest: str = ""
