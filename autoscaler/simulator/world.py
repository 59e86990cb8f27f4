"""One simulated world: a log, hosts, owners that come, die and overlap, and a script of events and faults, on virtual
time.

`run_world(seed)` plays it to its end, checks every property after each step, and raises `Violation` with the seed.
First comes the unrest, for some virtual minutes; then faults stop, operators tidy up, and all has to come to rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from autoscaler.core.rollout import Held, Judging, Preflight
from autoscaler.core.settings import Planned, PolicyUse, Route, ServiceSettings, SignalRule
from autoscaler.core.state import ServiceState
from autoscaler.engine.shard import ShardSetup
from autoscaler.simulator.agenda import EPOCH, Agenda
from autoscaler.simulator.chance import Chance
from autoscaler.simulator.edits import Violation, violated
from autoscaler.simulator.hosts import SimHosts
from autoscaler.simulator.log import Fate, SimLog
from autoscaler.simulator.owner import CRASH_POINTS, CrashPoint, Owner, OwnerParts, SimVoter
from autoscaler.simulator.properties import Properties
from autoscaler.simulator.script import SERVICE, TOPICS, Published, Script, some_settings, with_strategy

REST_S = 90.0
"""Virtual time within which everything has to be at rest once faults have stopped (P6)."""

WHOLE_TRAIL_EVERY = 10
"""In one world of so many the whole trail is verified and folded at the end."""

SAMPLES_CALM_S = 30.0
"""So long samples still come once faults have stopped: longer than any window."""

ODD_STRATEGY = 0x57E9_0DD
"""How a world's rollouts are judged has choices of its own as well."""

PLANNED = 0x9_1A44ED
"""What is planned in a world has choices of its own."""

SEVERAL = 0xC0_4B1E
"""By which rule a world's policies are combined has choices of its own too."""

ODD_HOSTS = 0x5EED_0DD
KNOCKS = 0x5EED_4E1D
"""What is odd about a world's hosts, and who knocks at its router, have choices of their own, beside those of what
happens in it."""

STEPS_MAX = 50_000
"""More steps than any world needs; beyond, something goes round in circles."""

STAND_INS = [
    SignalRule(on_unknown="floor", number=3),
    SignalRule(on_unknown="value", number=25),
    SignalRule(on_unknown="value", number=0),
    SignalRule(on_unknown="decay", number=5),
]
"""What stands in for an unknown load."""


@dataclass(frozen=True, slots=True)
class Played:
    """What a world came to, for a person and for tests that compare two runs."""

    seed: int
    steps: int
    records: int
    creates: int
    verdicts: tuple[tuple[str, str], ...]
    phase: str


