"""The configuration in the file's own words, every default filled in, without secrets.

Called by `loading` for the digest and by `explain` for `check --show`. What may be a secret is shown as ``***``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from autoscaler.configuration.settings import (
    Configuration,
    HostSettings,
    KafkaLagSettings,
    RouterSettings,
    StreamSecurity,
    StreamSettings,
    TargetSettings,
)
from autoscaler.core.amount import Amount
from autoscaler.core.budget_units import MILLIONTHS
from autoscaler.core.budgets import Budget, Kind
from autoscaler.core.quantities import format_duration
from autoscaler.core.revision import Health, RevisionSpec
from autoscaler.core.settings import (
    Permissions,
    PlacementRules,
    PolicyUse,
    Route,
    ServiceSettings,
    SignalRule,
    StepLimit,
)
from autoscaler.core.steps import Step as RolloutStep

HIDDEN = "***"
_SECRET_NAME = re.compile(r"pass|secret|token|key|credential|auth|dsn|private|cookie|signature", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@")

Tree = dict[str, Any]
seconds = format_duration


def masked(name: str, value: object) -> object:
    """The value, unless its name or its form says that it is a secret."""
    if isinstance(value, Mapping):
        return {key: masked(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(name, item) for item in value]
    if _SECRET_NAME.search(name) and not isinstance(value, bool | int | float | None):
        return HIDDEN
    return HIDDEN if isinstance(value, str) and _SECRET_VALUE.search(value) else value


def effective_cluster(configuration: Configuration) -> Tree:
    """Everything but the services, as the file would say it."""
    http = configuration.http
    return {
        "cluster": configuration.cluster,
        "stream": _stream(configuration.stream),
        "http": None
        if http is None
        else {
            "listen": f"{http.host}:{http.port}",
            "cert_file": _path(http.cert_file),
            "key_file": _path(http.key_file),
        },
        "registries": [
            {"host": registry.host, "username": registry.username, "password_file": _path(registry.password_file)}
            for registry in configuration.registries
        ],
        "targets": {name: _target(target) for name, target in configuration.targets.items()},
        "routers": {name: _router(router) for name, router in configuration.routers.items()},
        "metrics": {
            "prometheus": [
                {
                    "url": source.url,
                    "every": seconds(source.every_s),
                    "timeout": seconds(source.timeout_s),
                    "queries": {name: dict(asked) for name, asked in source.queries.items()},
                }
                for source in configuration.prometheus
            ],
            "kafka": [_lag(lag) for lag in configuration.kafka_lags],
        },
        "budgets": {name: _budget(budget) for name, budget in configuration.budgets.items()},
        "plugins": [
            {"plugin": name, "trusted": name in configuration.trusted_plugins} for name in configuration.plugins
        ],
    }


def _budget(budget: Budget) -> Tree:
    prices = budget.prices
    return {
        "services": sorted(budget.services),
        **{kind: _limit(kind, limit) for kind, limit in budget.limits},
        "prices": {"replica": _money(prices.replica), "cpu": _money(prices.cpu), "memory": _money(prices.memory)},
    }


def _limit(kind: Kind, limit: int) -> str | int | float:
    return f"{limit}m" if kind == "cpu" else _money(limit) if kind == "cost_per_hour" else limit


def _money(millionths: int) -> float:
    return millionths / MILLIONTHS


def _router(router: RouterSettings) -> Tree:
    if router.socket:
        return {"kind": "haproxy", "socket": router.socket, "activator": router.activator}
    return {
        "kind": "haproxy",
        "dir": _path(router.dir),
        "program": router.program,
        "activator": router.activator,
    }


def _path(path: object) -> str | None:
    return None if path is None else str(path)


def _lag(lag: KafkaLagSettings) -> Tree:
    return {
        "group": lag.group,
        "topics": list(lag.topics),
        "service": lag.service,
        "name": lag.name,
        "every": seconds(lag.every_s),
        "timeout": seconds(lag.timeout_s),
        "offset_reset": lag.offset_reset,
        "exclude_persistent_lag": None if lag.persistent_s is None else seconds(lag.persistent_s),
        "brokers": list(lag.brokers.brokers),
        "security": _security(lag.brokers.security),
    }


def _stream(stream: StreamSettings) -> Tree:
    return {
        "kind": stream.kind,
        "brokers": list(stream.brokers),
        "path": _path(stream.path),
        "prefix": stream.prefix,
        "partitions": stream.partitions,
        "replication": stream.replication or "auto",
        "member": stream.member,
        "session_timeout": seconds(stream.session_timeout_s),
        "security": _security(stream.security),
    }


def _security(security: StreamSecurity) -> Tree:
    return {
        "protocol": security.protocol,
        "mechanism": security.mechanism,
        "username": security.username,
        "password_file": _path(security.password_file),
        "ca_file": _path(security.ca_file),
        "cert_file": _path(security.cert_file),
        "key_file": _path(security.key_file),
    }


def _target(target: TargetSettings) -> Tree:
    if target.kind == "process":
        return {"kind": "process", "dir": _path(target.dir)}
    prune = None if target.prune_s is None else seconds(target.prune_s)
    return {"kind": target.kind, "hosts": [_host(host) for host in target.hosts], "prune": prune}


def _host(host: HostSettings) -> Tree:
    tls = host.tls
    return {
        "name": host.name,
        "url": host.url,
        "address": host.address,
        "bind": host.bind,
        "labels": dict(host.labels),
        "tls": None
        if tls is None
        else {"ca_file": str(tls.ca_file), "cert_file": str(tls.cert_file), "key_file": str(tls.key_file)},
        "ssh_config": _path(host.ssh_config),
        "capacity": {"cpu": f"{host.cpu_millis}m", "memory": host.memory_bytes},
        "overcommit": {"cpu": f"{host.cpu_percent}%", "memory": f"{host.memory_percent}%"},
        "keep_back": {"cpu": f"{host.kept_cpu_millis}m", "memory": host.kept_memory_bytes},
        "taints": [str(taint) for taint in host.taints],
    }


def effective_service(settings: ServiceSettings) -> Tree:
    """One service's body, as the file would say it."""
    scaling = settings.scaling
    return {
        "target": settings.target,
        "priority": settings.priority,
        "cost_per_hour": None if settings.cost_per_hour is None else _money(settings.cost_per_hour),
        "replicas": {"min": settings.bounds.min, "max": settings.bounds.max, "initial": settings.bounds.initial},
        "policies": [_use(use) | {"shadow": use.shadow} for use in settings.listed],
        "scaling": {
            "down_window": seconds(scaling.down_window_s),
            "up_window": seconds(scaling.up_window_s),
            "up_cooldown": seconds(scaling.up_cooldown_s),
            "down_cooldown": seconds(scaling.down_cooldown_s),
            "idle": seconds(scaling.idle_s),
            "max_age": seconds(scaling.max_age_s),
            "combine": scaling.combine,
            "quorum": scaling.quorum or None,
            "down_while_unproven": scaling.down_while_unproven,
        },
        "signals": {name: _signal(rule) for name, rule in settings.signals},
        "guards": {
            "max_step_up": _step(settings.guards.max_step_up),
            "max_step_down": _step(settings.guards.max_step_down),
            "freeze": [window.text for window in settings.guards.freeze],
            "plugins": [_use(use) for use in settings.guards.plugins],
        },
        "update": _update(settings),
        "placement": effective_placement(settings.placement),
        "images": list(settings.events.images),
        "commands": list(settings.events.commands),
        "event_env": list(settings.events.event_env),
        "allow": _allow(settings.allow),
        "revision": None if settings.revision is None else _revision(settings.revision),
        "route": None if settings.route is None else _route(settings.route),
    }


