"""Simulated hosts: the semantics of the target port on virtual time. They obey late, lose answers, refuse, and are
unplugged.

Containers behave as their version's fate says. Whoever asks is never trusted to be the owner: a call of a former one
that is still under way takes effect as on a bare engine, and the books show it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from autoscaler.core.actions import Action, Create, Outcome, Remove, Resolve, Start, StopReplica
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.world import HostCondition, HostView, ObservedReplica
from autoscaler.simulator.chance import Chance

FateName = Literal["good", "slow", "crash", "silent", "sick", "late_death", "flaky", "uncreatable", "unresolvable"]
LATE_S = 0.8
"""How long after a lost answer its effect may still come: less than the look that follows the loss waits."""


@dataclass(slots=True)
class Container:
    """One container: what it is called and labelled, and how it is now."""

    name: str
    host: str
    slot: int
    revision: int
    attempt: int
    generation: int
    token: int
    version: str
    condition: Literal["created", "running", "exited"] = "created"
    started_at: float | None = None
    healthy: bool | None = None
    healthy_since: float | None = None
    exit_code: int | None = None
    life: int = 0
    drift: str = ""
    service: str = ""
    cpu_millis: int = 0
    made_at: float = 0.0
    displaces: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[int, int, int]:
        """Slot, revision, attempt."""
        return (self.slot, self.revision, self.attempt)


@dataclass(slots=True)
class SimHost:
    """One host of the pool. ``down_at``: since when it does not answer. ``foreign``: names that are not ours.
    ``clock_ahead_s``: how wrong its clock is. ``cpu_millis``: its capacity; 0: without limit."""

    name: str
    zone: str
    condition: HostCondition = "ready"
    down_at: float | None = None
    containers: dict[str, Container] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    clock_ahead_s: float = 0.0
    cpu_millis: int = 0

    @property
    def reserved(self) -> int:
        """The millicores that what has not ended holds."""
        return sum(c.cpu_millis for c in self.containers.values() if c.condition != "exited")


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that a call changed on a host: for the properties."""

    at: float
    kind: str
    name: str
    identity: tuple[int, int, int]
    token: int
    container: Container


def version_of(spec: RevisionSpec) -> str:
    """The version that decides how the replica behaves."""
    return spec.command[1] if spec.command else spec.image.rpartition(":")[2]


