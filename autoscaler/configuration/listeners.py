"""Two listeners on one address: found before one of them fails to bind. Called by `loading`."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.configuration.block import Block, locate
from autoscaler.configuration.complaints import problem_at
from autoscaler.configuration.settings import Configuration
from autoscaler.errors import Problem


def listener_clashes(configuration: Configuration, bodies: Mapping[str, Block]) -> list[Problem]:
    """A problem for each route that listens where another, or `http`, does (port 0 is any free one), or shares the
    backend of a HAProxy with another."""
    taken: dict[str, str] = {}
    if configuration.http is not None and configuration.http.port:
        host = configuration.http.host
        taken[f"[{host}]:{configuration.http.port}" if ":" in host else f"{host}:{configuration.http.port}"] = "http"
    backends: dict[tuple[str, str], str] = {}
    problems = []

    def clash(name: str, key: str, what: str, remedy: str) -> None:
        origin = locate(bodies[name], ("route", key))
        problems.append(problem_at(origin, what, remedy, path=f"services.{name}.route.{key}"))

    for name, settings in configuration.services.items():
        route = settings.route
        if route is None:
            continue
        if not route.listen:
            first = backends.setdefault((route.router, route.backend or name), name)
            if first != name:
                what = f"is the backend of services.{first} already"
                clash(name, "backend" if route.backend else "router", what, "Give it a backend of its own.")
        elif not route.listen.endswith(":0"):
            first = taken.setdefault(route.listen, f"services.{name}")
            if first != f"services.{name}":
                clash(name, "listen", f"{route.listen} is taken by {first} already", "Give it a port of its own.")
    return problems
