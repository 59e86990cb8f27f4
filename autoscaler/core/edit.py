"""The list of wanted replicas in the making: who starts where, who stops. Used by convergence and split. Pure.

An edit is one decision's: it places with what it placed before in mind, and remembers why a replica found no host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from autoscaler.core.claims import Claim, Claimant, canonical, find_claim
from autoscaler.core.facts import Reason, SignalReading
from autoscaler.core.placement import Asked, Placer, Room, choose_host, reason_for_none, room_of
from autoscaler.core.placement.asked import MICRO
from autoscaler.core.placement.filters import must_leave
from autoscaler.core.placement.ranking import FAILURES_S, PLAIN, Slot
from autoscaler.core.revision import Resources, Revision
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import Failure, is_available, label_of, observed_by_identity, with_setback
from autoscaler.core.state import Displaced, Replica, ServiceState, Setback
from autoscaler.core.world import ObservedReplica, World

HEARD_MAX = 256
"""So many scores of hosts are recorded with a placing; a larger pool's are the plugin's own to keep."""


@dataclass(slots=True)
class Edit:
    """``replicas`` and ``attempts`` as they will be; ``vacated``: slot -> host that its last replica left in this edit;
    ``draining``: hosts that are to be emptied. ``displaced``: slots that gave way and are empty since, ``gave_way`` why
    replicas went, ``claimed`` whom those that no host shows yet displace."""

    state: ServiceState
    settings: ServiceSettings
    world: World
    replicas: list[Replica]
    attempts: int
    room: Room
    seen: dict[tuple[int, int, int], ObservedReplica]
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    vacated: dict[int, str] = field(default_factory=dict)
    draining: frozenset[str] = frozenset()
    pending: str = ""
    setbacks: tuple[Setback, ...] = ()
    lost: tuple[Replica, ...] = ()
    returned: list[str] = field(default_factory=list)
    displaced: list[Displaced] = field(default_factory=list)
    gave_way: list[str] = field(default_factory=list)
    claimed: set[str] = field(default_factory=set)
    placers: dict[int, Placer] = field(default_factory=dict)

    @property
    def steady(self) -> list[Replica]:
        """The wanted replicas that need not leave their host."""
        return [r for r in self.replicas if r.host not in self.draining] if self.draining else self.replicas

    @property
    def leaving(self) -> list[Replica]:
        """The wanted replicas on hosts that are to be emptied."""
        return [r for r in self.replicas if r.host in self.draining]

    def sighted(self, replica: Replica) -> ObservedReplica | None:
        """What the hosts show of it."""
        return self.seen.get((replica.slot, replica.revision, replica.attempt))

    def available(self, replica: Replica) -> bool:
        """Whether it counts as available now."""
        return is_available(replica, self.sighted(replica))

    def healthy(self, replica: Replica) -> bool:
        """Whether it is known to be healthy now, for however short a time."""
        sighted = self.sighted(replica)
        return sighted is not None and sighted.condition == "running" and sighted.healthy is True

    def sick(self, replica: Replica) -> bool:
        """Whether another must take its place: it is known to be sick, or somebody's hand changed it."""
        sighted = self.sighted(replica)
        return sighted is not None and (sighted.healthy is False or bool(sighted.drift))

    def renewed(self) -> list[str]:
        """What somebody's hand changed on the replicas whose successors this edit starts."""
        slots = {text.partition(".")[0] for text in self.started}
        drifted = [(r, sighted.drift) for r in self.replicas if (sighted := self.sighted(r)) and sighted.drift]
        return [f"{label_of(r)}: {drift}" for r, drift in drifted if f"s{r.slot}" in slots]

    def of(self, revision: int) -> list[Replica]:
        """The steady replicas of that revision."""
        return [r for r in self.steady if r.revision == revision]

    def other_than(self, revision: int) -> list[Replica]:
        """The steady replicas of other revisions."""
        return [r for r in self.steady if r.revision != revision]

    def available_count(self) -> int:
        """How many of the steady replicas are available."""
        return sum(1 for r in self.steady if self.available(r))

    def backing_off(self, slot: int) -> bool:
        """Whether the slot failed so lately that it is not tried again yet."""
        return any(s.slot == slot and s.retry_at > self.world.now for s in self.setbacks)

    def note_sick(self, replica: Replica) -> None:
        """A sick replica is a set-back of its slot, once; its successor waits for its turn."""
        noted = any(s.slot == replica.slot and s.at and s.at[-1] >= replica.placed_at for s in self.setbacks)
        if not noted:
            sick = Failure(replica, Reason("unhealthy", "sick"), "revision")
            self.setbacks = with_setback(self.setbacks, sick, self.settings.update, self.world.now)

    @property
    def heard(self) -> tuple[SignalReading, ...]:
        """What `score_host` plugins had said of the hosts when replicas were placed: a part of what was decided by."""
        said = self.world.scores if self.started else {}
        readings = [
            SignalReading(f"{label}@{host}", micro / MICRO, 0.0)
            for label, of_hosts in said.items()
            for host, micro in sorted(of_hosts.items())
        ]
        return tuple(readings[:HEARD_MAX])

    def start(self, slot: int, revision: int) -> bool:
        """Want one more replica, on the best host; False where none will do."""
        kept = self.state.revision_numbered(revision)
        if kept is None:
            self.pending = f"revision {revision} is no longer kept"
            return False
        host, why = self._host_for(slot, kept)
        if host is not None:
            self._want(slot, revision, host)
            return True
        claim = self._claim(slot, kept)
        if claim is None:
            self.pending = why
            return False
        self.room.take(claim.host, kept.spec.resources)
        self._want(slot, revision, claim.host, claim.victims)
        return True

    def _claim(self, slot: int, kept: Revision) -> Claim | None:
        """A place in a full pool for what the demand lacks; not for a surge, nor for a slot that has failed lately:
        nobody gives way twice to what does not run."""
        recent = self.world.now - self.settings.update.restart_window_s
        failed = any(s.slot == slot and s.at and s.at[-1] > recent for s in self.setbacks)
        if failed or len(self.steady) >= self.state.demand:
            return None
        claimant = Claimant(self.settings.priority, frozenset(self.claimed), self.world.neighbours)
        asked = asked_of(self.state, self.settings, self.world, kept)
        return find_claim(self.world.hosts, asked, self.room, self.special(slot, kept), claimant)

    def start_on(self, host: str, slot: int, kept: Revision) -> None:
        """Want one more replica on that very host."""
        self.room.take(host, kept.spec.resources)
        self._want(slot, kept.number, host)

    def _want(self, slot: int, revision: int, host: str, victims: Sequence[ObservedReplica] = ()) -> None:
        self.attempts += 1
        names = tuple(canonical(victim) for victim in victims)
        self.replicas.append(Replica(slot, revision, self.attempts, host, self.world.now, displaces=names))
        self.started.append(f"s{slot}.r{revision}.{self.attempts} on {host}")
        if victims:
            self.claimed.update(names)
            theirs = self.world.neighbours.precedence
            told = ", ".join(f"{canonical(v)} (priority {theirs[v.service].priority})" for v in victims)
            self.started[-1] += f" in place of {told}, by priority {self.settings.priority}"

    def _host_for(self, slot: int, kept: Revision) -> tuple[str | None, str]:
        """The host for one more replica in that slot, which is taken there, or None and why."""
        special, hosts = self.special(slot, kept), self.world.hosts
        asked = asked_of(self.state, self.settings, self.world, kept)
        if special != PLAIN:
            host, why = choose_host(hosts, asked, self.room, special)
            if host is not None:
                self.room.take(host, kept.spec.resources)
            return host, why
        placer = self.placers.get(kept.number)
        if placer is None:
            placer = self.placers[kept.number] = Placer(hosts, asked, self.room)
        host = placer.place()
        return host, "" if host is not None else reason_for_none(hosts, asked, self.room)

    def special(self, slot: int, kept: Revision) -> Slot:
        """What is special about placing in the slot: where its volume is, where its last replica failed lately."""
        recent = self.world.now - self.settings.update.restart_window_s
        setback = next((s for s in self.setbacks if s.slot == slot and s.at and s.at[-1] > recent), None)
        failed_on = self._standing(setback.host) if setback is not None else ""
        moves = (
            bool(failed_on)
            and setback is not None
            and (setback.blame == "host" or len(setback.at) > self.settings.update.restart_attempts)
        )
        home = ""
        if kept.spec.volumes:
            home = self._standing(self.vacated.get(slot) or (setback.host if setback is not None else ""))
        return Slot(home, failed_on, moves) if home or failed_on else PLAIN

    def _standing(self, host: str) -> str:
        """The host's name where it may take replicas at all, else nothing."""
        view = self.world.host(host) if host else None
        return host if view is not None and view.known and view.condition == "ready" else ""

    def start_in(self, slots: Iterable[int], revision: int, count: int) -> int:
        """Start up to ``count`` replicas of ``revision`` in those slots that are not backing off; how many it
        started."""
        started = 0
        for slot in slots:
            if started >= count:
                break
            if self.backing_off(slot):
                continue
            if not self.start(slot, revision):
                break
            started += 1
        return started

    def take_back(self, replica: Replica, label: str) -> None:
        """Want again what its host, that was lost, shows running still."""
        self.replicas.append(replica)
        self.room.take(replica.host, Resources(), shown=True)
        self.returned.append(f"{label} on {replica.host}")

    def stop(self, replica: Replica) -> None:
        """Want it no more."""
        self.replicas.remove(replica)
        self.room.leave(replica.host)
        self.vacated[replica.slot] = replica.host
        self.stopped.append(f"{label_of(replica)} on {replica.host}")

    def stop_all(self, replicas: Iterable[Replica]) -> None:
        """Want them no more."""
        for replica in list(replicas):
            self.stop(replica)

    def may_start(self, revision: int) -> int:
        """How many more replicas of a revision may start: one that failed none, one never seen healthy a first
        batch."""
        kept = self.state.revision_numbered(revision)
        if kept is None or kept.standing == "rejected":
            return 0
        present = self.of(revision)
        first = self.settings.update.first_batch
        if kept.standing == "unproven" and first and not any(self.healthy(r) for r in present):
            return max(0, first - len(present))
        return self.state.demand


