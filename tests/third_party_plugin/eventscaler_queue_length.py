"""One replica for every hundred that wait."""

import math

import autoscaler


@autoscaler.hookimpl
def propose(signals: autoscaler.SignalsView) -> autoscaler.Scale | None:
    queue = signals["queue_length"]
    if queue.latest is None:
        return None
    return autoscaler.Scale(to=math.ceil(queue.latest / 100), reason=f"{queue.latest:.0f} waiting, 100 a replica")
