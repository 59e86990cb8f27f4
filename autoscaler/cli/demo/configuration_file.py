"""The demo's configuration: a file like anybody's, with windows of seconds where production has minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from autoscaler.adapters.process.ports import free_numbers
from autoscaler.cli.demo.chapters import HIGHEST, PER_REPLICA
from autoscaler.cli.demo.publisher import METRIC
from autoscaler.cli.demo.stage import SERVICE, Stage
from autoscaler.cli.demo.traffic import WINDOW_S

LOOPBACK = "127.0.0.1"
PARTITIONS = 3

GUARD = 0.5
POLICY = {
    "metric": METRIC,
    "per_replica": PER_REPLICA / GUARD,
    "guard": GUARD,
    "startup": "1s",
    "lag": "1s",
    "window": f"{round(WINDOW_S * 1000)}ms",
    "period": "5s",
    "idle": "3s",
    "tolerance": 0,
}
"""The default policy. In the minute that the story takes it learns too little to trust its forecasts, and buys what a
plain target would: so the number of replicas is known beforehand."""

HEAD = """\
# Written by `autoscaler demo`. Windows and deadlines are seconds here, so that the story fits a minute.
"""


def stream_of(brokers: Sequence[str], prefix: str) -> dict[str, Any]:
    """The stream's block: brokers, or a file beside the configuration."""
    if brokers:
        return {"kind": "kafka", "brokers": list(brokers), "prefix": prefix, "partitions": PARTITIONS}
    return {"kind": "embedded", "path": "./autoscaler.db", "prefix": prefix, "partitions": PARTITIONS}


def service_of(stage: Stage, route: str) -> dict[str, Any]:
    """The shop's block."""
    return {
        "target": "local",
        "replicas": {"min": 0, "max": HIGHEST, "initial": 0},
        "policies": [{"use": "quantile_headroom", "with": POLICY}],
        "scaling": {"down_window": "3s", "idle": "3s", "max_age": "30s"},
        "update": {
            "min_healthy": "300ms",
            "soak": "2s",
            "startup_deadline": "60s",
            "deadline": "120s",
            "drain_timeout": "10s",
            "restart": {"attempts": 3, "window": "1m", "delay": "500ms"},
        },
        "route": {"listen": route, "hold": 0},  # the story starts it by an event, not by a request
        **stage.service(),
    }


def write_configuration(path: Path, stage: Stage, cluster: str, stream: dict[str, Any]) -> tuple[str, str]:
    """Writes the file with two free ports in it; the addresses of the HTTP face and of the router."""
    face, route = (f"{LOOPBACK}:{number}" for number in free_numbers(2))
    document = {
        "cluster": cluster,
        "stream": stream,
        "http": {"listen": face},
        "targets": {"local": stage.target()},
        "services": {SERVICE: service_of(stage, route)},
    }
    path.write_text(HEAD + yaml.safe_dump(document, sort_keys=False, width=100))
    return face, route
