"""Routers and routes: from the validated models to frozen settings, with what contradicts itself.

Called by `cluster_build` and `service_build`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from autoscaler.configuration.models import RouteModel, RouterModel
from autoscaler.configuration.settings import RouterSettings
from autoscaler.configuration.vocabulary import suggestion
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.settings import Route

Complain = Callable[[str, str, str], None]
"""Takes the key at fault, what is wrong, and the remedy."""


def build_router(name: str, model: RouterModel, resolve: Callable[[str], Path], complain: Complain) -> RouterSettings:
    """One HAProxy, ours or somebody else's."""
    if model.socket is None:
        directory = resolve(model.dir or f".autoscaler/{name}")
        return RouterSettings(name, "", directory, model.program or "haproxy", model.activator)
    for key in ("dir", "program"):
        if getattr(model, key) is not None:
            complain(key, "has no meaning beside socket, which is of a HAProxy that runs already", "Keep one of them.")
    return RouterSettings(name, model.socket, None, "", model.activator)


def build_route(
    model: RouteModel, revision: RevisionSpec | None, routers: Mapping[str, RouterSettings], complain: Complain
) -> Route:
    """The route of a service; it names a router and a port that exist."""
    known = [known for known, _ in revision.ports] if revision else []
    if known and model.port and model.port not in known:
        complain("port", "names no port of the revision", suggestion(model.port, known))
    if len(known) > 1 and not model.port:
        complain("port", "is missing, and the revision has several ports", f"Name one of {', '.join(known)}.")
    router = routers.get(model.router or "")
    if model.router is not None and router is None:
        complain("router", "names no router of this file", suggestion(model.router, routers) or "Add it to routers:.")
    attached = router is not None and bool(router.socket)
    if attached and model.listen is not None:
        complain(
            "listen", "has no meaning for a HAProxy that runs already", "Its own configuration says where. Remove it."
        )
    if model.listen is None and not attached:
        complain("listen", "is missing", 'Write it as "0.0.0.0:8080".')
    if model.backend is not None and not attached:
        complain("backend", "belongs to a HAProxy that runs already", "Remove it, or give its router a socket.")
    host, port = model.listen or ("", 0)
    return Route(
        listen="" if model.listen is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        port=model.port,
        router=model.router or "",
        backend=model.backend or "",
        hold=model.hold,
        hold_for_s=model.hold_for,
    )
