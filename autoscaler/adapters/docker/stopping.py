"""Containers of one host that were asked to stop and have not ended yet, so that they are not asked again meanwhile."""

from __future__ import annotations

import time
from collections.abc import Set as AbstractSet


class Stopping:
    """Ids, each until its stop must have taken effect. Changed by the event loop, read by any thread."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def __contains__(self, container: object) -> bool:
        return isinstance(container, str) and self.left_s(container) > 0

    def begin(self, container: str, for_s: float) -> None:
        """It is asked to stop, which takes at most so long."""
        self._until[container] = time.monotonic() + for_s

    def end(self, container: str) -> None:
        """Its stop is over, whatever came of it."""
        self._until.pop(container, None)

    def left_s(self, container: str) -> float:
        """Seconds until it counts as not stopping; 0.0 where it does not now."""
        return max(0.0, self._until.get(container, 0.0) - time.monotonic())

    def keep(self, running: AbstractSet[str]) -> None:
        """Forget those that do not run any more, or whose time is over."""
        now = time.monotonic()
        self._until = {key: until for key, until in self._until.items() if key in running and now < until}
