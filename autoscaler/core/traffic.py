"""How new requests are shared between the revisions of a rollout. Called by the engine's traffic. Pure.

Only new requests: what is in flight ends where it began. Up: start, available, shift. Down: shift, drain, stop.
"""

from __future__ import annotations

from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState

Shares = tuple[tuple[int, int], ...]


def shares(state: ServiceState, settings: ServiceSettings) -> Shares | None:
    """(revision, percent) of new requests that the phase wants at this moment, or None: share by count.

    Ordered by revision; the percents add up to 100. A revision that is not listed, or that is listed with 0, gets no
    new request, though replicas of it run. What a revision gets is for the caller to spread evenly over its *available*
    replicas; where a listed revision has none, its percent goes to the others in proportion, and where none of them has
    any, by count over whatever is available. None for a service without a route and wherever the phase has no opinion:
    each available replica then weighs the same, whatever it runs.
    """
    del state, settings
    return None
