"""Everything of the file but its services: from the validated model to frozen settings, with what contradicts itself.

Called by `loading`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import cast
from urllib.parse import urlsplit

from autoscaler.configuration.block import Block, locate
from autoscaler.configuration.budget_models import build_budgets
from autoscaler.configuration.complaints import problem_at
from autoscaler.configuration.fields import NAME_REMEDY, is_name
from autoscaler.configuration.files import FileCheck
from autoscaler.configuration.host_models import HostModel, TaintModel, TlsModel
from autoscaler.configuration.models import (
    ClusterModel,
    HttpModel,
    PluginModel,
    SecurityModel,
    StreamModel,
    TargetModel,
)
from autoscaler.configuration.placement_build import TAINT_EFFECTS, taint_parts
from autoscaler.configuration.route_build import build_router
from autoscaler.configuration.settings import (
    HostSettings,
    HostTls,
    HttpSettings,
    KafkaLagSettings,
    PrometheusSettings,
    Registry,
    RouterSettings,
    StreamSecurity,
    StreamSettings,
    TargetSettings,
)
from autoscaler.configuration.vocabulary import Step, suggestion
from autoscaler.core.budgets import Budget
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.world import Taint, TaintEffect
from autoscaler.errors import Problem

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - where engines publish ports by default
SESSION_TIMEOUT_S = (6.0, 1800.0)


def is_loopback(host: str) -> bool:
    """Whether the address is of this machine alone, as far as its spelling tells."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class ClusterBuilder:
    """Builds the parts of one file; ``problems`` collects what is wrong."""

    root: Block
    files: FileCheck
    problems: list[Problem] = field(default_factory=list)

    def _complain(self, steps: Sequence[Step], what: str, remedy: str) -> None:
        self.problems.append(problem_at(locate(self.root, steps), what, remedy))

    def _needed_file(self, written: str, *steps: Step) -> Path:
        return self.files.readable(written, locate(self.root, steps), self.problems)

    def _file(self, written: str | None, *steps: Step) -> Path | None:
        return None if written is None else self._needed_file(written, *steps)

    def _pair(self, cert: str | None, key: str | None, *steps: Step) -> None:
        if (cert is None) != (key is None):
            missing, given = ("cert_file", "key_file") if cert is None else ("key_file", "cert_file")
            self._complain((*steps, missing), f"is missing beside {given}", "Give both or neither.")

    def stream(self, model: StreamModel) -> StreamSettings:
        """The stream; its kind follows from the brokers where it is not said."""
        kind = model.kind or ("kafka" if model.brokers else "embedded")
        if kind == "kafka":
            if not model.brokers:
                self._complain(("stream", "brokers"), "is missing", 'Write brokers: ["127.0.0.1:9092"].')
            if model.path is not None:
                self._complain(
                    ("stream", "path"), "belongs to the embedded stream, and this one is kafka", "Remove it."
                )
        else:
            self._only_kafka(model)
        low, high = SESSION_TIMEOUT_S
        if not low <= model.session_timeout <= high:
            self._complain(("stream", "session_timeout"), "is not between 6s and 30m", "Write it as 30s.")
        return StreamSettings(
            kind=kind,
            brokers=tuple(model.brokers),
            path=self.files.resolve(model.path or "autoscaler.db") if kind == "embedded" else None,
            prefix=model.prefix,
            partitions=model.partitions,
            replication=0 if model.replication == "auto" else model.replication,
            member=model.member,
            session_timeout_s=model.session_timeout,
            security=self._security(model.security, "stream", "security"),
        )

    def _only_kafka(self, model: StreamModel) -> None:
        if model.brokers:
            self._complain(("stream", "brokers"), "belongs to kafka, and this stream is embedded", "Remove it or kind.")
        if model.security.model_fields_set:
            self._complain(("stream", "security"), "belongs to kafka, and this stream is embedded", "Remove it.")

    def _security(self, model: SecurityModel, *at: Step) -> StreamSecurity:
        protocol = model.protocol
        if protocol is None:
            secure = model.ca_file or model.cert_file
            protocol = "SASL_SSL" if model.username else "SSL" if secure else "PLAINTEXT"
        sasl, tls = protocol.startswith("SASL"), protocol.endswith("SSL")
        for key in ("username", "password_file"):
            if sasl and not getattr(model, key):
                self._complain((*at, key), f"is missing, and {protocol} needs it", "Add it or change protocol.")
            elif not sasl and getattr(model, key):
                self._complain((*at, key), f"has no meaning with {protocol}", "Remove it, or use SASL_SSL.")
        for key in ("ca_file", "cert_file", "key_file"):
            if not tls and getattr(model, key):
                self._complain((*at, key), f"has no meaning with {protocol}", "Remove it, or use SSL or SASL_SSL.")
        self._pair(model.cert_file, model.key_file, *at)
        return StreamSecurity(
            protocol=protocol,
            mechanism=model.mechanism,
            username=model.username,
            password_file=self._file(model.password_file, *at, "password_file"),
            ca_file=self._file(model.ca_file, *at, "ca_file"),
            cert_file=self._file(model.cert_file, *at, "cert_file"),
            key_file=self._file(model.key_file, *at, "key_file"),
        )

    def http(self, model: HttpModel | None) -> HttpSettings | None:
        """The listener, or None where the file has no `http:`."""
        if model is None:
            return None
        self._pair(model.cert_file, model.key_file, "http")
        cert = self._file(model.cert_file, "http", "cert_file")
        return HttpSettings(*model.listen, cert_file=cert, key_file=self._file(model.key_file, "http", "key_file"))

    def registries(self, model: ClusterModel) -> tuple[Registry, ...]:
        """The registries' credentials."""
        found: list[Registry] = []
        for index, item in enumerate(model.registries):
            at = ("registries", index)
            if any(other.host == item.host for other in found):
                self._complain((*at, "host"), "is listed twice", "Keep one of them.")
            if bool(item.username) != bool(item.password_file):
                missing = "password_file" if item.username else "username"
                self._complain((*at, missing), "is missing", "Give username and password_file, or neither.")
            found.append(Registry(item.host, item.username, self._file(item.password_file, *at, "password_file")))
        return tuple(found)

    def targets(self, model: ClusterModel) -> dict[str, TargetSettings]:
        """The targets by name."""
        found: dict[str, TargetSettings] = {}
        for name, item in model.targets.items():
            at = ("targets", name)
            if not is_name(name):
                self._complain(at, "not a usable name for a target", NAME_REMEDY)
            hosts = self._hosts(item, at)
            directory = self.files.resolve(item.dir or ".autoscaler") if item.kind == "process" else None
            if item.prune is not None and item.kind == "process":
                self._complain((*at, "prune"), "has no meaning for processes", "Remove it, or use kind: docker.")
            found[name] = TargetSettings(name, item.kind, hosts, directory, item.prune)
        directories: dict[Path, str] = {}
        for name, target in found.items():
            if target.dir is not None and directories.setdefault(target.dir, name) != name:
                what = f"has the same dir as target {directories[target.dir]}"
                self._complain(("targets", name, "dir"), what, "Give it a dir: of its own.")
        return found

    def _hosts(self, model: TargetModel, at: tuple[Step, ...]) -> tuple[HostSettings, ...]:
        if model.kind == "process":
            if model.hosts:
                self._complain((*at, "hosts"), "has no meaning for processes", "Remove it, or use kind: docker.")
            return ()
        if model.dir is not None:
            self._complain((*at, "dir"), "has no meaning for docker", "Remove it, or use kind: process.")
        if not model.hosts:
            self._complain((*at, "hosts"), "is missing", 'Add {name: h1, url: "unix:///var/run/docker.sock"}.')
        names: set[str] = set()
        urls: set[str] = set()
        found = []
        for index, host in enumerate(model.hosts):
            here = (*at, "hosts", index)
            for key, value, seen in (("name", host.name, names), ("url", host.url, urls)):
                if value in seen:
                    self._complain((*here, key), "is listed twice in this target", "Keep one of them.")
                seen.add(value)
            found.append(self._host(host, here))
        return tuple(found)

    def _host(self, model: HostModel, at: tuple[Step, ...]) -> HostSettings:
        parts = urlsplit(model.url)
        local = parts.scheme == "unix"
        if local and not parts.path:
            self._complain((*at, "url"), "names no socket", "Write it as unix:///var/run/docker.sock.")
        if parts.scheme == "tcp" and not (parts.hostname and parts.port):
            self._complain((*at, "url"), "has no host or no port", "Write it as tcp://h2:2376.")
        if model.tls is not None and parts.scheme != "tcp":
            self._complain((*at, "tls"), f"has no meaning for {parts.scheme}://", "Remove it, or use tcp://.")
        if model.ssh_config is not None and parts.scheme != "ssh":
            self._complain((*at, "ssh_config"), f"has no meaning for {parts.scheme}://", "Remove it, or use ssh://.")
        return HostSettings(
            name=model.name,
            url=model.url,
            address=model.address or (LOOPBACK if local else parts.hostname or LOOPBACK),
            bind=model.bind or (LOOPBACK if local else EVERYWHERE),
            labels=MappingProxyType(dict(model.labels)),
            tls=self._tls(model.tls, (*at, "tls")),
            ssh_config=self._file(model.ssh_config, *at, "ssh_config"),
            cpu_millis=model.capacity.cpu,
            memory_bytes=model.capacity.memory,
            cpu_percent=model.overcommit.cpu,
            memory_percent=model.overcommit.memory,
            kept_cpu_millis=model.keep_back.cpu,
            kept_memory_bytes=model.keep_back.memory,
            taints=self._taints(model, at),
        )

    def _taints(self, model: HostModel, at: tuple[Step, ...]) -> tuple[Taint, ...]:
        found = []
        for index, item in enumerate(model.taints):
            if isinstance(item, TaintModel):
                found.append(Taint(item.key, item.value, item.effect))
                continue
            key, value, effect = taint_parts(item)
            if not key or effect not in {"", *TAINT_EFFECTS}:
                self._complain((*at, "taints", index), "not a taint", "Write it as key=value:NoSchedule.")
                continue
            found.append(Taint(key, value, cast("TaintEffect", effect or "NoSchedule")))
        return tuple(found)

    def _tls(self, model: TlsModel | None, at: tuple[Step, ...]) -> HostTls | None:
        if model is None:
            return None
        return HostTls(
            ca_file=self._needed_file(model.ca_file, *at, "ca_file"),
            cert_file=self._needed_file(model.cert_file, *at, "cert_file"),
            key_file=self._needed_file(model.key_file, *at, "key_file"),
        )

    def routers(self, model: ClusterModel) -> dict[str, RouterSettings]:
        """The routers by name; a service without one of them has the embedded one."""
        found: dict[str, RouterSettings] = {}
        for name, item in model.routers.items():
            at = ("routers", name)
            if not is_name(name):
                self._complain(at, "not a usable name for a router", NAME_REMEDY)

            def complain(key: str, what: str, remedy: str, at: tuple[Step, ...] = at) -> None:
                self._complain((*at, key), what, remedy)

            found[name] = build_router(name, item, self.files.resolve, complain)
            reached = found[name].socket or str(found[name].dir)
            if any((other.socket or str(other.dir)) == reached for other in list(found.values())[:-1]):
                self._complain(at, "is the same HAProxy as another router", "Keep one of them.")
        return found

    def prometheus(self, model: ClusterModel) -> tuple[PrometheusSettings, ...]:
        """The Prometheus servers to poll."""
        return tuple(
            PrometheusSettings(
                url=item.url,
                every_s=item.every,
                timeout_s=item.timeout,
                queries=MappingProxyType({name: MappingProxyType(dict(asked)) for name, asked in item.queries.items()}),
            )
            for item in model.metrics.prometheus
        )

    def kafka_lags(self, model: ClusterModel, stream: StreamSettings) -> tuple[KafkaLagSettings, ...]:
        """The consumer groups to poll; of the stream's brokers where an entry names none."""
        found: list[KafkaLagSettings] = []
        for index, item in enumerate(model.metrics.kafka):
            at: tuple[Step, ...] = ("metrics", "kafka", index)
            brokers = stream
            if item.brokers:
                security = self._security(item.security, *at, "security")
                brokers = StreamSettings(kind="kafka", brokers=tuple(item.brokers), security=security)
            elif stream.kind != "kafka":
                self._complain((*at, "brokers"), "is missing, and the stream is embedded", "Name brokers as host:port.")
            elif item.security.model_fields_set:
                self._complain((*at, "security"), "has no meaning without brokers", "Name brokers, or remove it.")
            if len(set(item.topics)) < len(item.topics):
                self._complain((*at, "topics"), "names a topic twice", "Keep one of them.")
            if any((other.service, other.name) == (item.service, item.name) for other in found):
                self._complain((*at, "name"), "is the metric of another group of the service", "Give it another name.")
            lag = KafkaLagSettings(
                group=item.group,
                topics=tuple(item.topics),
                service=item.service,
                brokers=brokers,
                every_s=item.every,
                name=item.name,
                timeout_s=item.timeout,
                offset_reset=item.offset_reset,
                persistent_s=item.exclude_persistent_lag,
            )
            found.append(lag)
        return tuple(found)

    def budgets(
        self, model: ClusterModel, services: Mapping[str, ServiceSettings], declared: Collection[str]
    ) -> dict[str, Budget]:
        """The budgets by name."""
        return build_budgets(model.budgets, services, declared, self._complain)

    def check_queries(self, model: ClusterModel, services: Collection[str]) -> None:
        """Queries and groups belong to services that exist."""
        for index, lag in enumerate(model.metrics.kafka):
            if lag.service not in services:
                at: tuple[Step, ...] = ("metrics", "kafka", index, "service")
                self._complain(at, "names no service of this configuration", suggestion(lag.service, services))
        for index, item in enumerate(model.metrics.prometheus):
            for name in item.queries:
                if name not in services:
                    at = ("metrics", "prometheus", index, "queries", name)
                    self._complain(at, "names no service of this configuration", suggestion(name, services))

    def plugins(self, model: ClusterModel) -> tuple[tuple[str, ...], frozenset[str]]:
        """Plugins in order, files as absolute paths; and those of them that are trusted."""
        names: list[str] = []
        trusted: set[str] = set()
        for index, item in enumerate(model.plugins):
            entry = item if isinstance(item, PluginModel) else _plugin_of(item)
            at: tuple[Step, ...] = ("plugins", index)
            if (entry.path is None) == (entry.name is None):
                self._complain(at, "must have either path or name", "Write {path: ./mine.py} or {name: mine}.")
                continue
            if entry.path is not None:
                path = self._file(entry.path, *at, "path") if isinstance(item, PluginModel) else self._file(item, *at)
                name = str(path)
            else:
                name = entry.name or ""
            if name in names:
                self._complain(at, "is listed twice", "Keep one of them.")
                continue
            names.append(name)
            if entry.trusted:
                trusted.add(name)
        return tuple(names), frozenset(trusted)


def _plugin_of(text: str) -> PluginModel:
    """A bare item is a file where it looks like one, else the name of an installed plugin."""
    is_file = text.endswith(".py") or "/" in text
    return PluginModel(path=text) if is_file else PluginModel(name=text[:200])
