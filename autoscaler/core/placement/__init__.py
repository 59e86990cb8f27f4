"""Which host a replica goes to: filters with counted reasons, then a rank. Pure, no shuffle.

`filters` says why a host will not do, `scorers` how well one suits, `ranking` puts both together for a single choice
and for an explanation, `placer` places many of one kind by an `index` that outlives the decision. The last two only
find faster what `ranking` would choose; a test holds them equal.
"""

from __future__ import annotations

from autoscaler.core.placement.asked import Asked, Room, room_of
from autoscaler.core.placement.placer import Placer
from autoscaler.core.placement.ranking import Choice, choose_host, ranked, reason_for_none

__all__ = ["Asked", "Choice", "Placer", "Room", "choose_host", "ranked", "reason_for_none", "room_of"]
