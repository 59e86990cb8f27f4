"""`python -m bench [--quick] [--only NAME...]`: the table on stdout, the figures in build/bench.json.

Exit 0 whatever the figures say, 1 where one could not be measured, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import containers, latency, planner, policies, resting, swarm, throughput
from bench.child import ROOT
from bench.figure import Figure
from bench.machine import described
from bench.stage import Stage
from bench.table import show

Measure = Callable[[Stage, str | None], Awaitable[list[Figure]]]

MEASURES: dict[str, Measure] = {
    "latency": latency.measure,
    "containers": containers.measure,
    "throughput": throughput.measure,
    "resting": resting.measure,
    "planner": planner.measure,
    "policies": policies.measure,
    "swarm": swarm.measure,
}
"""Groups of figures that share their parts, in the order of the table."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="as little as shows that everything works; no figures")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(MEASURES), help=", ".join(MEASURES))
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json", help="where the JSON goes")
    parser.add_argument("--traces", type=Path, metavar="DIR", help="loads for the policies; default: generated ones")
    parser.add_argument("--profile", metavar="DIRECTORY", help="write cProfile files of the rates there")
    return parser.parse_args(arguments)


async def measure(stage: Stage, chosen: Sequence[str], profile: str | None) -> tuple[list[Figure], list[str]]:
    """The figures, and the names of groups that failed."""
    figures: list[Figure] = []
    failed: list[str] = []
    for name in chosen:
        began = time.monotonic()
        try:
            figures += await MEASURES[name](stage, profile)
        except Exception:  # noqa: BLE001 - one group that fails is told, and the others still run
            failed.append(name)
            sys.stderr.write(f"{name} could not be measured:\n{traceback.format_exc()}\n")
        sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    return figures, failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    options = parse(arguments)
    # Told to end, as by Ctrl-C: the parts that were started are ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The client library logs each retry with which a fresh topic greets a producer.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    machine, began = described(), time.monotonic()
    with ExitStack() as closing:
        directory = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="eventscaler-bench-")))
        traces = options.traces or os.environ.get("AUTOSCALER_BENCH_TRACES")
        stage = Stage(directory, options.quick, closing, traces=Path(traces) if traces else None)
        figures, failed = asyncio.run(measure(stage, options.only or list(MEASURES), options.profile))
    show(figures, machine, time.monotonic() - began)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps([figure.entry() for figure in figures], indent=1) + "\n")
    if failed:
        sys.stderr.write(f"could not be measured: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
