"""The watchdog, in processes of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from autoscaler.engine.watchdog import BEAT_S, EXIT_STALLED

pytestmark = pytest.mark.timeout(60)

PROGRAM = """
import asyncio, sys, time
from autoscaler.engine import watchdog

watchdog.BEAT_S = 0.1

async def main():
    watched = watchdog.Watchdog(asyncio.get_running_loop(), stalled_s=1.0)
    watched.start()
    print("watched", flush=True)
    if sys.argv[1] == "blocked":
        time.sleep(60)
    if sys.argv[1] == "stopped":
        watched.stop()
        time.sleep(1.5)
    await asyncio.sleep(1.5)
    print("alive", flush=True)

asyncio.run(main())
"""


@contextmanager
def a_process(does: str) -> Iterator[subprocess.Popen[str]]:
    """A process whose loop beats ten times a second and may stall for one."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, does], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "watched\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_process_whose_loop_is_blocked_is_ended_and_says_why() -> None:
    with a_process("blocked") as process:
        _, told = process.communicate(timeout=20)
        assert process.returncode == EXIT_STALLED
        assert "no progress" in told


def test_a_process_that_was_stopped_as_a_whole_gets_time_to_catch_up() -> None:
    with a_process("nothing") as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(3 * BEAT_S)
        process.send_signal(signal.SIGCONT)
        printed, _ = process.communicate(timeout=20)
        assert (process.returncode, printed) == (0, "alive\n")


def test_nobody_watches_after_the_end() -> None:
    with a_process("stopped") as process:
        printed, _ = process.communicate(timeout=20)
        assert (process.returncode, printed) == (0, "alive\n")