class SimWorld:
    """A world in the making. ``length_s``: how long the unrest lasts; ``happenings``: how many things happen in it."""

    def __init__(self, seed: int, *, length_s: float = 18.0, happenings: int = 8, strategies: bool = True) -> None:
        self.seed = seed
        self.chance = Chance(seed)
        self.settings: ServiceSettings = some_settings(self.chance)
        self._judged = Chance(seed ^ ODD_STRATEGY)
        self._silent_until = 0.0
        if strategies and self._judged.happens(0.4):
            self.settings = with_strategy(self.settings, self._judged)
        self._several = False
        if strategies:
            self._combine(Chance(seed ^ SEVERAL))
        later = Chance(seed ^ PLANNED)
        begins_later = later if strategies and later.happens(0.3) else None
        self.script = Script(self.chance, self.settings, later=begins_later)
        if strategies and later.happens(0.25):
            self._plan(later)
        self.log = SimLog()
        self.now = EPOCH
        self.steps = 0
        self._agenda = Agenda()
        self._calm = False
        self._calm_from = 0.0
        self._crash_at: CrashPoint | None = None
        self._stall_s = 0.0
        self._length_s = length_s
        self._happenings = happenings
        count = 2 + self.chance.below(3)
        odd = Chance(seed ^ ODD_HOSTS)
        if odd.happens(0.1):
            count = 1
        names = [(f"h{n}", f"z{n % 2}") for n in range(1, count + 1)]
        self.hosts = SimHosts(names, self.chance, self.later, self._host_changed)
        self._make_odd(odd)
        self._knocks = Chance(seed ^ KNOCKS)
        if self.settings.update.strategy == "rolling" and self._knocks.happens(0.3):
            self.settings = replace(self.settings, route=Route("127.0.0.1:0"))
        self.hosts.fates = self.script.fates
        self.hosts.now = self.now
        self.properties = Properties(self.settings, self.hosts, self.log, SERVICE)
        self.owner: Owner | None = None
        self._former: list[Owner] = []
        self._members = 0
        self._load = 10.0 * self.chance.below(5)

    def _plan(self, later: Chance) -> None:
        """Windows of the configuration, within the unrest and beyond."""
        low, high = self.settings.bounds.min, self.settings.bounds.max
        plans = []
        for _ in range(1 + later.below(2)):
            begins = EPOCH + later.within(0.0, 20.0)
            number, ends = low + later.below(high - low + 1), begins + later.within(1.0, 60.0)
            plan = Planned("planned", begins_at=begins, ends_at=ends)
            plans.append(
                later.pick([replace(plan, exact=number), replace(plan, least=number), replace(plan, most=number)])
            )
        self.settings = replace(self.settings, overrides=tuple(plans))

    def _combine(self, odd: Chance) -> None:
        """Several policies that scale, and the rule that makes one wish of theirs; what stands in for their signal, and
        a shadow that means harm."""
        self._several = odd.happens(0.4)
        if self._several:
            scaling = replace(
                self.settings.scaling, combine=odd.pick(["max", "min", "priority", "quorum"]), quorum=odd.below(4)
            )
            self.settings = replace(self.settings, scaling=scaling)
        if odd.happens(0.3):
            rule = replace(odd.pick(STAND_INS), max_age_s=self.settings.scaling.max_age_s)
            self.settings = replace(self.settings, signals=(("load", rule),))
        if odd.happens(0.3):
            self.settings = replace(self.settings, shadows=(PolicyUse("mad", shadow=True),))

    def _make_odd(self, odd: Chance) -> None:
        """Clocks of hosts that are wrong, and a world in which hosts are given up and come back within its time."""
        for host in self.hosts.hosts.values():
            host.clock_ahead_s = odd.pick([0.0, 0.0, 0.0, -3600.0, -9.0, 6.0, 3600.0])
        if odd.happens(0.3):
            self.settings = replace(self.settings, placement=replace(self.settings.placement, rebalance=True))
        rules = replace(self.settings.placement, drain_report_s=odd.pick([3.0, 600.0]))
        self.settings = replace(self.settings, placement=rules)
        if odd.happens(0.4):
            self.hosts.lost_after_s = 1.0
            self.settings = replace(
                self.settings, placement=replace(self.settings.placement, host_grace_s=odd.pick([1.5, 4.0]))
            )
        if odd.happens(0.3):
            self.settings = replace(self.settings, scaling=replace(self.settings.scaling, down_while_unproven=True))

    # Time.

    def later(self, at: float, do: Callable[[], None]) -> None:
        """Do something at a moment to come."""
        self._agenda.add(max(at, self.now), do)

    def _until(self, end: float) -> None:
        while (due := self._agenda.take(end)) is not None:
            at, do = due
            self.now = self.hosts.now = self.script.now = at
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise violated("P6", self.now, f"no rest after {STEPS_MAX} steps")
            do()
            self.properties.check()
            self._replace_owner()
        self.now = self.hosts.now = end

    def _host_changed(self, host: str) -> None:
        for owner in self._owners():
            delay_s = self.chance.within(0.0, 0.3)
            self.later(self.now + delay_s, lambda owner=owner: owner.told(host, self.now))  # type: ignore[misc]

    def _owners(self) -> list[Owner]:
        everyone = [*self._former, *([self.owner] if self.owner is not None else [])]
        return [owner for owner in everyone if owner.alive]

    # Owners.

    def _replace_owner(self) -> None:
        owner = self.owner
        if owner is not None and not owner.alive:
            self.owner = None
            self.later(self.now + self.chance.within(0.1, 3.0), self._new_owner)

    def _new_owner(self) -> None:
        if self.owner is not None:
            if self.owner.alive:
                self._former.append(self.owner)
            self.owner = None
        if not self._members or self.chance.happens(0.6):
            self._members += 1
        parts = OwnerParts(
            self.log,
            self.hosts,
            self.chance,
            self.later,
            self.properties,
            self._append_fate,
            self._crashes,
            self._stall,
            SERVICE,
        )
        owner = Owner(f"m{self._members}", parts, self._setup, self.now)
        self.owner = owner
        self.properties.taken_over(self.now, owner.token)

    def _setup(self, owner: Owner) -> ShardSetup:
        return ShardSetup(
            cluster="sim",
            member=owner.name,
            partitions=1,
            services={SERVICE: self.settings},
            voter=SimVoter(judges=self.settings.update.strategy != "rolling", several=self._several),
            look=owner.world,
        )

    def _append_fate(self) -> Fate:
        if self._calm:
            return "done"
        return self.chance.weighted([(60.0, "done"), (1.0, "unavailable"), (1.0, "lost"), (1.0, "unknown")])

    def _crashes(self, point: CrashPoint) -> bool:
        if self._calm or self._crash_at != point:
            return False
        self._crash_at = None
        return True

    # What happens.

    def _publish(self, event: Published | None) -> None:
        if event is None:
            return
        self.log.publish(TOPICS[event.topic], SERVICE, event.value, self.now)
        for owner in self._owners():
            owner.wake(self.now + self.chance.within(0.0, 0.05))

    def _deploy(self) -> None:
        event = self.script.deployment()
        self.properties.accepted_versions.update(self.script.versions)
        self._publish(event)

    def _sample(self) -> None:
        """The next sample, and the one after it: mostly two seconds apart, at times with a gap or unreadable."""
        chance = self.chance
        if not self._calm:
            self._load = max(0.0, self._load + chance.within(-12.0, 13.0)) if chance.happens(0.5) else self._load
            if chance.happens(0.1):
                self._load = chance.pick([0.0, 0.0, 15.0, 60.0])
        odd = not self._calm and chance.happens(0.06)
        errors = 0.5 if not self._calm and chance.happens(0.02) else 0.0
        load: float | str = "NaN" if odd else round(self._load, 1)
        self._publish(self.script.sample(load, errors, self._held()))
        self.properties.sampled(self.now, finite=not odd)
        self._say_of_revision()
        if self._calm and self.now > self._calm_from + SAMPLES_CALM_S:
            return
        steady_s = 5.0 if self._calm else 2.0
        gap_s = chance.within(5.0, 25.0) if not self._calm and chance.happens(0.06) else steady_s
        self.later(self.now + gap_s, self._sample)

    def _say_of_revision(self) -> None:
        """Samples that name the wanted revision, where rollouts are judged; at times they stop for a while."""
        judged = self._judged
        if self.settings.update.strategy == "rolling":
            return
        if not self._calm and self.now >= self._silent_until and judged.happens(0.1):
            self._silent_until = self.now + judged.within(5.0, 40.0)
        if self._calm or self.now >= self._silent_until:
            worth = 0.0 if self._calm else round(judged.share(), 2)
            self._publish(self.script.verdict_of(self._state().revision or 1, worth))

    def _held(self) -> int | None:
        """Requests held at the router, where one stands in front of the service; none at the end."""
        if self.settings.route is None:
            return None
        return self._knocks.pick([0, 0, 1, 7]) if not self._calm and self._knocks.happens(0.3) else 0

    def _happen(self) -> None:
        chance, hosts = self.chance, self.hosts
        name = chance.pick(sorted(hosts.hosts))
        things: list[tuple[float, Callable[[], None]]] = [
            (4.0, self._deploy),
            (4.0, lambda: self._publish(self.script.command())),
            (1.0, lambda: self._publish(self.script.again())),
            (0.5, lambda: self._publish(self.script.junk())),
            (1.0, hosts.kill_one),
            (0.7, hosts.remove_one),
            (1.0, hosts.sicken_one),
            (0.7, hosts.tamper_with_one),
            (1.0, lambda: hosts.unplug(name, chance.within(1.0, 90.0))),
            (0.7, lambda: self._condition(name)),
            (0.4, lambda: hosts.hosts[name].foreign.add(f"sim.web.s{chance.below(3)}.r1.{1 + chance.below(6)}")),
            (2.0, self._arm_crash),
            (0.8, self._new_owner),
            (0.6, self._freeze_owner),
            (0.6, self._arm_stall),
        ]
        chance.weighted(things)()

    def _condition(self, name: str) -> None:
        host = self.hosts.hosts[name]
        host.condition = "ready" if host.condition != "ready" else self.chance.pick(["draining", "cordoned"])
        self._host_changed(name)

    def _arm_crash(self) -> None:
        self._crash_at = self.chance.pick(CRASH_POINTS)

    def _arm_stall(self) -> None:
        self._stall_s = self.chance.within(2.0, 30.0)

    def _stall(self) -> float:
        stall_s, self._stall_s = self._stall_s, 0.0
        if stall_s > 0 and not self._calm:
            self.later(self.now + self.chance.within(0.5, 6.0), self._new_owner)
            return stall_s
        return 0.0

    def _freeze_owner(self) -> None:
        if self.owner is not None:
            self.owner.frozen_until = self.now + self.chance.within(1.0, 20.0)

    # The whole.

    def play(self) -> Played:
        """Unrest, then rest. Raises `Violation`."""
        self._new_owner()
        self.later(self.now + 0.1, self._sample)
        self._deploy()
        for _ in range(self._happenings):
            self.later(self.now + self.chance.within(0.5, self._length_s), self._happen)
        self._until(self.now + self._length_s)
        self._calm = True
        self._calm_from = self.now
        self.hosts.mend()
        for command in ("unfreeze", "auto", "approve", "resume"):
            self._publish(self.script.command(command))
        self._until(self.now + REST_S)
        if isinstance(self._state().rollout, Held | Preflight | Judging):
            self._publish(self.script.command("abort"))
            self._until(self.now + REST_S)
        self._finish()
        state = self._state()
        verdicts = tuple(sorted((key[1], verdict) for key, verdict in self.properties.verdicts.items()))
        return Played(
            self.seed, self.steps, len(self.properties.audit), len(self.hosts.created), verdicts, state.rollout.phase
        )

    def _state(self) -> ServiceState:
        return self.owner.state if self.owner is not None else ServiceState(SERVICE)

    def _finish(self) -> None:
        expected = dict.fromkeys((f"/sim/{event.topic}", event.id) for event in self.script.sent)
        state = self._state()
        undecided = [seen.event for seen in state.seen if not seen.verdict] if isinstance(state.rollout, Held) else []
        pending = frozenset((event.source, event.id) for event in undecided)
        self.properties.finish(list(expected), pending, whole_trail=self.seed % WHOLE_TRAIL_EVERY == 0)


def run_world(seed: int, *, length_s: float = 18.0, happenings: int = 8, strategies: bool = True) -> Played:
    """Play the world of that seed, without ``strategies`` by rolling updates alone. Raises `Violation` that names the
    seed."""
    try:
        return SimWorld(seed, length_s=length_s, happenings=happenings, strategies=strategies).play()
    except Violation as violation:
        raise Violation(f"seed {seed}: {violation}") from violation
