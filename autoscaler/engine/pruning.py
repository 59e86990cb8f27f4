"""Removes images that no kept revision needs any more, where a target is configured to. Far from the hot path.

One task a target, rarely awake. What may go is named by the services' states alone; what is needed is read from the
state topic, where every service of the cluster is, whoever owns it. Where that cannot be read whole, nothing is
removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

from autoscaler.core.history import needed_contents
from autoscaler.core.rollout import Idle
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import ImagesPruned
from autoscaler.errors import AutoscalerError
from autoscaler.ledger.newest import newest_states
from autoscaler.ports.stream import StreamClient
from autoscaler.ports.target import Pruned, Prunes

log = structlog.get_logger(__name__)

Tell = Callable[[str, ImagesPruned], None]


class Pruner:
    """``owned``: the states of the services of one target that this member owns now. ``tell``: hands a service's owner
    what was done. ``clock``: seconds since the epoch."""

    def __init__(
        self,
        targets: Mapping[str, tuple[Prunes, float]],
        client: StreamClient,
        owned: Callable[[str], Iterable[ServiceState]],
        tell: Tell,
        clock: Callable[[], float],
    ) -> None:
        self._targets = dict(targets)
        self._client = client
        self._owned = owned
        self._tell = tell
        self._clock = clock

    async def run(self) -> None:
        """Look at each target again and again, each as often as it says; ends at once where none wants it."""
        async with asyncio.TaskGroup() as group:
            for name, (_, every_s) in self._targets.items():
                group.create_task(self._follow(name, every_s))

    async def _follow(self, name: str, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.prune(name)
            except AutoscalerError as error:
                log.warning("images were not pruned", target=name, error=str(error))

    async def prune(self, name: str) -> None:
        """One look: what services at rest let go and nobody needs is removed where it can be. Raises StreamError and
        LedgerError where what is needed cannot be read."""
        waiting = {s.service: s.former for s in self._owned(name) if s.former and isinstance(s.rollout, Idle)}
        if not waiting:
            return
        states = await newest_states(self._client)
        needed = needed_contents([*states.values(), *self._owned(name)])
        target, _ = self._targets[name]
        for service, former in waiting.items():
            images = tuple((image, pinned) for image, pinned in former if pinned not in needed)
            if not images:
                continue
            results = await target.prune(images, needed)
            log.debug("pruned", service=service, results=[f"{r.host} {r.pinned} {r.result} {r.text}" for r in results])
            self._tell(service, summary(results, self._clock()))


def summary(results: Iterable[Pruned], at: float) -> ImagesPruned:
    """What was done, image by image. Settled is what no host has any more, or has under a name that somebody else gave
    it; what is used, or on a host that does not answer, is tried again."""
    by_image: dict[str, list[Pruned]] = {}
    for result in results:
        by_image.setdefault(result.pinned, []).append(result)
    settled = tuple(
        pinned for pinned, found in by_image.items() if all(r.result in ("removed", "absent", "named") for r in found)
    )
    texts, removed = [], 0
    for pinned, found in by_image.items():
        gone = [r.host for r in found if r.result == "removed"]
        removed += len(gone)
        if gone:
            texts.append(f"removed {pinned} from {', '.join(gone)}")
        texts += [f"left {pinned} on {r.host}: {r.text}" for r in found if r.result == "named"]
    text = f"{'; '.join(texts)}: no kept revision needs it" if texts else ""
    return ImagesPruned(at, settled, removed, text)
