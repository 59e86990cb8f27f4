"""What the stream holds of an installation, read committed and judged by DESIGN's safety properties."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from autoscaler.core.facts import EventRef
from autoscaler.core.rollout import TRANSITIONS
from autoscaler.core.settings import Bounds
from autoscaler.core.state import ServiceState
from autoscaler.ledger.audit import read_audit, replay_state
from autoscaler.ledger.chain import verify_chain
from autoscaler.ledger.dead_letter import DeadLetter, read_letter
from autoscaler.ledger.partition_record import PartitionRecord, decode_partition, is_reserved, partition_key
from autoscaler.ledger.state_codec import decode_state
from autoscaler.ports.stream import StreamClient, Topic
from tests.system.grounds import Ground
from tests.system.installation import Installation
from tests.system.patience import eventually

TURNS_MAX = 20
"""Looks at a running installation before it has to be at rest for one of them."""
CLOCK_S = 0.05
"""How far a broker's and an engine's readings of one clock may lie apart."""


@dataclass(frozen=True)
class Recorded:
    """An audit event, and when its message was written."""

    at: float
    event: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = self.event["data"]
        return data

    @property
    def chain(self) -> str:
        return str(self.event["subject"])

    def __str__(self) -> str:
        data = self.data
        return f"{self.event['id']} {data['kind']} {data['reason']['text']} {data['after']}"


async def trail(client: StreamClient, service: str = "") -> list[Recorded]:
    """Every committed audit event, in order per chain; of one chain where it is named."""
    found = [
        Recorded(message.timestamp / 1000, read_audit(message.value or b""))
        async for _, message in client.read(Topic.AUDIT)
    ]
    return [recorded for recorded in found if service in {"", recorded.chain}]


async def letters(client: StreamClient) -> list[DeadLetter]:
    """Every dead letter."""
    return [read_letter(message) async for _, message in client.read(Topic.DLQ)]


async def states(client: StreamClient) -> dict[str, ServiceState]:
    """The newest state of each service."""
    found: dict[str, ServiceState] = {}
    async for _, message in client.read(Topic.STATE):
        if message.key is not None and not is_reserved(message.key) and message.value is not None:
            state = decode_state(message.value).state
            found[state.service] = state
    return found


async def owners(client: StreamClient) -> dict[int, PartitionRecord]:
    """The newest record of each partition, which names its owner."""
    found: dict[int, PartitionRecord] = {}
    async for place, message in client.read(Topic.STATE):
        if message.value is not None and message.key == partition_key(place.partition):
            found[place.partition] = decode_partition(message.value)
    return found


def verdicts(recorded: Sequence[Recorded], event: EventRef) -> list[str]:
    """The terminal verdicts of an event; right is exactly one."""
    ref = {"source": event.source, "id": event.id}
    return [r.data["verdict"] for r in recorded if r.data["terminal"] and r.data.get("event") == ref]


async def verdict(installation: Installation, event: EventRef, within_s: float = 40.0) -> Recorded:
    """The record with the event's terminal verdict, waited for."""

    async def look() -> list[Recorded]:
        return await trail(installation.client)

    def holds(seen: list[Recorded]) -> bool:
        return bool(verdicts(seen, event))

    try:
        seen = await eventually(f"a verdict of {event.id}", look, holds, within_s)
    except AssertionError as error:
        shown = "\n".join(str(r) for r in (await look())[-25:])
        raise AssertionError(
            f"no verdict of {event.id} within {within_s:g} s\n{shown}\n{installation.logs()}"
        ) from error
    ref = {"source": event.source, "id": event.id}
    return next(r for r in seen if r.data["terminal"] and r.data.get("event") == ref)


def rests(state: ServiceState | None) -> bool:
    """Whether nothing is in flight and all replicas are available."""
    if state is None or state.rollout.phase != "idle" or len(state.replicas) != state.demand:
        return False
    return state.revision > 0 and all(replica.available_at is not None for replica in state.replicas)


async def at_rest(installation: Installation, service: str, within_s: float = 30.0) -> ServiceState:
    """The service's state once nothing is in flight and all its replicas are available."""

    async def look() -> ServiceState | None:
        return (await states(installation.client)).get(service)

    state = await eventually(f"{service} at rest", look, rests, within_s)
    assert state is not None
    return state


async def noted(
    installation: Installation, what: str, holds: Callable[[Recorded], bool], within_s: float = 30.0
) -> Recorded:
    """The first record that ``holds``, waited for."""

    async def look() -> list[Recorded]:
        return [r for r in await trail(installation.client) if holds(r)]

    return (await eventually(what, look, bool, within_s))[0]


