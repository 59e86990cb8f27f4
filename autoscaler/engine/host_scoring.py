"""Which hosts `score_host` plugins are to be asked about, and what they said. Owned by the shard; no clock.

Only services that use such a plugin are asked for, and only when something is about to be decided for them: the answers
enter the core as part of its `World`, and are asked for again after `SCORES_S` or when hosts came or went.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.world import World
from autoscaler.engine.evaluation import facts_of
from autoscaler.plugin_host import ScoreRequest

SCORES_S = 10.0
"""How long what was said of the hosts counts."""

Scores = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class _Said:
    at: float
    revision: int
    hosts: tuple[str, ...]
    scores: Scores


class HostScoring:
    """What plugins said of the hosts, by service."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}

    def scores(self, service: str) -> Scores:
        """What was said last of the hosts, for that service."""
        said = self._said.get(service)
        return said.scores if said is not None else {}

    def requests(
        self,
        services: Iterable[str],
        settings_of: Mapping[str, ServiceSettings],
        states: Mapping[str, ServiceState],
        world_of: Callable[[str, ServiceSettings, float], World],
        now: float,
    ) -> dict[str, ScoreRequest]:
        """What must be asked before these services are decided about."""
        asked: dict[str, ScoreRequest] = {}
        for service in services:
            settings, state = settings_of.get(service), states.get(service)
            current = state.current if state is not None else None
            if settings is None or state is None or current is None or not settings.placement.scorers:
                continue
            world = world_of(service, settings, now)
            hosts = tuple(host for host in world.hosts if host.known and host.condition == "ready")
            said = self._said.get(service)
            names = tuple(host.name for host in hosts)
            if said is not None and (said.revision, said.hosts) == (current.number, names) and now < said.at + SCORES_S:
                continue
            uses = tuple(use for use, _ in settings.placement.scorers)
            asked[service] = ScoreRequest(facts_of(state, settings, world), current.spec, hosts, uses, now)
            self._said[service] = _Said(now, current.number, names, said.scores if said is not None else {})
        return asked

    def take(self, service: str, scores: Scores) -> None:
        """The plugins have answered."""
        said = self._said.get(service)
        if said is not None:
            self._said[service] = _Said(said.at, said.revision, said.hosts, scores)
