"""What the operator configured for one service, in plain seconds and counts.

Built by `autoscaler.configuration` from the YAML file, read by the core. One instance may be shared by thousands of
services (configuration by template), so nothing here names a service. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from autoscaler.core.amount import Amount
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.steps import Step
from autoscaler.core.world import Taint


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """One entry of ``policies:``: which plugin, under which label, with which options (validated, JSON values).

    ``shadow``: it is asked and nothing is done; ``place``: where a shadow stands in the list of all policies.
    """

    use: str
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    name: str = ""
    shadow: bool = False
    place: int = 0

    @property
    def label(self) -> str:
        """What records call it: its ``name`` or the plugin's."""
        return self.name or self.use


@dataclass(frozen=True, slots=True)
class Bounds:
    """Replica bounds; ``initial`` counts once, when the first revision is accepted."""

    min: int = 0
    max: int = 10
    initial: int = 0

    def nearest(self, replicas: int) -> int:
        """The number within them that is nearest."""
        return max(self.min, min(replicas, self.max))


@dataclass(frozen=True, slots=True)
class Scaling:
    """How proposals become demand; every ``_s`` in seconds. ``quorum``: how many policies have to agree; 0: more than
    half. ``down_while_unproven``: policies lower the demand also while a rollout is under way."""

    down_window_s: float = 300.0
    up_window_s: float = 0.0
    up_cooldown_s: float = 0.0
    down_cooldown_s: float = 0.0
    idle_s: float = 900.0
    max_age_s: float = 60.0
    combine: Literal["max", "min", "priority", "quorum"] = "max"
    quorum: int = 0
    down_while_unproven: bool = False


@dataclass(frozen=True, slots=True)
class SignalRule:
    """One signal's own age, and what stands in for it while it is unknown; ``number``: seconds in which the last value
    halves, replicas at least, or the value."""

    max_age_s: float = 60.0
    on_unknown: Literal["hold", "decay", "floor", "value"] = "hold"
    number: float = 0.0


@dataclass(frozen=True, slots=True)
class StepLimit:
    """At most ``by`` replicas (a step is at least 1) within any ``per_s`` seconds."""

    by: Amount
    per_s: float


@dataclass(frozen=True, slots=True)
class FreezeWindow:
    """A weekly window in local time: minutes since Monday 00:00 in ``zone`` (IANA); ``end`` may lie before
    ``start``."""

    start_minute: int
    end_minute: int
    zone: str
    text: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A window of the configuration in which the demand is ``exact``, or at ``least`` and at ``most`` so many.

    Weekly by ``window``, else once from ``begins_at`` until ``ends_at`` (seconds since the epoch). ``text`` says which
    it is, and why.
    """

    text: str
    window: FreezeWindow | None = None
    begins_at: float = 0.0
    ends_at: float = 0.0
    exact: int | None = None
    least: int | None = None
    most: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Guards:
    """Limits on proposals; none by default. ``plugins`` are guard plugins by use."""

    max_step_up: StepLimit | None = None
    max_step_down: StepLimit | None = None
    freeze: tuple[FreezeWindow, ...] = ()
    plugins: tuple[PolicyUse, ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateRules:
    """How a revision replaces another; defaults and reasons in docs/design/delivery.md. ``_s`` in seconds.

    ``steps``: of a canary, in order; of blue-green at most one, the preview. ``fast_window``: content of a stable
    revision with fewer than so many between it and the present stable one needs no steps.
    """

    strategy: Literal["rolling", "canary", "blue_green"] = "rolling"
    steps: tuple[Step, ...] = ()
    fast_window: int = 2
    order: Literal["auto", "start_first", "stop_first"] = "auto"
    max_surge: Amount = Amount(percent=25)
    max_unavailable: Amount = Amount(count=0)
    first_batch: int = 1
    max_parallel: int = 0
    min_healthy_s: float = 10.0
    startup_deadline_s: float = 120.0
    deadline_s: float = 300.0
    monitor_s: float = 30.0
    soak_s: float = 300.0
    failure_ratio_percent: int = 0
    on_failure: Literal["rollback", "hold", "continue"] = "rollback"
    on_rollback_failure: Literal["hold", "continue"] = "hold"
    rollback_max_surge: Amount = Amount(percent=100)
    analysis_patience_s: float = 900.0
    drain_timeout_s: float = 30.0
    stop_deadline_s: float = 60.0
    restart_attempts: int = 2
    restart_window_s: float = 600.0
    restart_delay_s: float = 5.0
    rollbacks_per_hour: int = 3
    history: int = 10


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that a service's replicas put up with; an empty part tolerates any, as Kubernetes' ``Exists`` does."""

    key: str = ""
    value: str = ""
    effect: str = ""

    def covers(self, taint: Taint) -> bool:
        """Whether the replicas tolerate it."""
        return self.key in {"", taint.key} and self.value in {"", taint.value} and self.effect in {"", taint.effect}


