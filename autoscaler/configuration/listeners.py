"""Two listeners on one address: found before one of them fails to bind. Called by `loading`."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.configuration.block import Block, locate
from autoscaler.configuration.complaints import problem_at
from autoscaler.configuration.settings import Configuration
from autoscaler.errors import Problem


def listener_clashes(configuration: Configuration, bodies: Mapping[str, Block]) -> list[Problem]:
    """A problem for each route that listens where another, or `http`, does; port 0 is any free one."""
    taken: dict[str, str] = {}
    if configuration.http is not None and configuration.http.port:
        host = configuration.http.host
        taken[f"[{host}]:{configuration.http.port}" if ":" in host else f"{host}:{configuration.http.port}"] = "http"
    problems = []
    for name, settings in configuration.services.items():
        if settings.route is None or settings.route.listen.endswith(":0"):
            continue
        first = taken.setdefault(settings.route.listen, f"services.{name}")
        if first != f"services.{name}":
            origin = locate(bodies[name], ("route", "listen"))
            what = f"{settings.route.listen} is taken by {first} already"
            problems.append(
                problem_at(origin, what, "Give it a port of its own.", path=f"services.{name}.route.listen")
            )
    return problems