def _signal(rule: SignalRule) -> Tree:
    number: Any = seconds(rule.number) if rule.on_unknown == "decay" else rule.number
    stand_in: Tree = {rule.on_unknown: round(rule.number) if rule.on_unknown == "floor" else number}
    return {"max_age": seconds(rule.max_age_s), "on_unknown": "hold" if rule.on_unknown == "hold" else stand_in}


def _route(route: Route) -> Tree:
    return {
        "listen": route.listen or None,
        "port": route.port,
        "router": route.router or None,
        "backend": route.backend or None,
        "hold": route.hold,
        "hold_for": seconds(route.hold_for_s),
    }


def _allow(allowed: Permissions) -> Tree:
    return {
        "privileged": allowed.privileged,
        "engine_socket": allowed.engine_socket,
        "namespaces": list(allowed.namespaces),
        "mounts": list(allowed.mounts),
        "capabilities": list(allowed.capabilities),
        "devices": list(allowed.devices),
        "cpu": f"{allowed.cpu_millis}m",
        "memory": allowed.memory_bytes,
    }


def effective_placement(rules: PlacementRules) -> Tree:
    """The `placement:` block, as the file would say it."""
    shares: dict[str, dict[str, str]] = {}
    for share in rules.shares:
        shares.setdefault(share.key, {})[share.value] = f"{share.percent}%"
    return {
        "strategy": rules.strategy,
        "spread": list(rules.spread),
        "max_per_host": rules.max_per_host,
        "host_grace": seconds(rules.host_grace_s),
        "drain_report": seconds(rules.drain_report_s),
        "platform": rules.platform or None,
        "labels": {key: list(values) for key, values in rules.labels},
        "tolerations": [asdict(toleration) | {"effect": toleration.effect or None} for toleration in rules.tolerations],
        "affinity": [{"labels": {one.key: list(one.values)}, "weight": one.weight} for one in rules.affinity],
        "not_beside": list(rules.beside_none_of),
        "shares": shares,
        "weights": asdict(rules.weights),
        "scorers": [_use(use) | {"weight": weight} for use, weight in rules.scorers],
        "rebalance": rules.rebalance,
    }