class SimHosts:
    """All hosts of the pool. ``later(at, do)`` schedules; ``changed(host)`` tells observers; ``effects`` are the
    books."""

    def __init__(
        self,
        names: list[tuple[str, str]],
        chance: Chance,
        later: Callable[[float, Callable[[], None]], None],
        changed: Callable[[str], None],
    ) -> None:
        self.hosts = {name: SimHost(name, zone) for name, zone in names}
        self.fates: dict[str, FateName] = {}
        self.effects: list[Effect] = []
        self.created: list[str] = []
        self.faults = True
        self.lost_after_s = 15.0
        self.now = 0.0
        self._chance = chance
        self._later = later
        self._changed = changed

    # What an owner sees.

    def view(self, name: str) -> tuple[HostView, list[ObservedReplica]]:
        """The host as an observer finds it now; an unreachable one tells nothing."""
        host = self.hosts[name]
        if host.down_at is not None:
            silent_s = self.now - host.down_at
            condition: HostCondition = "lost" if silent_s >= self.lost_after_s else "suspect"
            return HostView(name, condition, known=False, since=host.down_at, labels={"zone": host.zone}), []
        replicas = [self._presented(container) for container in host.containers.values()]
        shown = HostView(
            name,
            host.condition,
            known=True,
            labels={"zone": host.zone},
            replicas=len(replicas),
            cpu_millis=host.cpu_millis,
            reserved_cpu_millis=host.reserved,
            services=frozenset(r.service for r in replicas if r.condition != "exited"),
        )
        return shown, replicas

    def _presented(self, c: Container) -> ObservedReplica:
        return ObservedReplica(
            id=f"id-{c.name}",
            name=c.name,
            service=c.service,
            slot=c.slot,
            revision=c.revision,
            attempt=c.attempt,
            host=c.host,
            condition=c.condition,
            healthy=c.healthy,
            healthy_since=c.healthy_since,
            started_at=c.started_at + self.hosts[c.host].clock_ahead_s if c.started_at is not None else None,
            exit_code=c.exit_code,
            generation=c.generation,
            token=c.token,
            drift=c.drift,
            cpu_millis=c.cpu_millis,
            made_at=c.made_at + self.hosts[c.host].clock_ahead_s,
            displaces=c.displaces,
        )

    def containers(self) -> list[Container]:
        """Every container of ours, wherever it is."""
        return [c for host in self.hosts.values() for c in host.containers.values()]

    # Calls.

    def call(self, action: Action, token: int, answer: Callable[[Outcome | None], None]) -> None:
        """Carry the action out after a while. ``answer`` gets its outcome, or None where no answer ever comes."""
        delay_s = self._chance.within(0.02, 0.6)
        fault = self._chance.share() if self.faults else 1.0
        if fault < 0.03:  # noqa: PLR2004 - one in thirty is surely not done
            self._later(self.now + delay_s, lambda: answer(Outcome(action, "unavailable", "connection refused")))
        elif fault < 0.07:  # noqa: PLR2004 - one in twenty-five gets no answer
            effect_at = self.now + delay_s + self._chance.within(0.0, LATE_S)
            if self._chance.happens(0.6):
                self._later(effect_at, lambda: self._ignore(self._perform(action, token)))
            self._later(self.now + delay_s, lambda: answer(Outcome(action, "unknown", "no answer")))
        else:
            self._later(self.now + delay_s, lambda: answer(self._perform(action, token)))

    @staticmethod
    def _ignore(outcome: Outcome) -> None:
        """An answer that nobody hears."""

    def _perform(self, action: Action, token: int) -> Outcome:
        if isinstance(action, Resolve):
            return self._resolve(action)
        host = self.hosts.get(action.host)
        if host is None or host.down_at is not None:
            return Outcome(action, "unavailable", "host does not answer")
        match action:
            case Create():
                return self._create(action, host)
            case Start():
                return self._start(action, host, token)
            case StopReplica():
                return self._stop(action, host, token)
            case Remove():
                return self._remove(action, host, token)

    def _resolve(self, action: Resolve) -> Outcome:
        version = version_of(action.spec)
        if self.fates.get(version) == "unresolvable":
            return Outcome(action, "refused", "no such image", "revision")
        return Outcome(action, "done", pinned=f"shop/web@sha256:{version}")

    def _create(self, action: Create, host: SimHost) -> Outcome:
        if action.name in host.foreign:
            return Outcome(action, "conflict", "the name is taken by something foreign", "host")
        if action.name in host.containers:
            return Outcome(action, "done", id=f"id-{action.name}")
        version = version_of(action.spec)
        if self.fates.get(version) == "uncreatable":
            return Outcome(action, "refused", "no such command", "revision")
        if self.faults and self._chance.happens(0.02):
            return Outcome(action, "refused", "no space left on device", "host")
        made = Container(
            action.name,
            host.name,
            action.slot,
            action.revision,
            action.attempt,
            action.generation,
            action.token,
            version,
            service=action.service,
            cpu_millis=action.spec.resources.cpu_millis,
            made_at=self.now,
            displaces=action.displaces,
        )
        host.containers[action.name] = made
        self.created.append(made.name)
        self._book("create", made, action.token)
        return Outcome(action, "done", id=f"id-{action.name}")

    def _start(self, action: Start, host: SimHost, token: int) -> Outcome:
        container = host.containers.get(action.name)
        if container is None:
            return Outcome(action, "refused", "no such container", "host")
        if container.condition == "created":
            container.condition = "running"
            container.started_at = self.now
            self._book("start", container, token)
            self._live(container)
        return Outcome(action, "done")

    def _stop(self, action: StopReplica, host: SimHost, token: int) -> Outcome:
        container = host.containers.get(action.name)
        if container is not None and container.condition == "running":
            self._book("stop", container, token)
            self._exit(container, 0)
        return Outcome(action, "done")

    def _remove(self, action: Remove, host: SimHost, token: int) -> Outcome:
        container = host.containers.get(action.name)
        if container is not None:
            if container.condition == "running":
                return Outcome(action, "refused", "it runs", "host")
            self._book("remove", container, token)
            del host.containers[action.name]
            self._changed(host.name)
        return Outcome(action, "done")

    def _book(self, kind: str, container: Container, token: int) -> None:
        self.effects.append(Effect(self.now, kind, container.name, container.identity, token, container))
        self._changed(container.host)

    # Lives.

    def _live(self, container: Container) -> None:
        """Schedule what becomes of a started container."""
        fate = self.fates.get(container.version, "good")
        if fate == "flaky":
            fate = "good" if self._chance.happens(0.6) else "crash"
        after_s = self._chance.within(0.1, 2.0)
        if fate == "slow":
            after_s += 4.0
        if fate in {"good", "slow", "late_death"}:
            self._after(container, after_s, lambda: self._turn(container, healthy=True))
        if fate == "late_death":
            self._after(container, after_s + self._chance.within(3.0, 20.0), lambda: self._exit(container, 137))
        elif fate == "crash":
            self._after(container, after_s, lambda: self._exit(container, 1))
        elif fate == "sick":
            self._after(container, after_s, lambda: self._turn(container, healthy=False))

    def _after(self, container: Container, delay_s: float, do: Callable[[], None]) -> None:
        life = container.life

        def happen() -> None:
            if container.life == life and container.condition == "running":
                do()

        self._later(self.now + delay_s, happen)

    def _turn(self, container: Container, *, healthy: bool) -> None:
        container.healthy = healthy
        container.healthy_since = self.now if healthy else None
        self._changed(container.host)

    def _exit(self, container: Container, code: int) -> None:
        container.condition = "exited"
        container.exit_code = code
        container.healthy = None
        container.healthy_since = None
        container.life += 1
        self._changed(container.host)

    # What happens to hosts from outside.

    def kill_one(self) -> None:
        """Some running container dies."""
        running = [c for c in self.containers() if c.condition == "running"]
        if running:
            self._exit(self._chance.pick(running), 137)

    def remove_one(self) -> None:
        """A person removes a running container."""
        running = [c for c in self.containers() if c.condition == "running"]
        if running:
            container = self._chance.pick(running)
            container.life += 1
            del self.hosts[container.host].containers[container.name]
            self._changed(container.host)

    def tamper_with_one(self) -> None:
        """A person changes a running container."""
        running = [c for c in self.containers() if c.condition == "running"]
        if running:
            container = self._chance.pick(running)
            container.drift = "its restart policy is always"
            self._changed(container.host)

    def sicken_one(self) -> None:
        """Some healthy container fails its checks for a while."""
        healthy = [c for c in self.containers() if c.healthy]
        if healthy:
            container = self._chance.pick(healthy)
            self._turn(container, healthy=False)
            self._after(container, self._chance.within(1.0, 12.0), lambda: self._turn(container, healthy=True))

    def unplug(self, name: str, for_s: float) -> None:
        """A host stops answering; its containers run on."""
        host = self.hosts[name]
        if host.down_at is None:
            host.down_at = self.now
            self._changed(name)
            self._later(self.now + min(self.lost_after_s, for_s), lambda: self._changed(name))
            self._later(self.now + for_s, lambda: self._plug(name))

    def _plug(self, name: str) -> None:
        self.hosts[name].down_at = None
        self._changed(name)

    def mend(self) -> None:
        """No fault from now on; every host answers and takes work."""
        self.faults = False
        for name, host in self.hosts.items():
            host.down_at = None
            host.condition = "ready"
            self._changed(name)
