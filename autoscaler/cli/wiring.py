"""Puts the parts together: the only place that knows concrete adapters by name. Called by `run`, by the demo, and by
whatever looks at hosts or sources by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from autoscaler.adapters.pretend.target import PretendTarget
from autoscaler.adapters.streams import client_for, member_for
from autoscaler.cli.context import Opened
from autoscaler.configuration.settings import Configuration, RouterSettings, StreamSettings
from autoscaler.core.settings import Route
from autoscaler.engine.routing import Routing
from autoscaler.ports.router import Router
from autoscaler.ports.target import Target

if TYPE_CHECKING:
    from autoscaler.adapters.kafka.lag import KafkaLagSource
    from autoscaler.adapters.prometheus.source import PrometheusSource
    from autoscaler.engine.member import MemberParts


def targets_of(configuration: Configuration) -> dict[str, Target]:
    """An unopened adapter for each configured target; clients are imported only where they are used."""
    targets: dict[str, Target] = {}
    for name, settings in configuration.targets.items():
        if settings.kind == "docker":
            from autoscaler.adapters.docker.target import DockerTarget

            targets[name] = DockerTarget(settings, configuration.cluster, configuration.registries)
        else:
            from autoscaler.adapters.process.target import ProcessTarget

            targets[name] = ProcessTarget(settings, configuration.cluster, working_directory=configuration.directory)
    return targets


def pretended(configuration: Configuration) -> dict[str, Target]:
    """Targets that touch nothing, for an instance that only observes."""
    return {
        name: PretendTarget(name, [host.name for host in settings.hosts])
        for name, settings in configuration.targets.items()
    }


def _router_of(configuration: Configuration, others: Callable[[], bool] = lambda: False) -> Router | None:
    """What carries the requests of the services that have a route; None where none has. ``others``: whether another
    member runs on this machine."""
    routes = {name: s.route for name, s in configuration.services.items() if s.route is not None}
    if not routes:
        return None
    from autoscaler.adapters.router.embedded import EmbeddedRouter

    inside = {service: route for service, route in routes.items() if not route.router}
    embedded = EmbeddedRouter(inside, others=others)
    if len(inside) == len(routes):
        return embedded
    by_service: dict[str, Router] = dict.fromkeys(inside, embedded)
    held: dict[str, Route] = {}
    for name, settings in configuration.routers.items():
        of_it = {service: route for service, route in routes.items() if route.router == name}
        haproxy = _haproxy(settings, of_it)
        by_service.update(dict.fromkeys(of_it, haproxy))
        host = f"[{settings.activator}]" if ":" in settings.activator else settings.activator
        held.update({each: replace(route, listen=f"{host}:0") for each, route in of_it.items() if route.hold})
    return Routing(by_service, EmbeddedRouter(held), frozenset(held))


def _haproxy(settings: RouterSettings, routes: Mapping[str, Route]) -> Router:
    from autoscaler.adapters.haproxy.own_process import OwnProcess
    from autoscaler.adapters.haproxy.router import HaproxyRouter
    from autoscaler.adapters.haproxy.runtime import Runtime

    if settings.dir is None:
        backends = {service: route.backend or service for service, route in routes.items()}
        return HaproxyRouter(settings.name, Runtime(settings.socket), backends)
    own = OwnProcess(settings.program, settings.dir, {service: route.listen for service, route in routes.items()})
    return HaproxyRouter(settings.name, own.runtime, {service: service for service in routes}, own)


def prometheus_sources(configuration: Configuration) -> list[PrometheusSource]:
    """One a Prometheus that is to be polled, in the order of the configuration."""
    if not configuration.prometheus:
        return []
    from autoscaler.adapters.prometheus.source import PrometheusSource

    return [PrometheusSource(settings) for settings in configuration.prometheus]


def lag_sources(configuration: Configuration, clock: Callable[[], float]) -> list[KafkaLagSource]:
    """One a consumer group whose lag is to be polled, in the order of the configuration; groups of the same brokers
    share their connections. ``clock``: seconds since the epoch."""
    if not configuration.kafka_lags:
        return []
    from autoscaler.adapters.kafka.group_offsets import GroupOffsets
    from autoscaler.adapters.kafka.lag import KafkaLagSource

    readers: dict[StreamSettings, GroupOffsets] = {}
    sources = []
    for settings in configuration.kafka_lags:
        if settings.brokers not in readers:
            readers[settings.brokers] = GroupOffsets(settings.brokers, configuration.cluster)
        sources.append(KafkaLagSource(settings, readers[settings.brokers], clock))
    return sources


def observing(configuration: Configuration) -> Configuration:
    """The configuration of an instance that decides and acts on nothing, in a group and topics of its own."""
    stream = replace(configuration.stream, prefix=f"{configuration.stream.prefix}.observe")
    return replace(configuration, stream=stream)


def group_of(configuration: Configuration, *, observe: bool) -> str:
    """The consumer group and transactional-id stem of the members."""
    return f"{configuration.cluster}-observe" if observe else configuration.cluster


def member_parts(
    opened: Opened, member_id: str, *, observe: bool = False, others: Callable[[], bool] = lambda: False
) -> MemberParts:
    """Everything a member is made of, unopened. ``others``: whether another member runs on this machine."""
    from autoscaler.engine.member import MemberParts

    configuration = observing(opened.configuration) if observe else opened.configuration
    group = group_of(configuration, observe=observe)
    stream = replace(configuration.stream, member=member_id)
    return MemberParts(
        configuration=configuration,
        member_id=member_id,
        stream=member_for(stream, group),
        client=client_for(stream, group),
        targets=pretended(configuration) if observe else targets_of(configuration),
        plugins=opened.plugins,
        router=None if observe else _router_of(configuration, others),
        observes=observe,
    )
