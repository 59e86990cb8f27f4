"""`replay`: recorded events once more through the production core, with the same configuration or another.

Everything that came in comes in again at its moment; replicas are those of one obliging host, which starts each in the
time that the recording says they took. What is compared is what was decided about scale, sample by sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.budgets import Budget
from autoscaler.core.records import Record
from autoscaler.core.rollout import Idle
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import Configured
from autoscaler.engine.evaluation import Voter
from autoscaler.errors import EventRejected
from autoscaler.events.moments import read_time
from autoscaler.events.samples import read_samples
from autoscaler.lab.recording import Arrival, Recording
from autoscaler.ports.stream import Batch, Topic
from autoscaler.testing.driving import Driven

KINDS = frozenset({"scale", "hold"})
HOUR_S = 3600.0
DUST = 1e-9
START_S = 1.0
"""How long a replica starts where the recording shows no start."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided about one service's scale. ``event``: the source and id of what led to it."""

    at: float
    service: str
    kind: str
    before: int
    after: int
    code: str
    text: str
    event: tuple[str, str] | None

    @property
    def what(self) -> tuple[Any, ...]:
        """All but the moment and the words."""
        return self.service, self.kind, self.before, self.after, self.code, self.event


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the two differ: None on the side that decided nothing there."""

    then: Decided | None
    now: Decided | None

    @property
    def at(self) -> float:
        """When."""
        one = self.then or self.now
        return one.at if one is not None else 0.0


@dataclass(frozen=True, slots=True)
class Replayed:
    """``then``: decisions as recorded, ``now``: as replayed. ``hours_then``, ``hours_now``: wanted replicas, in replica
    hours. ``lack_then``, ``lack_now``: replica hours by which they fell short of what the loads needed, None where
    nobody said what a replica carries."""

    then: tuple[Decided, ...]
    now: tuple[Decided, ...]
    differences: tuple[Difference, ...]
    hours_then: float
    hours_now: float
    lack_then: float | None
    lack_now: float | None
    events: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Need:
    """What the loads need: ``per_replica`` of the ``metric`` each."""

    metric: str
    per_replica: float


def replay(
    recording: Recording,
    services: Mapping[str, ServiceSettings],
    voter: Voter,
    *,
    known: Mapping[str, ServiceState] | None = None,
    need: Mapping[str, Need] | None = None,
    budgets: Iterable[Budget] = (),
    told: Callable[[float], None] | None = None,
) -> Replayed:
    """Replay the recording. ``known``: the states of services whose trail begins before the recording does.

    Policies must all run in this process. Raises `ValueError` where nothing is recorded.
    """
    begins_at = recording.begins_at
    if begins_at is None:
        raise ValueError("nothing is recorded")
    before = {service: as_it_was(state, recording) for service, state in (known or {}).items() if service in services}
    driven = Driven(services, voter, begins_at, start_seconds(recording), before, budgets)
    for service in sorted(services):
        driven.shard.tell(service, Configured(begins_at))
    driven.settle()
    for index, arrival in enumerate(recording.arrivals):
        driven.advance_to(arrival.at)
        driven.take(Batch(arrival.topic, 0, (arrival.message,)))
        if told is not None and index % 100 == 0:
            told(index / len(recording.arrivals))
    ends_at = max([driven.now, *(read_time(event["time"]) for event in recording.trail)])
    driven.advance_to(ends_at)
    whole = not before
    then = tuple(d for d in decided_then(recording.trail) if d.service in services and (whole or d.kind == "scale"))
    now = tuple(d for d in decided_now(driven.records) if whole or d.kind == "scale")
    initial = {service: state.demand for service, state in before.items()}
    course_then, course_now = _courses(recording, driven.records, initial, ends_at)
    needed = _needed(recording.arrivals, need or {}, begins_at, ends_at)
    return Replayed(
        then, now, differences(then, now), course_then.hours(), course_now.hours(),
        course_then.lack(needed) if need else None, course_now.lack(needed) if need else None,
        len(recording.arrivals), ends_at - begins_at,
    )  # fmt: skip


def as_it_was(state: ServiceState, recording: Recording) -> ServiceState:
    """The state at the beginning of the recording, as far as later ones tell: what ran then starts anew."""
    first = next((e["data"] for e in recording.trail if e["subject"] == state.service), None)
    demand = state.demand if first is None else int(first["before"]["demand"])
    return replace(
        state, demand=demand, asked=None, replicas=(), lost=(), rollout=Idle(), pending=None, waiting=None,
        override=None, scheduled=(), setbacks=(), steps=(), conclusion=None, last_up_at=None, last_down_at=None,
    )  # fmt: skip


def start_seconds(recording: Recording) -> float:
    """The usual time from a replica's creation to its being available, less what it had to stay healthy for."""
    took = []
    for event in recording.trail:
        for replica in event["data"]["changes"].get("replicas") or ():
            created, available = replica.get("created_at"), replica.get("available_at")
            if created is not None and available is not None:
                took.append(max(0.0, float(available) - float(created)))
    return median(took) if took else START_S


