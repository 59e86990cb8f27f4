"""Changes on their way from the hosts' event threads to whoever listens: bounded, never losing that one happened.

A listener that is too slow loses the single changes and gets "look at the whole host again" instead. Event loop only.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque

from autoscaler.ports.target import HostChange

WAITING_MAX = 1000
"""Changes that wait for one listener before they are folded into whole-host changes."""


class Subscription:
    """One listener's changes, from its creation on; ends when the feed is closed."""

    def __init__(self, *, closed: bool) -> None:
        self._waiting: deque[HostChange] = deque()
        self._wake = asyncio.Event()
        self._closed = closed

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> HostChange:
        """The next change; waits for it."""
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()

    def put(self, change: HostChange) -> None:
        """Append a change, folding what waits where that is too much."""
        if len(self._waiting) >= WAITING_MAX:
            hosts = dict.fromkeys([waiting.host for waiting in self._waiting])
            self._waiting = deque(HostChange(host) for host in hosts)
        self._waiting.append(change)
        self._wake.set()

    def close(self) -> None:
        """No more will come; what waits is still handed out."""
        self._closed = True
        self._wake.set()


class Feed:
    """All listeners of one target. Those that are forgotten by their owners vanish by themselves."""

    def __init__(self) -> None:
        self._listeners: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._closed = False

    def subscribe(self) -> Subscription:
        """A new listener, which hears everything from now on."""
        subscription = Subscription(closed=self._closed)
        self._listeners.add(subscription)
        return subscription

    def publish(self, change: HostChange) -> None:
        """Tell every listener."""
        for listener in tuple(self._listeners):
            listener.put(change)

    def close(self) -> None:
        """End every listener's iteration."""
        self._closed = True
        for listener in tuple(self._listeners):
            listener.close()
