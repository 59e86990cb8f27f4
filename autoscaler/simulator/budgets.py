"""A simulated cluster under budgets: services that share them, owned by several members, each with books of its own.

The engine's own `Shard` drives each service in a log and on hosts of its own; members hear of each other's services by
the state topic alone, late. `run_budgets(seed)` raises `Violation` with the seed. Beside the properties of each service
(`properties`) it holds those of budgets (`within_budgets`). In some worlds nothing fails, and each service has a twin
without a budget that gets the same events: what is asked for has to be what the twin has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autoscaler.core.freezing import scaling_frozen
from autoscaler.core.rollout import Held, Judging, Preflight
from autoscaler.core.state import ServiceState
from autoscaler.ports.stream import Topic
from autoscaler.simulator.budget_owning import OwnedRuns
from autoscaler.simulator.budget_parts import SIZES, Run
from autoscaler.simulator.edits import Violation, violated
from autoscaler.simulator.hearing import SimMember
from autoscaler.simulator.owner import CRASH_POINTS
from autoscaler.simulator.script import TOPICS, Published

REST_S = 90.0
SAMPLES_CALM_S = 30.0
"""So long samples still come once faults have stopped: longer than any window."""

SAMPLED_S = 2.7
"""No multiple of it is a window or a cooldown: those of a twin would end right before a sample, or right after."""

APART_MAX_S = 1.3 * SAMPLED_S
"""So long what is asked for may differ from what the twin has: turns are not at the same moments."""

CHECKED_EVERY = 16
"""Budgets are looked at after every append, and after so many steps without one."""

STEPS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class PlayedBudgets:
    """What a world came to: how often demands were cut and raised, how long a budget was overdrawn, what is there."""

    seed: int
    plain: bool
    cut: int
    raised: int
    over_longest_s: float
    demands: Mapping[str, int]
    asked: Mapping[str, int]


class BudgetWorld(OwnedRuns):
    """A world in the making. ``happenings``: how many things happen in ``length_s``."""

    def __init__(self, seed: int, *, length_s: float = 45.0, happenings: int = 16) -> None:
        super().__init__(seed)
        self._length_s = length_s
        self._happenings = happenings
        self._steps = 0
        self._seen = dict.fromkeys(self.runs, 0)

    # Time.

    def _until(self, end: float) -> None:
        while (due := self.agenda.take(end)) is not None:
            self._steps += 1
            if self._steps > STEPS_MAX:
                raise violated("P6", self.now, f"no rest after {STEPS_MAX} steps")
            at, do = due
            self._turn_clock(at)
            do()
            self._look()
        self._turn_clock(end)

    def _turn_clock(self, at: float) -> None:
        self.now = at
        for one in self.everything:
            one.hosts.now = one.script.now = at

    def _look(self) -> None:
        """What follows from a step, and what has to hold after it."""
        for one in self.everything:
            one.properties.check()
            self.bury(one)
        news = False
        for service, one in self.runs.items():
            self._compare(one)
            end = len(one.log.topics[Topic.STATE])
            if end > self._seen[service]:
                self._seen[service], news = end, True
                for member in self.members:
                    member.appended(service)
        if news or self._steps % CHECKED_EVERY == 0:
            states = {name: known.last() for name, known in self.states.items()}
            self.within.check(states, self._excused(states), self.now)

    def _excused(self, states: Mapping[str, ServiceState]) -> frozenset[str]:
        """Services whose owner is not there, stands still, is late to hear or has another beside it; or that are
        frozen."""
        found = set()
        for name, one in self.runs.items():
            owner, member = one.owner, one.member
            able = owner is not None and owner.frozen_until <= self.now and not one.former
            hears = member is not None and member.listens
            if not able or not hears or scaling_frozen(states[name], self.now):
                found.add(name)
        if found:
            self.within.unrest()
        return frozenset(found)

    def _compare(self, one: Run) -> None:
        """What is asked for is what the twin has."""
        if one.twin is None or one.state.asking == one.twin.state.demand:
            one.apart_since = None
            return
        since = one.apart_since = self.now if one.apart_since is None else one.apart_since
        if self.now - since > APART_MAX_S:
            text = f"{one.service} asks for {one.state.asking}, its twin has {one.twin.state.demand}"
            raise violated("asked", self.now, text)

    # What happens.

    def _publish(self, one: Run, event: Published | None) -> None:
        """To its owners, and to its twin's at the same moment."""
        if event is None:
            return
        delay_s = self.chance.within(0.0, 0.05)
        for run in (one, one.twin):
            if run is not None:
                run.log.publish(TOPICS[event.topic], run.service, event.value, self.now)
                run.properties.accepted_versions.update(one.script.versions)
                for owner in run.owners():
                    owner.wake(self.now + delay_s)

    def _sample(self, one: Run) -> None:
        chance = self.chance
        calm = self.calm_from
        if calm is None and chance.happens(0.4):
            one.load = chance.pick([0.0, 10.0, 20.0, 30.0, 50.0, 60.0])
        odd = calm is None and not self.plain and chance.happens(0.03)
        self._publish(one, one.script.sample("NaN" if odd else one.load, 0.0))
        for run in (one, one.twin):
            if run is not None:
                run.properties.sampled(self.now, finite=not odd)
        if calm is None or self.now < calm + SAMPLES_CALM_S:
            self.later(self.now + (SAMPLED_S if calm is None else 2 * SAMPLED_S), lambda: self._sample(one))

    def _deploy(self, one: Run) -> None:
        spec = one.settings.revision
        sizes = [size for size in SIZES if spec is not None and size <= spec.resources.cpu_millis]
        cpu_millis = self.chance.pick([0, *sizes])
        self._publish(one, one.script.deployment(good=self.plain, cpu_millis=cpu_millis))

    def _happen(self) -> None:
        chance = self.chance
        one = self.runs[chance.pick(sorted(self.runs))]
        member = chance.pick(self.members)
        things: list[tuple[float, Callable[[], None]]] = [
            (5.0, lambda: self._publish(one, one.script.command("scale"))),
            (2.0, lambda: self._publish(one, one.script.command("auto"))),
            (2.0, lambda: self._publish(one, one.script.freeze(5 + chance.below(20)))),
            (0.5, lambda: self._publish(one, one.script.command("freeze"))),
            (1.5, lambda: self._publish(one, one.script.command("unfreeze"))),
            (0.7, lambda: self._publish(one, one.script.command("retire"))),
            (3.0, lambda: self._deploy(one)),
        ]
        faults: list[tuple[float, Callable[[], None]]] = [
            (1.0, lambda: self._publish(one, one.script.command(chance.pick(["rollback", "abort", "pause"])))),
            (1.0, lambda: self._move(one, member)),
            (1.0, lambda: self._scale_and_move(one, member)),
            (1.5, lambda: self._snatch(one, member)),
            (2.0, self._arm_crash),
            (1.0, lambda: member.stop_until(self.now + chance.within(1.0, 12.0))),
            (2.0, lambda: member.hear_from(self.now + chance.within(1.0, 12.0))),
            (0.5, one.hosts.kill_one),
        ]
        chance.weighted(things if self.plain else things + faults)()

    def _move(self, one: Run, member: SimMember) -> None:
        """In order: the former owner has ended before the next one begins."""
        if one.owner is not None and one.member is not None and not one.former:
            one.owner.die()
            one.owner = None
            self.let_go(one, one.member)
            self.own_in(one, member, 0.05, 1.0)

    def _scale_and_move(self, one: Run, member: SimMember) -> None:
        """What was decided last is not heard yet when it is let go."""
        self._publish(one, one.script.command("scale"))
        self.later(self.now + self.chance.within(0.05, 0.2), lambda: self._move(one, member))

    def _snatch(self, one: Run, member: SimMember) -> None:
        """Two owners for a while; both get a command, and one of them may not append what it decides."""
        if member.alive and not one.former:
            self.own(one, member)
            self._publish(one, one.script.command("scale"))

    def _arm_crash(self) -> None:
        self.crash_at = self.chance.pick(CRASH_POINTS)

    # The whole.

    def play(self) -> PlayedBudgets:
        """Unrest, then rest. Raises `Violation`."""
        chance = self.chance
        for one in self.runs.values():
            self.own(one, chance.pick(self.members))
            if one.twin is not None:
                one.twin.owner = self.owner(one.twin, None)
            if one.settings.revision is None:
                self.later(self.now + chance.pick([0.1, 5.0]), lambda one=one: self._deploy(one))  # type: ignore[misc]
            self.later(self.now + chance.within(0.1, 3.0), lambda one=one: self._sample(one))  # type: ignore[misc]
        for _ in range(self._happenings):
            self.later(self.now + chance.within(1.0, self._length_s), self._happen)
        self._until(self.now + self._length_s)
        self._calm()
        self._until(self.now + REST_S)
        for one in self.runs.values():
            if isinstance(one.state.rollout, Held | Preflight | Judging):
                self._publish(one, one.script.command("abort"))
        self._until(self.now + REST_S)
        self.within.calm_from = self.now
        self._until(self.now + REST_S)
        return self._finish()

    def _calm(self) -> None:
        self.calm_from = self.now
        for member in self.members:
            member.stop_until(self.now)
            member.hear_from(self.now)
        for one in self.everything:
            one.hosts.mend()
        for one in self.runs.values():
            for command in ("unfreeze", "approve", "resume", *(["auto"] if self.chance.happens(0.5) else [])):
                self._publish(one, one.script.command(command))

    def _finish(self) -> PlayedBudgets:
        states = {name: known.last() for name, known in self.states.items()}
        for one in self.runs.values():
            events = dict.fromkeys((f"/sim/{event.topic}", event.id) for event in one.script.sent)
            for run in (one, one.twin):
                if run is not None:
                    run.properties.finish(list(events), frozenset(), whole_trail=self.seed % 10 == 0)
        books = [member.books for member in self.members if member.alive]
        self.within.finish(states, books, self.now)
        demands = {name: state.demand for name, state in states.items()}
        asked = {name: state.asking for name, state in states.items()}
        within = self.within
        return PlayedBudgets(self.seed, self.plain, within.cut, within.raised, within.over_longest_s, demands, asked)


def run_budgets(seed: int, *, length_s: float = 45.0, happenings: int = 16) -> PlayedBudgets:
    """Play the world of that seed. Raises `Violation` that names it."""
    try:
        return BudgetWorld(seed, length_s=length_s, happenings=happenings).play()
    except Violation as violation:
        raise Violation(f"budgets {seed}: {violation}") from violation
