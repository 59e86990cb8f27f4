"""From the shares of revisions to a weight for each replica. Pure; called by `traffic`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoscaler.core.traffic import Shares
from autoscaler.ports.router import WEIGHT_MAX

EVEN = 100


def weights(shares: Shares | None, replicas: Mapping[int, Sequence[str]]) -> dict[str, int]:
    """A weight of 0 to 256 for each replica name of each revision, all even where nobody has a share.

    A revision's share is spread over its replicas as evenly as whole numbers allow. Of all scales the one is taken that
    comes nearest to the percents, to a hundredth of one, and treats the fewest replicas unevenly; what is not 0
    always gets something.
    """
    served = {revision: percent for revision, percent in shares or () if percent > 0 and replicas.get(revision)}
    if not served:
        return {name: EVEN for names in replicas.values() for name in names}
    whole = sum(served.values())
    heaviest = max(percent / len(replicas[revision]) for revision, percent in served.items())
    best: dict[int, int] = {}
    least = (float("inf"), 0)
    for top in range(WEIGHT_MAX, 0, -1):
        units = {revision: max(1, round(percent * top / heaviest)) for revision, percent in served.items()}
        total = sum(units.values())
        error = max(abs(units[revision] / total - percent / whole) for revision, percent in served.items())
        uneven = sum(1 for revision in served if units[revision] % len(replicas[revision]))
        if (round(error, 4), uneven) < least:
            best, least = units, (round(error, 4), uneven)
    found = {}
    for revision, names in replicas.items():
        each, more = divmod(best.get(revision, 0), len(names) or 1)
        for place, name in enumerate(sorted(names)):
            found[name] = min(WEIGHT_MAX, each + (place < more))
    return found