def decided_then(trail: Iterable[Mapping[str, Any]]) -> list[Decided]:
    """The decisions about scale of a trail, in the order of their moments."""
    found = []
    for event in trail:
        data = event["data"]
        if event["type"] == "io.eventscaler.decided.v1" and data["kind"] in KINDS and data["proposals"]:
            cause = data["causes"][0] if data["causes"] else None
            found.append(
                Decided(
                    read_time(event["time"]), event["subject"], data["kind"], data["before"]["demand"],
                    data["after"]["demand"], data["reason"]["code"], data["reason"]["text"],
                    (cause["source"], cause["id"]) if cause else None,
                )
            )  # fmt: skip
    return sorted(found, key=lambda one: one.at)


def decided_now(records: Iterable[Record]) -> list[Decided]:
    """The decisions about scale of a replay."""
    return [
        Decided(
            r.at, r.service, r.kind, r.before.demand, r.after.demand, r.reason.code, r.reason.text,
            (r.causes[0].source, r.causes[0].id) if r.causes else None,
        )
        for r in records
        if r.type == "decided" and r.kind in KINDS and r.proposals
    ]  # fmt: skip


def differences(then: Sequence[Decided], now: Sequence[Decided]) -> tuple[Difference, ...]:
    """What only one side decided, or both by the same event but not alike."""
    found = []
    rest: dict[tuple[str, tuple[str, str] | None], list[Decided]] = {}
    for one in now:
        rest.setdefault((one.service, one.event), []).append(one)
    for one in then:
        candidates = rest.get((one.service, one.event), [])
        other = candidates.pop(0) if candidates else None
        if other is None or other.what != one.what:
            found.append(Difference(one, other))
    found += [Difference(None, one) for left in rest.values() for one in left]
    return tuple(sorted(found, key=lambda difference: difference.at))


@dataclass(frozen=True, slots=True)
class _Course:
    """Demand over time: (moment, service, replicas from then on), and what was wanted at the beginning."""

    steps: tuple[tuple[float, str, int], ...]
    initial: Mapping[str, int]
    begins_at: float
    ends_at: float

    @property
    def services(self) -> list[str]:
        return sorted({*self.initial, *(service for _, service, _ in self.steps)})

    def wanted(self, service: str) -> NDArray[np.int64]:
        """Demand in each second."""
        wanted = np.full(max(1, int(self.ends_at - self.begins_at)), self.initial.get(service, 0), np.int64)
        for at, of, replicas in self.steps:
            if of == service:
                wanted[max(0, int(at - self.begins_at)) :] = replicas
        return wanted

    def hours(self) -> float:
        """Wanted replicas, in replica hours."""
        return sum(float(self.wanted(service).sum()) for service in self.services) / HOUR_S

    def lack(self, needed: Mapping[str, NDArray[np.int64]]) -> float:
        """Replica hours by which it falls short."""
        return sum(float(np.maximum(of - self.wanted(name), 0).sum()) for name, of in needed.items()) / HOUR_S


def _courses(
    recording: Recording, records: Iterable[Record], initial: Mapping[str, int], ends_at: float
) -> tuple[_Course, _Course]:
    begins_at = recording.begins_at or 0.0
    # In the order of the records: several of one moment are no several demands, the last of them holds.
    told = [(read_time(e["time"]), str(e["subject"]), int(e["data"]["after"]["demand"])) for e in recording.trail]
    then = sorted(told, key=lambda step: step[0])
    now = [(r.at, r.service, r.after.demand) for r in records]
    return (
        _Course(tuple(then), initial, begins_at, ends_at),
        _Course(tuple(now), initial, begins_at, ends_at),
    )


def _needed(
    arrivals: Sequence[Arrival], need: Mapping[str, Need], begins_at: float, ends_at: float
) -> dict[str, NDArray[np.int64]]:
    """Replicas that each service's load needs in each second; a load holds until the next one is known."""
    seconds = max(1, int(ends_at - begins_at))
    needed = {service: np.zeros(seconds, np.int64) for service in need}
    for arrival in arrivals:
        if arrival.topic is not Topic.METRICS:
            continue
        try:
            reading = read_samples(arrival.message)
        except EventRejected:
            continue
        of = need.get(reading.service)
        for sample in reading.samples if of is not None else ():
            if of is not None and sample.name == of.metric and sample.revision is None:
                replicas = math.ceil(max(sample.value, 0.0) / of.per_replica - DUST)
                needed[reading.service][max(0, int(arrival.at - begins_at)) :] = replicas
    return needed


def need_of(settings: ServiceSettings) -> Need | None:
    """What a service's load needs, as far as its policies' options say; None where none does."""
    for use in settings.policies:
        options = use.options
        forms = [(options, "per_replica"), (options, "target")]
        for name, key in (("metrics", "target"), ("triggers", "threshold")):
            listed = options.get(name)
            if isinstance(listed, list) and listed:
                forms.append((listed[0], key))
        for form, key in forms:
            metric, each = form.get("metric"), form.get(key)
            if isinstance(metric, str) and isinstance(each, int | float) and each > 0:
                return Need(metric, float(each))
    return None