async def judge(installation: Installation, *events: EventRef) -> dict[str, ServiceState]:
    """Hold the trail and the hosts to each other; the events have exactly one terminal verdict each.

    Chains are whole; generations grow by one; the trail folds to the state; demand stays within its bounds, phases
    follow each other as the table says, and a way back is never turned; every replica that was ever made was wanted by
    a record that was durable before, none was made or started twice; what stands is what the state wants.
    """
    client, ground = installation.client, installation.ground
    recorded, held = await _between_turns(client)
    for event in events:
        found = verdicts(recorded, event)
        assert len(found) == 1, f"{event.id} has the terminal verdicts {found}:\n{_shown(recorded)}"
    for service, state in held.items():
        own = [r for r in recorded if r.chain == service]
        _judge_chain(own, state)
        _judge_phases(own)
        bounds = installation.configuration.services[service].bounds
        beyond = [str(r) for r in own if "demand" in r.data["changes"] and not _within(r, bounds)]
        assert not beyond, f"demand outside {bounds}: {beyond}"
        _judge_made(ground, own, service)
    for chain in {r.chain for r in recorded} - set(held):
        assert verify_chain(r.event for r in recorded if r.chain == chain).ok
    wanted = {
        f"{service}.s{r.slot}.r{r.revision}.{r.attempt}" for service, state in held.items() for r in state.replicas
    }
    standing = {replica.name for replica in ground.standing() if replica.running}
    assert standing == wanted, f"standing {sorted(standing)}, wanted {sorted(wanted)}:\n{_shown(recorded)}"
    return held


async def _between_turns(client: StreamClient) -> tuple[list[Recorded], dict[str, ServiceState]]:
    """The trail and the states as no turn has come in between: both are read one after the other."""
    for _ in range(TURNS_MAX):
        before, recorded = await states(client), await trail(client)
        if await states(client) == before:
            return recorded, before
    raise AssertionError(f"the trail never rested in {TURNS_MAX} looks:\n{_shown(recorded)}")


def _judge_chain(own: Sequence[Recorded], state: ServiceState) -> None:
    report = verify_chain((r.event for r in own), (state.seq, state.chain))
    assert report.ok, report.text
    assert report.complete, report.text
    generations = [r.data["generation"] for r in own]
    steps = {after - before for before, after in zip([0, *generations], generations, strict=False)}
    assert steps <= {0, 1}, f"generations {generations}"
    assert replay_state(r.event for r in own) == state
    tokens = [r.data["token"] for r in own]
    assert tokens == sorted(tokens), f"an older owner wrote after a newer one: {tokens}"


def _within(recorded: Recorded, bounds: Bounds) -> bool:
    return recorded.data["reason"]["code"] == "retire" or bounds.min <= recorded.data["changes"]["demand"] <= bounds.max


def _judge_phases(own: Sequence[Recorded]) -> None:
    before: dict[str, Any] = {"phase": "idle"}
    for recorded in own:
        after = recorded.data["changes"].get("rollout", before)
        assert after["phase"] in TRANSITIONS[before["phase"]], f"{before['phase']} to {recorded}"
        asked = recorded.data["reason"]["code"] in {"rollback", "abort"}  # an operator may turn it
        if before["phase"] == after["phase"] == "rolling_back" and not asked:
            assert before["target"] == after["target"], f"a rollback was rolled back: {recorded}"
        before = after


def _judge_made(ground: Ground, own: Sequence[Recorded], service: str) -> None:
    made = [m for m in ground.made() if m.name.split(".")[0] == service]
    twice = [name for name, count in Counter(m.name for m in made).items() if count > 1]
    assert not twice, f"made twice: {twice}"
    again = [name for name, count in Counter(ground.started()).items() if count > 1]
    assert not again, f"started twice: {again}"
    wanted = _wanted_since(own, service)
    unasked = [m.name for m in made if m.name not in wanted]
    assert not unasked, f"made without a record: {unasked}"
    early = [m.name for m in made if m.at < wanted[m.name] - CLOCK_S]
    assert not early, f"made before its record was written: {early}"


def _wanted_since(own: Sequence[Recorded], service: str) -> dict[str, float]:
    """When the trail first wanted each replica."""
    since: dict[str, float] = {}
    for recorded in own:
        for replica in recorded.data["changes"].get("replicas", ()):
            name = f"{service}.s{replica['slot']}.r{replica['revision']}.{replica['attempt']}"
            since.setdefault(name, recorded.at)
    return since


def _shown(recorded: Sequence[Recorded]) -> str:
    return "\n".join(str(r) for r in recorded[-40:])
