"""Threads that make the blocking calls of one host, so that a hung engine holds nothing but its own few threads.

Every call ends for its caller at the deadline, whatever the thread does; a call that had not begun by then is surely
not done. Threads are daemons, start as they are needed, up to a limit, and end when they are not needed any more.
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from autoscaler.adapters.docker.client import EngineClient
from autoscaler.adapters.docker.failures import FOREIGN, CallFailed, Failure

T = TypeVar("T")

IDLE_S = 30.0
"""A thread without a call for so long ends, and lets go of its connection."""


@dataclass(frozen=True, slots=True)
class _Call:
    work: Callable[[EngineClient], Any]
    ends_at: float
    future: Future[Any]


class WorkerPool:
    """At most ``limit`` daemon threads, each with one long-lived client made by ``connect(seconds)``.

    ``idle_s`` None: they stay until the pool is closed, with what their clients hold open.
    """

    def __init__(
        self, name: str, connect: Callable[[float], EngineClient], limit: int, idle_s: float | None = IDLE_S
    ) -> None:
        self._name = name
        self._connect = connect
        self._limit = limit
        self._idle_s = idle_s
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._closed = False

    async def call(self, work: Callable[[EngineClient], T], deadline_s: float | None) -> T:
        """Run ``work`` on a thread (None: however long it takes). Raises what it raises, and CallFailed: *unavailable*
        where it had not begun by the deadline, *unknown* where it had."""
        if self._closed:
            raise CallFailed(Failure("unavailable", "the target is closed"))
        call = _Call(work, math.inf if deadline_s is None else time.monotonic() + deadline_s, Future())
        self._calls.put(call)
        self._start_thread()
        try:
            # Not wait_for: up to Python 3.11 it loses a cancellation that meets the result.
            async with asyncio.timeout(deadline_s):
                return await asyncio.wrap_future(call.future)
        except TimeoutError:
            if call.future.cancel():
                raise _not_begun() from None
            if call.future.done():  # it met the deadline: what it ended with counts
                return call.future.result()  # type: ignore[no-any-return]
            raise CallFailed(Failure("unknown", f"no answer in {deadline_s:g} s", "host")) from None

    def close(self) -> None:
        """Let each thread end after its present call; does not wait."""
        self._closed = True
        with self._lock:
            for _ in range(self._threads):
                self._calls.put(None)

    def _start_thread(self) -> None:
        with self._lock:
            if self._threads >= self._limit or self._idle >= self._calls.qsize():
                return
            self._threads += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._threads}", daemon=True).start()

    def _next_call(self) -> _Call | None:
        """The next call, or None where the thread is to end: it is counted out already."""
        while True:
            with self._lock:
                self._idle += 1
            try:
                call = self._calls.get(timeout=self._idle_s)
            except queue.Empty:
                call = None
            with self._lock:
                self._idle -= 1
                # A call that came just now was put before us, who counted as idle: it is ours to take.
                if call is None and not self._closed and not self._calls.empty():
                    continue
                if call is None:
                    self._threads -= 1
                return call

    def _run(self) -> None:
        client: EngineClient | None = None
        while (call := self._next_call()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            if time.monotonic() >= call.ends_at:
                call.future.set_exception(_not_begun())
                continue
            try:
                client = client or self._connect(call.ends_at - time.monotonic())
                client.ends_at = call.ends_at
                result = call.work(client)
            except FOREIGN as error:
                # A connection that failed once may hold half an answer: begin anew with the next call.
                if client is not None:
                    client.close()
                    client = None
                call.future.set_exception(error)
            except Exception as error:  # noqa: BLE001 - the caller gets it: a thread must not die of one call's bug
                call.future.set_exception(error)
            else:
                call.future.set_result(result)
        if client is not None:
            client.close()


def _not_begun() -> CallFailed:
    text = "not begun by its deadline: earlier calls are still under way"
    return CallFailed(Failure("unavailable", text, "host", begun=False))
