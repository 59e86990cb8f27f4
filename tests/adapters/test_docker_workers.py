"""The threads of a host: bounded, gone when idle, and never in the way of a deadline."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from autoscaler.adapters.docker.client import EngineClient
from autoscaler.adapters.docker.failures import CallFailed
from autoscaler.adapters.docker.workers import WorkerPool
from tests.contract.replicas import eventually

pytestmark = pytest.mark.timeout(30)


def unconnected(_: float) -> EngineClient:
    return EngineClient("tcp://127.0.0.1:9", None, "1.41")


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("pool-under-test")]


async def count() -> int:
    return len(threads())


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    opened = WorkerPool("pool-under-test", unconnected, 2, idle_s=0.2)
    yield opened
    opened.close()
    for thread in threads():
        thread.join(5)


async def test_calls_run_side_by_side_up_to_the_limit(pool: WorkerPool) -> None:
    began = time.monotonic()
    await asyncio.gather(*(pool.call(lambda _: time.sleep(0.2), 5.0) for _ in range(4)))
    assert 0.35 < time.monotonic() - began < 2
    assert len(threads()) <= 2


async def test_an_idle_pool_has_no_threads_and_works_again(pool: WorkerPool) -> None:
    for _ in range(3):
        assert await pool.call(lambda _: 7, 5.0) == 7
        await eventually(count, lambda alive: alive == 0)


async def test_no_call_is_lost_while_threads_end(pool: WorkerPool) -> None:
    for _ in range(20):
        assert await pool.call(lambda _: 7, 5.0) == 7
        await asyncio.sleep(0.2)


async def test_a_call_that_hangs_is_unknown_and_one_behind_it_surely_not_done(pool: WorkerPool) -> None:
    release = threading.Event()
    try:
        hanging = [asyncio.create_task(pool.call(lambda _: release.wait(20), 0.3)) for _ in range(2)]
        await asyncio.sleep(0.05)
        ran: list[int] = []
        behind = asyncio.create_task(pool.call(lambda _: ran.append(1), 0.3))
        results = await asyncio.gather(*hanging, behind, return_exceptions=True)
    finally:
        release.set()
    failures = [result.failure.result for result in results if isinstance(result, CallFailed)]
    assert failures == ["unknown", "unknown", "unavailable"]
    await eventually(count, lambda alive: alive == 0)
    assert ran == []


async def test_an_error_reaches_the_caller_and_the_thread_goes_on(pool: WorkerPool) -> None:
    def fail(_: EngineClient) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        await pool.call(fail, 5.0)
    assert await pool.call(lambda _: 7, 5.0) == 7


async def test_a_closed_pool_answers_unavailable(pool: WorkerPool) -> None:
    await pool.call(lambda _: 7, 5.0)
    pool.close()
    with pytest.raises(CallFailed) as raised:
        await pool.call(lambda _: 7, 5.0)
    assert raised.value.failure.result == "unavailable"
    await eventually(count, lambda alive: alive == 0)
