"""Carries actions out on the targets, side by side, and brings their outcomes back. Knows no policy and no plan.

An answer that never came, and a refusal to put a replica away, are followed by a new look at its host; only then may
the replica be touched again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from autoscaler.core.actions import Action, Create, Outcome, Remove, Resolve, Start, StopReplica
from autoscaler.engine.failpoints import hit
from autoscaler.engine.observer import Observer
from autoscaler.engine.supervision import Supervision
from autoscaler.errors import TargetError
from autoscaler.ports.target import Target

LOOK_AGAIN_S = 1.0
"""After a call without effect its host is looked at after so long, so that a late effect has shown itself."""

log = structlog.get_logger(__name__)


class Report(Protocol):
    """Where an outcome goes; ``settled`` is called once the replica has been looked at anew after an unknown one."""

    def outcome(self, outcome: Outcome) -> None:
        """The action has ended."""

    def settled(self, action: Action) -> None:
        """The replica may be planned for again."""


class Drains(Protocol):
    """What takes a replica out of traffic."""

    async def drained(self, service: str, name: str, timeout_s: float) -> bool:
        """True as soon as it has no request and gets none; False after ``timeout_s``."""


class Actuator:
    """Runs actions as tasks; one per action, none waits for another."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        observer: Observer,
        supervision: Supervision,
        traffic: Drains | None = None,
    ) -> None:
        self._targets = targets
        self._observer = observer
        self._supervision = supervision
        self._traffic = traffic
        self._running: set[asyncio.Task[None]] = set()

    def run(self, target: str, action: Action, report: Report, may_act: Callable[[], bool]) -> asyncio.Task[None]:
        """Begin the action; ``may_act`` is asked right before the call, since ownership may have ended meanwhile.

        A creation that has to pull its image first may still come later than that: its name is the compare-and-set,
        and the next owner sees it as any other replica.
        """
        task = self._supervision.start(self._run(target, action, report, may_act), name=f"{action.kind} {action.key}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    @property
    def active(self) -> int:
        """Actions under way."""
        return len(self._running)

    async def drain(self, timeout_s: float) -> None:
        """Wait for the actions under way, at most so long; those that go on are forgotten, the hosts will show them."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout_s)
            for task in late:
                task.cancel()

    async def _run(self, target: str, action: Action, report: Report, may_act: Callable[[], bool]) -> None:
        hit("before_action")
        outcome = await self._call(self._targets[target], action, may_act) if may_act() else None
        if outcome is None:
            report.settled(action)
            return
        hit("after_action")
        hit("before_outcome")
        log.debug("action", kind=action.kind, key=action.key, result=outcome.result, text=outcome.text)
        self._observer.note_done(target, outcome)
        # What may not be put away would be planned to be put away again at once: it is looked at first.
        resists = isinstance(action, StopReplica | Remove) and outcome.result in {"refused", "conflict"}
        if not resists:
            report.outcome(outcome)
        if resists or outcome.result in {"unknown", "unavailable"}:
            log.warning("no effect seen", kind=action.kind, key=action.key, result=outcome.result, text=outcome.text)
            await asyncio.sleep(LOOK_AGAIN_S)
            if not isinstance(action, Resolve):
                await self._observer.look(target, action.host)
            if resists:
                report.outcome(outcome)
            report.settled(action)

    async def _call(self, target: Target, action: Action, may_act: Callable[[], bool]) -> Outcome | None:
        """None: not called, as this member may not act any more."""
        try:
            match action:
                case Resolve():
                    return await target.resolve(action)
                case Create():
                    return await target.create(action)
                case Start():
                    return await target.start(action)
                case StopReplica():
                    if self._traffic is not None and action.drain_s > 0:
                        await self._traffic.drained(action.service, action.name, action.drain_s)
                        if not may_act():
                            return None
                    return await target.stop(action)
                case Remove():
                    return await target.remove(action)
        except TargetError as error:
            return Outcome(action, error.outcome, str(error))
