"""A policy with options: so many replicas as the queue needs, and no opinion while the queue is unknown."""

import math

from pydantic import BaseModel, Field

import autoscaler


class Options(BaseModel):
    """What ``with:`` may say."""

    per_replica: float = Field(default=100, gt=0)


@autoscaler.hookimpl
def propose(signals, options):
    queue = signals["queue_length"]
    if queue.known:
        wish = math.ceil(queue.latest / options.per_replica)
        return autoscaler.Scale(to=wish, reason=f"{queue.latest:.0f} waiting, {options.per_replica:g} a replica")
