"""What happens in a simulated world: its service's settings, its fates, and the events and faults that chance picks.

All by one `Chance`, so that a seed is a world.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from autoscaler.core.activation import METRIC
from autoscaler.core.amount import Amount
from autoscaler.core.settings import (
    Bounds,
    EventRules,
    Guards,
    Route,
    Scaling,
    ServiceSettings,
    StepLimit,
    UpdateRules,
)
from autoscaler.core.steps import Step
from autoscaler.events.moments import write_time
from autoscaler.ports.stream import Topic
from autoscaler.simulator.chance import Chance
from autoscaler.simulator.hosts import FateName

SERVICE = "web"
FATES: tuple[tuple[float, FateName], ...] = (
    (6.0, "good"),
    (1.0, "slow"),
    (1.5, "crash"),
    (0.8, "silent"),
    (0.8, "sick"),
    (1.0, "late_death"),
    (0.8, "flaky"),
    (0.5, "uncreatable"),
    (0.5, "unresolvable"),
)


def some_settings(chance: Chance) -> ServiceSettings:
    """Settings with short clocks; every choice of the configuration that the core distinguishes comes up."""
    surge = chance.pick([Amount(percent=25), Amount(count=1), Amount(count=2), Amount(percent=100), Amount(count=0)])
    unavailable = chance.pick([Amount(count=0), Amount(count=0), Amount(count=1), Amount(percent=25)])
    update = UpdateRules(
        order=chance.weighted([(4.0, "auto"), (1.0, "stop_first")]),
        max_surge=surge,
        max_unavailable=unavailable,
        first_batch=chance.pick([1, 1, 1, 0, 2]),
        max_parallel=chance.pick([0, 0, 1, 2]),
        min_healthy_s=chance.pick([0.5, 2.0]),
        startup_deadline_s=8.0,
        deadline_s=25.0,
        monitor_s=8.0,
        soak_s=chance.pick([0.0, 8.0]),
        failure_ratio_percent=chance.pick([0, 0, 30]),
        on_failure=chance.weighted([(6.0, "rollback"), (1.0, "hold")]),
        analysis_patience_s=20.0,
        stop_deadline_s=10.0,
        restart_window_s=60.0,
        restart_delay_s=chance.pick([0.5, 3.0]),
        rollbacks_per_hour=chance.pick([1, 3]),
    )
    low, high = chance.pick([(0, 4), (1, 5), (0, 6)])
    step_up = StepLimit(chance.pick([Amount(count=1), Amount(percent=50)]), 10.0) if chance.happens(0.4) else None
    step_down = StepLimit(chance.pick([Amount(count=1), Amount(percent=25)]), 10.0) if chance.happens(0.4) else None
    scaling = Scaling(
        down_window_s=12.0,
        up_window_s=chance.pick([0.0, 0.0, 4.0]),
        up_cooldown_s=chance.pick([0.0, 0.0, 5.0]),
        down_cooldown_s=chance.pick([0.0, 0.0, 5.0]),
        idle_s=15.0,
        max_age_s=6.0,
    )
    return ServiceSettings(
        target="edge",
        target_kind=chance.pick(["process", "docker"]),
        bounds=Bounds(low, high, chance.pick([low, max(low, 2)])),
        scaling=scaling,
        guards=Guards(step_up, step_down),
        update=update,
        events=EventRules(images=("shop/*",), commands=("**",)),
    )


def with_strategy(settings: ServiceSettings, odd: Chance) -> ServiceSettings:
    """The same service, updated by steps or by a switch, mostly with a route in front of it."""
    pauses = [0.0, 2.0, 6.0, None]
    strategy: Literal["canary", "blue_green"] = odd.weighted([(3.0, "canary"), (2.0, "blue_green")])
    steps: list[Step] = []
    for _ in range(1 + odd.below(3)):
        by_count = odd.happens(0.3)
        size = {"count": 1 + odd.below(2)} if by_count else {"weight": odd.pick([0, 5, 20, 34, 50, 100])}
        steps.append(Step(**size, pause_s=odd.pick(pauses)))
    if strategy == "blue_green":
        steps = steps[: odd.below(2)]
    route = Route("127.0.0.1:0", "http") if odd.happens(0.7) else None
    update = replace(settings.update, strategy=strategy, steps=tuple(steps), fast_window=odd.below(3))
    return replace(settings, update=update, route=route)


TOPICS = {"deployment": Topic.DEPLOYMENTS, "control": Topic.CONTROL, "metric": Topic.METRICS}


@dataclass(frozen=True, slots=True)
class Published:
    """An input event: which topic, its id (empty: unreadable) and bytes."""

    topic: str
    id: str
    value: bytes


class Script:
    """Makes events, one after another; remembers them, so that some come twice. ``later``: some overrides begin later
    than they are asked for."""

    def __init__(
        self, chance: Chance, settings: ServiceSettings, service: str = SERVICE, later: Chance | None = None
    ) -> None:
        self._chance = chance
        self._service = service
        self._later = later
        self.now = 0.0
        self._settings = settings
        self._number = 0
        self.versions: list[str] = []
        self.fates: dict[str, FateName] = {}
        self.sent: list[Published] = []

    def deployment(self, *, good: bool = False, cpu_millis: int = 0) -> Published:
        """A deployment: mostly a new version, at times one that was there before. ``cpu_millis``: what one replica
        reserves."""
        chance = self._chance
        if self.versions and not good and chance.happens(0.2):
            version = chance.pick(self.versions)
        else:
            version = f"v{len(self.versions) + 1}"
            self.versions.append(version)
            self.fates[version] = "good" if good or len(self.versions) == 1 else chance.weighted(FATES)
        if self._settings.target_kind == "process":
            revision: dict[str, Any] = {"command": ["serve", version]}
        else:
            revision = {"image": f"shop/web:{version}"}
        if cpu_millis:
            revision["resources"] = {"cpu": f"{cpu_millis}m"}
        return self._event("deployment", {"version": version, "revision": revision})

    def command(self, name: str = "") -> Published:
        """An operator's command."""
        chance = self._chance
        weights: list[tuple[float, str]] = [
            (4.0, "scale"), (1.0, "auto"), (1.5, "pause"), (1.5, "resume"), (1.0, "promote"), (1.5, "abort"),
            (1.0, "approve"), (1.0, "freeze"), (1.0, "unfreeze"), (1.5, "rollback"), (0.1, "retire"),
        ]  # fmt: skip
        name = name or chance.weighted(weights)
        data: dict[str, Any] = {"command": "scale" if name == "auto" else name}
        if name == "auto":
            data["replicas"] = "auto"
        elif name == "scale":
            data["replicas"] = chance.below(7)
            if chance.happens(0.5):
                data["for"] = f"{5 + chance.below(30)}s"
            if self._later is not None and self._later.happens(0.4):
                data["at"] = write_time(self.now + self._later.within(-5.0, 15.0))
        elif name in {"pause", "freeze"} and chance.happens(0.6):
            data["for"] = f"{3 + chance.below(25)}s"
        if name == "freeze" and chance.happens(0.3):
            data["scope"] = "all"
        if name == "rollback" and chance.happens(0.4):
            data["to"] = 1 + chance.below(5)
        return self._event("control", data)

    def scale(self, replicas: int) -> Published:
        """An operator's demand, until another comes."""
        return self._event("control", {"command": "scale", "replicas": replicas})

    def freeze(self, for_s: int) -> Published:
        """A freeze of all."""
        return self._event("control", {"command": "freeze", "scope": "all", "for": f"{for_s}s"})

    def verdict_of(self, revision: int, worth: float) -> Published:
        """What a monitor says of one revision's own replicas: near 0 they are good, near 1 bad."""
        return self._event("metric", {"samples": [{"name": "own_errors", "value": worth, "revision": revision}]})

    def sample(self, load: float | str | None, errors: float | None, held: int | None = None) -> Published:
        """A metric event; a text as load makes it unreadable. ``held``: requests that wait at the router."""
        data: dict[str, Any] = {}
        if load is not None:
            data["load"] = load
        if errors is not None:
            data["errors"] = errors
        if held is not None:
            data[METRIC] = held
        return self._event("metric", data or {"other": 1.0})

    def junk(self) -> Published:
        """Bytes that are no event, or an event that fails its schema."""
        if self._chance.happens(0.5):
            return Published("deployment", "", b'{"specversion": "1.0", "id"')
        return self._event("control", {"command": "scale", "replicas": "seven"})

    def again(self) -> Published | None:
        """A deployment or command that was sent before."""
        return self._chance.pick(self.sent) if self.sent else None

    def _event(self, kind: str, data: dict[str, Any]) -> Published:
        self._number += 1
        identity = f"{kind[0]}-{self._number}"
        event = {
            "specversion": "1.0",
            "id": identity,
            "source": f"/sim/{kind}",
            "type": f"io.eventscaler.{kind}.v1",
            "subject": self._service,
            "datacontenttype": "application/json",
            "data": data,
        }
        published = Published(kind, identity, json.dumps(event).encode())
        if kind != "metric":
            self.sent.append(published)
        return published