@dataclass(frozen=True, slots=True)
class Affinity:
    """A host whose label ``key`` is one of ``values`` is liked by ``weight``, or disliked where it is negative."""

    key: str
    values: tuple[str, ...]
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Share:
    """Of a service's replicas ``percent`` belong on hosts whose label ``key`` is ``value``."""

    key: str
    value: str
    percent: int


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each scorer counts; 0 leaves it out."""

    fit: int = 1
    balance: int = 1
    load: int = 1
    image: int = 1
    affinity: int = 2
    taints: int = 3
    anti_affinity: int = 1
    failed_here: int = 1
    shares: int = 2


@dataclass(frozen=True, slots=True)
class PlacementRules:
    """Where replicas go: filters first, then ``strategy``.

    ``spread`` lists topology keys (host labels, or ``host``), most important first. ``labels``: what a host must have,
    any of the values. ``beside_none_of``: services on whose hosts none of ours goes. ``scorers``: `score_host` plugins
    with their weights. ``drain_report_s``: what has not left a host by then is said to be stuck. ``rebalance``: whether
    replicas move to hosts that came later.
    """

    spread: tuple[str, ...] = ("zone", "host")
    max_per_host: int = 0
    host_grace_s: float = 60.0
    drain_report_s: float = 600.0
    strategy: Literal["spread", "binpack"] = "spread"
    platform: str = ""
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    affinity: tuple[Affinity, ...] = ()
    beside_none_of: tuple[str, ...] = ()
    shares: tuple[Share, ...] = ()
    weights: Weights = Weights()
    scorers: tuple[tuple[PolicyUse, int], ...] = ()
    rebalance: bool = False


@dataclass(frozen=True, slots=True)
class EventRules:
    """What a deployment event may set: repository patterns, argv patterns, environment names."""

    images: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    event_env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a revision may take of its host beyond an isolated container; nothing by default.

    ``mounts``: absolute host paths, each with what is below it, read-only where it ends in ``:ro``. ``capabilities``:
    kernel names without CAP_. ``cpu_millis`` and ``memory_bytes``: the most that one replica may have; 0 = no ceiling.
    """

    privileged: bool = False
    engine_socket: bool = False
    namespaces: tuple[Literal["network", "pid", "ipc"], ...] = ()
    mounts: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    cpu_millis: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """What stands in front of a service: ``port`` is a port name of the revision.

    ``router``: the name of a configured router, empty for the embedded one. ``listen``: host:port, empty where
    HAProxy's own configuration says it; ``backend``: the name that it has there. At most ``hold`` requests wait for a
    first replica, each at most ``hold_for_s``; with 0 none does, and none brings the service up from zero.
    """

    listen: str
    port: str = ""
    router: str = ""
    backend: str = ""
    hold: int = 100
    hold_for_s: float = 30.0


PRIORITY = 50
"""A service's priority where none is configured, as in Nomad."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Everything configured for a service except its name. ``priority``, 0 to 100: who gives way in a full pool.
    ``shadows``: policies that are asked and decide nothing. ``cost_per_hour``: of one replica, in millionths of the
    operator's currency; None: what its budget's prices make of it."""

    target: str
    target_kind: Literal["docker", "process"]
    bounds: Bounds = Bounds()
    policies: tuple[PolicyUse, ...] = ()
    scaling: Scaling = Scaling()
    guards: Guards = Guards()
    update: UpdateRules = UpdateRules()
    placement: PlacementRules = PlacementRules()
    events: EventRules = EventRules()
    allow: Permissions = Permissions()
    revision: RevisionSpec | None = None
    route: Route | None = None
    priority: int = PRIORITY
    shadows: tuple[PolicyUse, ...] = ()
    signals: tuple[tuple[str, SignalRule], ...] = ()
    overrides: tuple[Planned, ...] = ()
    cost_per_hour: int | None = None

    @property
    def listed(self) -> tuple[PolicyUse, ...]:
        """All policies, shadows too, in the order of the configuration."""
        uses = list(self.policies)
        for shadow in self.shadows:
            uses.insert(shadow.place, shadow)
        return tuple(uses)

    def max_age_of(self, signal: str) -> float:
        """How old the newest sample of the signal may be, in seconds."""
        return next((rule.max_age_s for name, rule in self.signals if name == signal), self.scaling.max_age_s)

    @property
    def fingerprint(self) -> str:
        """Changes when anything configured for the service does."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:32]
