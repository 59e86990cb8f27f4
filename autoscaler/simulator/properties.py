"""The safety properties P1 to P13 of the design, checked over a simulated world: from its log and its hosts, and
around each decision. `Properties` sees everything as it happens and raises `Violation` at the first thing that must
never be.

P11 (bounded memory, files, threads) needs a real process and is not checked here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from autoscaler.core.actions import Action, Create, Remove, Resolve, StopReplica
from autoscaler.core.evolve import fold
from autoscaler.core.plan import plan
from autoscaler.core.records import Record
from autoscaler.core.rollout import TRANSITIONS, Idle
from autoscaler.core.settings import ServiceSettings, StepLimit
from autoscaler.core.state import ServiceState
from autoscaler.ledger.audit import replay_state
from autoscaler.ledger.chain import verify_chain
from autoscaler.ledger.state_codec import decode_state
from autoscaler.ports.stream import Append, Topic
from autoscaler.simulator.edits import Identity, check_edits, check_size, identity_of, violated
from autoscaler.simulator.hosts import Effect, SimHosts
from autoscaler.simulator.log import SimLog
from autoscaler.simulator.owner import LEASE_S, Owner

EVALUATED_WITHIN_S = 30.0
"""An owner that takes over evaluates at the time of the newest sample it reads again, which may be so old."""


UNPROVEN = {"preflight", "advancing", "judging", "soaking", "held", "rolling_back"}


class Properties:
    """Watches one world. ``settings`` are the service's; the books are filled from the log as readers see it.
    ``may_lack``: the hosts may be too full for the demand."""

    def __init__(self, settings: ServiceSettings, hosts: SimHosts, log: SimLog, service: str) -> None:
        self.settings = settings
        self.hosts = hosts
        self.log = log
        self.service = service
        self.may_lack = False
        self.audit: list[dict[str, Any]] = []
        self.verdicts: dict[tuple[str, str], str] = {}
        self.wanted: set[Identity] = set()
        self.ever_wanted: set[Identity] = set()
        self.accepted_versions: set[str] = set()
        self.tokens: list[tuple[float, int]] = []
        self._audit_read = 0
        self._state_read = 0
        self._effects_read = 0
        self._demands: list[tuple[float, int, bool]] = []
        self._asked: int | None = None
        self._samples: list[float] = []
        self._heard: list[float] = []
        self._rolled_back_since_update = False
        self._rollbacks: list[float] = []
        self._frozen: tuple[str, float | None] | None = None
        self._phase = "idle"

    def sampled(self, at: float, *, finite: bool) -> None:
        """A sample of the scaling signal was published, or one that cannot be read."""
        self._heard.append(at)
        if finite:
            self._samples.append(at)

    def taken_over(self, at: float, token: int) -> None:
        """A new owner holds the partition."""
        self.tokens.append((at, token))

    # After every step.

    def check(self) -> None:
        """Look at what is new in the log and on the hosts."""
        self._read_state()
        while self._audit_read < len(self.log.topics[Topic.AUDIT]):
            message = self.log.topics[Topic.AUDIT][self._audit_read]
            self._audit_read += 1
            if message.key == self.service.encode():
                self._take(json.loads(message.value or b"{}"))
        while self._effects_read < len(self.hosts.effects):
            effect = self.hosts.effects[self._effects_read]
            self._effects_read += 1
            self._check_effect(effect)

    def _read_state(self) -> None:
        messages = self.log.topics[Topic.STATE]
        for message in messages[self._state_read :]:
            if message.key == self.service.encode():
                state = json.loads(message.value or b"{}")["state"]
                self.wanted = {(r["slot"], r["revision"], r["attempt"]) for r in state.get("replicas", [])}
                self.ever_wanted |= self.wanted
                freeze = state.get("freeze")
                self._frozen = (freeze["scope"], freeze["until"]) if freeze else None
        self._state_read = len(messages)

    def _take(self, event: Mapping[str, Any]) -> None:
        data = event["data"]
        at = self.hosts.now
        self._check_numbers(data, at)
        self._check_verdict(data, at)
        self._check_demand(data, at)
        self._check_rollback(data, at)
        if "rollout" in data["changes"]:
            self._phase = data["changes"]["rollout"]["phase"]
        self.audit.append(dict(event))

    def _check_numbers(self, data: Mapping[str, Any], at: float) -> None:
        """P4: seq grows by one with each record, the generation by one with each decided change of desired state."""
        before = self.audit[-1]["data"] if self.audit else {"seq": 0, "generation": 0}
        if data["seq"] != before["seq"] + 1:
            raise violated("P4", at, f"seq {data['seq']} follows {before['seq']}")
        raised = data["generation"] - before["generation"]
        changed = "demand" in data["changes"] or "revision" in data["changes"]
        if raised != int(changed):
            raise violated("P4", at, f"generation rose by {raised} with {data['changes'].keys()}")

    def _check_verdict(self, data: Mapping[str, Any], at: float) -> None:
        """P1: one terminal verdict per deployment and control event, never two; P12: none is accepted in a freeze."""
        ref = data["event"]
        if ref is None:
            return
        key = (ref["source"], ref["id"])
        if data["terminal"]:
            if key in self.verdicts:
                raise violated("P1", at, f"{key[1]} got {data['verdict']} after {self.verdicts[key]}")
            self.verdicts[key] = data["verdict"]
        elif data["verdict"] == "accepted" and data["kind"] == "deployment" and self._freeze_covered(at):
            raise violated("P12", at, f"{key[1]} was accepted in a freeze")

    def _freeze_covered(self, at: float) -> bool:
        """Whether an operator's freeze held before the append that was just read."""
        freeze = None
        for event in reversed(self.audit):
            if "freeze" in event["data"]["changes"]:
                freeze = event["data"]["changes"]["freeze"]
                break
        return freeze is not None and (freeze["until"] is None or freeze["until"] > at)

    def _check_demand(self, data: Mapping[str, Any], at: float) -> None:
        """P5: within bounds and step limits in every record; P13: never down because of something unknown. What
        policies do is seen by what is asked for, whatever budgets allow of it."""
        changes = data["changes"]
        if "demand" not in changes and "asked" not in changes:
            return
        demand, self._asked = data["after"]["demand"], changes.get("asked", self._asked)
        before, after = self._demands[-1][1] if self._demands else 0, demand if self._asked is None else self._asked
        retired = data["reason"]["code"] == "retire"
        bounds = self.settings.bounds
        if not retired and not bounds.min <= demand <= after <= bounds.max:
            raise violated("P5", at, f"demand {demand} of {after} is outside {bounds.min}..{bounds.max}")
        by_policy = bool(data["proposals"]) and data["reason"]["code"] != "override"
        if by_policy and bounds.min <= before <= bounds.max:
            self._check_step(before, after, at)
        if by_policy and after < before:
            if any(p["kind"] == "unknown" and p["policy"] == "load" for p in data["proposals"]):
                raise violated("P13", at, f"{before} -> {after} though the scaling signal was unknown")
            self._check_coverage(before, after, at)
            self._check_proven(before, after, at)
        self._demands.append((at, after, by_policy))

    def _check_proven(self, before: int, after: int, at: float) -> None:
        """No policy lowers the demand while it is unknown whether what will run carries the load."""
        low, high = self.settings.bounds.min, self.settings.bounds.max
        if self._phase in UNPROVEN and not self.settings.scaling.down_while_unproven and low <= before <= high:
            raise violated("unproven", at, f"{before} -> {after} while {self._phase}")

    def _check_step(self, before: int, after: int, at: float) -> None:
        guards = self.settings.guards
        limit = guards.max_step_up if after > before else guards.max_step_down
        if limit is None:
            return
        start, moved = self._moved(limit, before, at)
        moved += after - before
        allowed = max(1, limit.by.up(start) if after > before else limit.by.down(start))
        if abs(moved) > allowed and (moved > 0) == (after > before):
            raise violated("P5", at, f"{before} -> {after} makes {moved} in {limit.per_s:g} s, allowed are {allowed}")

    def _moved(self, limit: StepLimit, before: int, at: float) -> tuple[int, int]:
        """What the policies moved within the period, and the demand less that."""
        moved, last = 0, 0
        for when, demand, by_policy in self._demands:
            if by_policy and when > at - limit.per_s:
                moved += demand - last
            last = demand
        return before - moved, moved

    def _check_coverage(self, before: int, after: int, at: float) -> None:
        """At each instant of the down window before the evaluation the newest sample was no older than ``max_age``."""
        gaps = [self._gap_s(heard) for heard in self._heard if at - EVALUATED_WITHIN_S < heard <= at + 0.001]
        gap_s = min(gaps, default=float("inf"))
        if gap_s > self.settings.scaling.max_age_s + 0.002:
            raise violated("P13", at, f"{before} -> {after} though samples lack for {gap_s:.1f} s of the down window")

    def _gap_s(self, evaluated_at: float) -> float:
        """The longest time without a sample in the down window that ends then."""
        begin = evaluated_at - self.settings.scaling.down_window_s
        until = [t for t in self._samples if t <= evaluated_at + 0.001]
        earlier = [t for t in until if t <= begin + 0.001]
        if not earlier:
            return float("inf")
        points = [max(earlier), *sorted(t for t in until if t > begin + 0.001), evaluated_at]
        return max(after - before for before, after in pairwise(points))

    def _check_rollback(self, data: Mapping[str, Any], at: float) -> None:
        """P13: a rollback is never rolled back by itself; and no update begins past so many of them in an hour."""
        if data["reason"]["code"] == "approved":
            self._rollbacks.clear()
        if data["kind"] == "update" and data["reason"]["code"] == "revision":
            recent = [when for when in self._rollbacks if when > at - 3600.0]
            if len(recent) >= max(1, self.settings.update.rollbacks_per_hour):
                raise violated("bound", at, f"an update began after {len(recent)} rollbacks within an hour")
        asked = data["reason"]["code"] in {"rollback", "abort", "base"}
        if data["kind"] == "rollback" and "revision" in data["changes"] and not asked:
            self._rollbacks.append(at)
        if (data["kind"] == "update" and "revision" in data["changes"]) or data["reason"]["code"] == "approved":
            self._rolled_back_since_update = False
        elif data["kind"] == "rollback" and "revision" in data["changes"]:
            by_operator = data["reason"]["code"] in {"rollback", "abort", "base"}
            if self._rolled_back_since_update and not by_operator:
                raise violated("P13", at, f"a second rollback without an update between: {data['reason']['text']}")
            self._rolled_back_since_update = True

    def _check_effect(self, effect: Effect) -> None:
        """P2: nothing is created twice or unasked; P3: only content that was accepted; P7: nothing by a former owner
        after its lease; nothing wanted is ever stopped."""
        identity = effect.identity
        if effect.container.service != self.service:
            return
        if effect.kind == "create":
            if self.hosts.created.count(effect.name) > 1:
                raise violated("P2", effect.at, f"{effect.name} was created twice")
            if identity not in self.ever_wanted:
                raise violated("P2", effect.at, f"{effect.name} was created though no durable state wants it")
            if effect.container.version not in self.accepted_versions:
                raise violated("P3", effect.at, f"{effect.name} runs {effect.container.version}, which nobody deployed")
        if effect.kind in {"stop", "remove"} and identity in self.wanted and effect.container.condition == "running":
            raise violated("P9", effect.at, f"{effect.name} was stopped though it is wanted")
        later = [at for at, token in self.tokens if token > effect.token]
        if later and effect.at > later[0] + LEASE_S:
            raise violated(
                "P7", effect.at, f"{effect.kind} of {effect.name} by token {effect.token}, ended {later[0]:.3f}"
            )

    # Around each decision.

    def decided(
        self, owner: Owner, append: Append, records: Sequence[Record], before: ServiceState, after: ServiceState
    ) -> None:
        """What one conclusion made of the state."""
        at = owner.now
        self._check_fold(records, before, after, at)
        self._check_positions(append, at)
        world = owner.world(self.service, self.settings.target, at, owner.token, frozenset())
        check_edits(records, before, self.settings, world)
        check_size(after, self.settings, world)

    def _check_fold(self, records: Sequence[Record], before: ServiceState, after: ServiceState, at: float) -> None:
        """The fold of the records is the state; a phase follows another only as the table says."""
        ours = [record for record in records if record.service == self.service]
        folded = fold(before, ours)
        if replace(folded, chain="") != replace(after, chain=""):
            raise violated("fold", at, f"{folded} is not {after}")
        phase = before.rollout.phase
        for record in ours:
            moved: Any = record.changes.get("rollout")
            if moved is not None:
                if moved.phase not in TRANSITIONS[phase]:
                    raise violated("transitions", at, f"{phase} -> {moved.phase}")
                phase = moved.phase

    def _check_positions(self, append: Append, at: float) -> None:
        """P8: no position is past what exists, or behind what was committed before."""
        for topic, position in append.positions.items():
            if position > len(self.log.topics[topic]):
                raise violated("P8", at, f"position {position} of {topic} is past its end")

    def acting(self, owner: Owner, actions: Sequence[Action]) -> None:
        """Right before actions go out: they follow from what is durable, and planning again adds nothing."""
        self.check()
        at, state = owner.now, owner.state
        if self.tokens and owner.token < self.tokens[-1][1]:
            return  # a former owner within its lease plans by a state that has moved on; P7 judges what it does
        for action in actions:
            if isinstance(action, Create) and (action.slot, action.revision, action.attempt) not in self.wanted:
                raise violated("P2", at, f"{action.name} is planned and not wanted")
            if isinstance(action, StopReplica | Remove) and any(action.name.endswith(_label(w)) for w in self.wanted):
                world = owner.world(self.service, self.settings.target, at, owner.token, frozenset())
                if any(s.name == action.name and s.condition == "running" for s in world.replicas):
                    raise violated("P9", at, f"{action.kind} of {action.name}, which is wanted")
        busy = frozenset(action.key for action in actions)
        world = owner.world(self.service, self.settings.target, at, owner.token, busy)
        again = [
            action
            for action in plan(state, self.settings, world, "sim")
            if action.key not in busy and not isinstance(action, Resolve)
        ]
        first = owner.in_flight()
        if [action for action in again if action.key not in first]:
            raise violated("plan", at, f"planned again: {again}")

    # At the end.

    def finish(
        self, expected: Sequence[tuple[str, str]], pending: frozenset[tuple[str, str]], *, whole_trail: bool
    ) -> None:
        """P1, P6 and P10, after faults have stopped and all has come to rest; ``whole_trail``: the chain of every
        event, and the trail folded, which costs as much as all the rest; else the newest."""
        self.check()
        at = self.hosts.now
        for key in expected:
            if key not in self.verdicts and key not in pending:
                raise violated("P1", at, f"{key[1]} never got a verdict")
        state = self._durable_state()
        report = verify_chain(self.audit if whole_trail else self.audit[-2:], (state.seq, state.chain))
        if not report.ok:
            raise violated("P10", at, report.text)
        if whole_trail and self.audit and replay_state(self.audit) != state:
            raise violated("fold", at, "the trail folded is not the state")
        self._check_rest(state, at)

    def _durable_state(self) -> ServiceState:
        for message in reversed(self.log.topics[Topic.STATE]):
            if message.key == self.service.encode() and message.value is not None:
                return decode_state(message.value).state
        return ServiceState(self.service)

    def _check_rest(self, state: ServiceState, at: float) -> None:
        """P6: what runs is what is wanted, and as many as the demand where the wanted revision can run."""
        wanted = {identity_of(r) for r in state.replicas}
        ours = [c for c in self.hosts.containers() if c.service == self.service]
        running = {c.identity for c in ours if c.condition == "running"}
        current = state.current
        version = "" if current is None else (current.spec.command or ("", current.spec.image.rpartition(":")[2]))[1]
        if not isinstance(state.rollout, Idle) or self.hosts.fates.get(version, "good") not in {"good", "slow"}:
            return
        extra = running - wanted
        if extra:
            raise violated("P6", at, f"{sorted(extra)} run and are not wanted ({state.rollout.phase})")
        backing_off = {s.slot for s in state.setbacks if s.retry_at > at}
        drifted = {c.identity for c in ours if c.drift and c.slot not in backing_off}
        if drifted:
            raise violated("P6", at, f"{sorted(drifted)} were changed by hand and still stand")
        whole = len(state.replicas) == state.demand or (self.may_lack and state.pending is not None)
        if state.revision and (not whole or running != wanted):
            text = f"{len(running)} of {len(wanted)} run, {state.demand} demanded; pending: {state.pending}"
            raise violated("P6", at, text)


def _label(identity: Identity) -> str:
    slot, revision, attempt = identity
    return f".s{slot}.r{revision}.{attempt}"
