"""Warnings: what a valid configuration will do that its author may not expect. Called by `loading`; exit stays 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from autoscaler.configuration.block import Block, locate
from autoscaler.configuration.cluster_build import is_loopback
from autoscaler.configuration.complaints import problem_at
from autoscaler.configuration.settings import Configuration, HostSettings, TargetSettings
from autoscaler.configuration.update_build import health_verdict_s
from autoscaler.configuration.vocabulary import Step, nearest
from autoscaler.core.budget_units import UNITS, amount_text
from autoscaler.core.budgets import Amounts, Budget, Kind
from autoscaler.core.quantities import format_duration
from autoscaler.core.revision import Resources
from autoscaler.core.settings import ServiceSettings
from autoscaler.errors import Problem
from autoscaler.ports.metrics import OWN_METRICS


def consequences(configuration: Configuration, root: Block, bodies: Mapping[str, Block]) -> list[Problem]:
    """Every warning, one a distinct service body however many services share it."""
    found = [*_engines(configuration, root), *_budgets(configuration, root)]
    groups: dict[int, list[str]] = {}
    for name, settings in configuration.services.items():
        groups.setdefault(id(settings), []).append(name)
    periods = _periods(configuration)
    queried = _queried(configuration)
    for names in groups.values():
        settings, body = configuration.services[names[0]], bodies[names[0]]
        polled = max((periods[name] for name in names if name in periods), default=0.0)
        for steps, what, remedy in _service(settings, configuration.targets[settings.target], polled):
            more = f" ({names[0]} and {len(names) - 1} more services)" if len(names) > 1 else ""
            found.append(problem_at(locate(body, steps), what + more, remedy, severity="warning"))
        for name in names:
            found.extend(_unsent(name, settings, body, queried.get(name)))
    if not configuration.services:
        found.append(problem_at(root.origin("services"), "no service is configured", "Add one.", severity="warning"))
    return found


def _periods(configuration: Configuration) -> dict[str, float]:
    """The longest polling period of each service that is polled."""
    periods: dict[str, float] = {}
    for source in configuration.prometheus:
        for service in source.queries:
            periods[service] = max(periods.get(service, 0.0), source.every_s)
    for lag in configuration.kafka_lags:
        periods[lag.service] = max(periods.get(lag.service, 0.0), lag.every_s)
    return periods


def _queried(configuration: Configuration) -> dict[str, set[str]]:
    """The metrics that are polled for each service that is polled."""
    found: dict[str, set[str]] = {}
    for source in configuration.prometheus:
        for service, queries in source.queries.items():
            found.setdefault(service, set()).update(queries)
    return found


def _unsent(service: str, settings: ServiceSettings, body: Block, queried: set[str] | None) -> Iterator[Problem]:
    """Metrics that policies name and that no query sends. Of a service that nobody polls, anything may be sent."""
    for index, use in enumerate(settings.policies if queried is not None else ()):
        metric = use.options.get("metric")
        if isinstance(metric, str) and queried is not None and metric not in queried | OWN_METRICS:
            what = f"no query sends {metric} for {service}: unknown unless another source does"
            near = nearest(metric, queried)
            remedy = f'Did you mean "{near}"?' if near else "Add the query under metrics.prometheus."
            yield problem_at(locate(body, ("policies", index, "with", "metric")), what, remedy, severity="warning")


def _engines(configuration: Configuration, root: Block) -> Iterator[Problem]:
    for target in configuration.targets.values():
        for index, host in enumerate(target.hosts):
            parts = urlsplit(host.url)
            if parts.scheme == "tcp" and host.tls is None and not is_loopback(parts.hostname or ""):
                origin = locate(root, ("targets", target.name, "hosts", index, "url"))
                what = "a plain tcp engine: whoever reaches it owns the host"
                yield problem_at(origin, what, "Add tls: or use ssh://.", severity="warning")
    for index, source in enumerate(configuration.prometheus):
        if source.timeout_s > source.every_s:
            origin = locate(root, ("metrics", "prometheus", index, "timeout"))
            what = f"{format_duration(source.timeout_s)} is longer than every {format_duration(source.every_s)}"
            yield problem_at(origin, what, "Lower timeout or raise every.", severity="warning")


def _budgets(configuration: Configuration, root: Block) -> Iterator[Problem]:
    """Of each limit that its services exceed in any case, or that does not count one. What deployments bring is not
    known here."""
    for budget in configuration.budgets.values():
        bodies: dict[int, list[str]] = {}
        for name in sorted(budget.services):
            bodies.setdefault(id(configuration.services[name]), []).append(name)
        named = [(configuration.services[names[0]], names) for names in bodies.values()]
        for index, (kind, limit) in enumerate(budget.limits):
            each = [(settings, names, _unit(budget, settings)[index]) for settings, names in named]
            for what, remedy in _limit(kind, limit, each):
                yield problem_at(locate(root, ("budgets", budget.name, kind)), what, remedy, severity="warning")


def _unit(budget: Budget, settings: ServiceSettings) -> Amounts:
    resources = settings.revision.resources if settings.revision is not None else Resources()
    return budget.unit(resources, settings.cost_per_hour)


def _limit(kind: Kind, limit: int, each: Sequence[tuple[ServiceSettings, list[str], int]]) -> Iterator[tuple[str, str]]:
    """``each``: services of one body, and what one replica of them takes."""
    least = sum(settings.bounds.min * len(names) * takes for settings, names, takes in each)
    if least > limit:
        unit = f" {UNITS[kind].unit}" if UNITS[kind].unit else ""
        taken = f"the {amount_text(kind, least)} that replicas.min of its services takes in any case"
        yield f"{amount_text(kind, limit)}{unit} is less than {taken}", "Raise it or lower replicas.min."
    free = sorted(name for settings, names, takes in each if not takes and _counts(kind, settings) for name in names)
    if free:
        more = f" and {len(free) - 1} more" if len(free) > 1 else ""
        why, remedy = _UNCOUNTED[kind]
        yield f"counts nothing of {free[0]}{more}, {why}", remedy


def _counts(kind: Kind, settings: ServiceSettings) -> bool:
    """Whether it is known what a replica takes, and not said to be nothing."""
    return settings.revision is not None and not (kind == "cost_per_hour" and settings.cost_per_hour == 0)


_UNCOUNTED: Mapping[Kind, tuple[str, str]] = {
    "cpu": ("whose revision reserves none", "Give revision.resources.cpu."),
    "memory": ("whose revision reserves none", "Give revision.resources.memory."),
    "cost_per_hour": ("whose replicas have no price", "Give cost_per_hour or prices.replica."),
}
"""A replica is always one."""


Finding = tuple[tuple[Step, ...], str, str]


def _service(settings: ServiceSettings, target: TargetSettings, polled_s: float) -> Iterator[Finding]:
    if not settings.policies:
        yield (
            ("policies",),
            f"no policy{' but shadows' if settings.shadows else ''}, so only commands change the number of replicas",
            "Add one, such as target_value.",
        )
    if target.kind == "docker" and not settings.events.images:
        yield ("images",), "empty, so no deployment event may bring an image", 'Add patterns such as "shop/*".'
    if settings.revision is not None and settings.revision.health is None:
        yield ("revision", "health"), "no health check, so a replica that runs counts as healthy", "Add one."
    yield from _update(settings)
    yield from _windows(settings, polled_s)
    reach = _reach(settings, target)
    if reach is not None and reach[0] < settings.bounds.max:
        most, why = reach
        yield (
            ("replicas", "max"),
            f"{settings.bounds.max} is out of reach: {why} allow {most}",
            "Lower max or add hosts.",
        )


def _update(settings: ServiceSettings) -> Iterator[Finding]:
    update = settings.update
    if update.soak_s == 0:
        yield (
            ("update", "soak"),
            "0s, so a fault that shows after the update is not rolled back",
            "Give it some minutes.",
        )
    if update.on_failure == "continue":
        yield ("update", "on_failure"), "a failed update goes on, so a broken revision reaches all", "Use rollback."
    speaks_s = health_verdict_s(settings.revision.health if settings.revision else None)
    if speaks_s >= update.deadline_s:
        what = (
            f"{format_duration(update.deadline_s)} ends before the health check can fail ({format_duration(speaks_s)})"
        )
        yield ("update", "deadline"), what, "Raise deadline or lower health.start."
    elif update.monitor_s and speaks_s > update.monitor_s:
        what = (
            f"{format_duration(update.monitor_s)} ends before the health check can fail ({format_duration(speaks_s)})"
        )
        yield ("update", "monitor"), what, "Raise monitor or soak."


def _windows(settings: ServiceSettings, polled_s: float) -> Iterator[Finding]:
    scaling = settings.scaling
    if not polled_s:
        return
    period = format_duration(polled_s)
    if scaling.max_age_s < polled_s:
        what = f"{format_duration(scaling.max_age_s)} is shorter than the metric's period {period}: mostly unknown"
        yield ("scaling", "max_age"), what, "Raise max_age or poll more often."
    for name, rule in settings.signals:
        if rule.max_age_s < polled_s:
            what = f"{format_duration(rule.max_age_s)} is shorter than the metric's period {period}: mostly unknown"
            yield ("signals", name, "max_age"), what, "Raise max_age or poll more often."
    for key, window_s in (("down_window", scaling.down_window_s), ("up_window", scaling.up_window_s)):
        if 0 < window_s < polled_s:
            what = f"{format_duration(window_s)} is shorter than the metric's period {period}"
            yield ("scaling", key), what, "Raise the window or poll more often."


def _reach(settings: ServiceSettings, target: TargetSettings) -> tuple[int, str] | None:
    """The most replicas that the hosts can take as far as the file tells, and what limits them."""
    if target.kind != "docker":
        return (1, "fixed host ports") if settings.revision and _fixed_port(settings) else None
    limits: list[tuple[int, str]] = []
    if settings.placement.max_per_host:
        limits.append((settings.placement.max_per_host * len(target.hosts), "max_per_host and the hosts"))
    if settings.revision is not None:
        if settings.revision.pins_host:
            limits.append((len(target.hosts), "a fixed port or volume and the hosts"))
        needs = settings.revision.resources
        sums = (
            _sum(target.hosts, "cpu_millis", needs.cpu_millis, "the hosts' cpu"),
            _sum(target.hosts, "memory_bytes", needs.memory_bytes, "the hosts' memory"),
        )
        limits.extend(limit for limit in sums if limit is not None)
    return min(limits, default=None)


def _fixed_port(settings: ServiceSettings) -> bool:
    return settings.revision is not None and any(port.host is not None for _, port in settings.revision.ports)


def _sum(hosts: tuple[HostSettings, ...], key: str, need: int, why: str) -> tuple[int, str] | None:
    offered = [int(getattr(host, key)) for host in hosts]
    return (sum(offer // need for offer in offered), why) if need and all(offered) else None