def edit_of(state: ServiceState, settings: ServiceSettings, world: World, lost: Sequence[Failure]) -> Edit:
    """An edit that has changed nothing yet; ``lost`` are the failures just noted."""
    seen = observed_by_identity(world)
    unseen = [r for r in state.replicas if (r.slot, r.revision, r.attempt) not in seen]
    room = room_for(state, unseen)
    vacated = {f.replica.slot: f.replica.host for f in lost}
    draining = frozenset(h.name for h in world.hosts if must_leave(h, settings.placement))
    replicas = list(state.replicas)
    return Edit(
        state,
        settings,
        world,
        replicas,
        state.attempts,
        room,
        seen,
        vacated=vacated,
        draining=draining,
        setbacks=state.setbacks,
        lost=state.lost,
        claimed={name for replica in unseen for name in replica.displaces},
    )


def room_for(state: ServiceState, unseen: Sequence[Replica]) -> Room:
    """The room as the service's wanted replicas fill it."""
    resources = {kept.number: kept.spec.resources for kept in state.revisions} if unseen else {}
    return room_of(state.replicas, unseen, lambda revision: resources.get(revision, Resources()))


def asked_of(state: ServiceState, settings: ServiceSettings, world: World, kept: Revision) -> Asked:
    """What is asked of a host for one more replica of that revision."""
    failures: Counter[str] = Counter()
    for setback in state.setbacks:
        recent = (host for at, host in zip(setback.at, setback.hosts, strict=False) if at > world.now - FAILURES_S)
        if setback.revision == kept.number:
            failures.update(host for host in recent if host)
    return Asked(state.service, kept.spec, settings.placement, state.demand, failures, world.scores)


def victims(edit: Edit, among: Sequence[Replica], count: int) -> list[Replica]:
    """Who goes first: not created, not available, on a host that drains, on the host with most of the service; ties:
    highest slot, then the older attempt."""
    chosen: list[Replica] = []
    candidates = list(among)
    crowd = Counter(r.host for r in candidates)

    def rank(replica: Replica) -> tuple[bool, bool, bool, int, int, int]:
        return (
            replica.created_at is not None,
            edit.available(replica),
            replica.host not in edit.draining,
            -crowd[replica.host],
            -replica.slot,
            replica.attempt,
        )

    for _ in range(min(max(0, count), len(candidates))):
        victim = min(candidates, key=rank)
        candidates.remove(victim)
        crowd[victim.host] -= 1
        chosen.append(victim)
    return chosen
