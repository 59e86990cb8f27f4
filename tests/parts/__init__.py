"""Real parts on demand: a Kafka broker, a Docker engine, a Prometheus, each started on loopback and ended by its pid.

Every part is a function ``start(directory, ...)`` that returns a handle with ``stop()``; the handle is a context
manager as well, so that a benchmark or a demonstration uses the same parts as the fixtures of ``tests/conftest.py``::

    with kafka.start(directory) as broker:
        connect(broker.bootstrap)

`PartMissing` says what the machine lacks and how to get it; `PartFailed` that a part which is there did not come up.
"""

from tests.parts.processes import PartFailed, PartMissing

__all__ = ["PartFailed", "PartMissing"]