def _use(use: PolicyUse) -> Tree:
    return {"use": use.use, "name": use.label, "with": masked("", use.options)}


def _amount(amount: Amount) -> str | int:
    return f"{amount.percent}%" if amount.count is None else amount.count


def _step(limit: StepLimit | None) -> Tree | None:
    return None if limit is None else {"by": _amount(limit.by), "per": seconds(limit.per_s)}


def _rollout_step(step: RolloutStep) -> Tree:
    size: Tree = {"weight": f"{step.weight}%"} if step.count is None else {"count": step.count}
    return {**size, "pause": "until promote" if step.pause_s is None else seconds(step.pause_s)}


def _update(settings: ServiceSettings) -> Tree:
    update = settings.update
    return {
        "strategy": update.strategy,
        "steps": [_rollout_step(step) for step in update.steps],
        "fast_window": update.fast_window,
        "order": update.order,
        "max_surge": _amount(update.max_surge),
        "max_unavailable": _amount(update.max_unavailable),
        "first_batch": update.first_batch,
        "max_parallel": update.max_parallel,
        "min_healthy": seconds(update.min_healthy_s),
        "startup_deadline": seconds(update.startup_deadline_s),
        "deadline": seconds(update.deadline_s),
        "monitor": seconds(update.monitor_s),
        "soak": seconds(update.soak_s),
        "failure_ratio": f"{update.failure_ratio_percent}%",
        "on_failure": update.on_failure,
        "on_rollback_failure": update.on_rollback_failure,
        "rollback_max_surge": _amount(update.rollback_max_surge),
        "analysis_patience": seconds(update.analysis_patience_s),
        "drain_timeout": seconds(update.drain_timeout_s),
        "stop_deadline": seconds(update.stop_deadline_s),
        "restart": {
            "attempts": update.restart_attempts,
            "window": seconds(update.restart_window_s),
            "delay": seconds(update.restart_delay_s),
        },
        "rollbacks_per_hour": update.rollbacks_per_hour,
        "history": update.history,
    }


def _revision(spec: RevisionSpec) -> Tree:
    return {
        "image": spec.image,
        "command": [masked("", item) for item in spec.command],
        "entrypoint": [masked("", item) for item in spec.entrypoint],
        "env": {name: masked(name, value) for name, value in spec.env},
        "ports": {
            name: port.container if port.host is None else {"container": port.container, "host": port.host}
            for name, port in spec.ports
        },
        "resources": {"cpu": f"{spec.resources.cpu_millis}m", "memory": spec.resources.memory_bytes},
        "health": None if spec.health is None else _health(spec.health),
        "stop": {"signal": spec.stop.signal, "grace": seconds(spec.stop.grace_s)},
        "user": spec.user,
        "volumes": list(spec.volumes),
        "networks": list(spec.networks),
        "secrets": dict(spec.secrets),
        "labels": dict(spec.labels),
        "pull": spec.pull or None,
        "privileged": spec.privileged,
        "cap_add": list(spec.cap_add),
        "cap_drop": list(spec.cap_drop),
        "devices": list(spec.devices),
        "pid": spec.pid or None,
        "ipc": spec.ipc or None,
        "read_only": spec.read_only,
    }


def _health(health: Health) -> Tree:
    return {
        "http": health.http,
        "tcp": health.tcp,
        "port": health.port,
        "every": seconds(health.every_s),
        "timeout": seconds(health.timeout_s),
        "failures": health.failures,
        "start": seconds(health.start_s),
    }


def digest_of(configuration: Configuration) -> str:
    """SHA-256 of the effective configuration without secrets; each distinct body is read once."""
    digests: dict[int, str] = {}
    names: dict[str, str] = {}
    for name, settings in configuration.services.items():
        if id(settings) not in digests:
            digests[id(settings)] = _hash(effective_service(settings))
        names[name] = digests[id(settings)]
    return _hash({"cluster": effective_cluster(configuration), "services": names})


def _hash(tree: Tree) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
