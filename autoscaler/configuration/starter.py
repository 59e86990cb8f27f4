"""The files that `autoscaler init` writes: a configuration that runs as it is, and a policy to edit."""

from __future__ import annotations

import os
from pathlib import Path

from autoscaler.errors import ConfigurationError, Problem

CONFIGURATION = """\
# What the autoscaler runs and how. `autoscaler check` says what is wrong here, `autoscaler run` starts it.
cluster: demo                     # on every label, name and group id; a process touches only what carries it

stream:
  kind: embedded                  # a file on this machine; for a broker: kind: kafka, brokers: ["127.0.0.1:9092"]
  path: ./autoscaler.db

http: {listen: "127.0.0.1:9180"}  # /healthz, /readyz, /metrics, /api/v1/services

targets:
  local:
    kind: process                 # local processes; for containers: kind: docker with hosts: [...]
    dir: ./.autoscaler            # pid records and logs

plugins: [./my_policy.py]         # your own policies, named below by `use:`

services:
  web:
    target: local
    replicas: {min: 1, max: 5}
    policies:
      # One replica for each 50 requests/s. Try it: autoscaler emit metric web requests_per_second=120
      - {use: target_value, with: {metric: requests_per_second, per_replica: 50}}
      - {use: my_policy}          # several policies: the largest wish wins
    scaling: {down_window: 1m}    # scale down only on what was true for a whole minute
    update: {min_healthy: 2s, deadline: 1m, soak: 30s}
    # commands: ["serve **"]      # other commands that deployment events may set; ** is any further words
    revision:                     # the first one; afterwards deployment events bring them
      # $PORT is the port that each replica gets.
      command: ["sh", "-c", "exec python3 -m http.server --bind 127.0.0.1 $PORT"]
      health: {http: /}
      stop: {grace: 5s}
"""

POLICY = '''\
"""One replica for each 100 waiting messages. Try it: autoscaler emit metric web queue_length=250"""

import math

import autoscaler


@autoscaler.hookimpl
def propose(signals):
    queue = signals["queue_length"]
    if queue.known:
        return autoscaler.Scale(to=math.ceil(queue.latest / 100), reason=f"{queue.latest:.0f} waiting")
    return None
'''

FILES = {"autoscaler.yaml": CONFIGURATION, "my_policy.py": POLICY}


def write_starter(directory: Path) -> list[Path]:
    """Writes `autoscaler.yaml` and `my_policy.py` and returns their paths.

    Raises ConfigurationError, with nothing written, where one of them is there already or the directory takes no files.
    """
    taken = [name for name in FILES if os.path.lexists(directory / name)]
    if taken:
        remedy = "Move it away, or name another directory."
        raise ConfigurationError(
            [Problem("file", "is there already", remedy, 0, str(directory / name)) for name in taken]
        )
    written: list[Path] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in FILES.items():
            with (directory / name).open("x", encoding="utf-8") as file:
                written.append(directory / name)
                file.write(text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        what = f"cannot be written: {os.strerror(error.errno or 0)}"
        raise ConfigurationError([Problem("file", what, "Name another directory.", 0, str(directory))]) from error
    return written
