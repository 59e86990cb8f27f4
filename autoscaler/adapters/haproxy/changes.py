"""What has to be told to HAProxy so that a backend becomes what is wanted. Pure.

New servers come before old ones go, so that no moment has none. Servers that are not of our making are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from autoscaler.adapters.haproxy.runtime import Server
from autoscaler.ports.router import ACTIVATOR


@dataclass(frozen=True, slots=True)
class Wanted:
    """A server that shall be there: the resolved ``address:port`` and its weight of 0 to 256."""

    address: str
    weight: int


def is_ours(service: str, server: str) -> bool:
    """Whether a server bears a name as replicas of the service do, or is the activator."""
    pattern = rf"(?:[a-z0-9-]+\.)?{re.escape(service)}\.s[0-9]+\.r[0-9]+\.[0-9]+"
    return server == ACTIVATOR or re.fullmatch(pattern, server) is not None


def commands(backend: str, wanted: Mapping[str, Wanted], shown: Mapping[str, Server]) -> list[str]:
    """Makes each wanted server present, of its weight and in use. Ordered; empty where all is so already.

    A server whose address differs must have been taken away before: `astray` names those.
    """
    told = []
    for name, want in wanted.items():
        place, server = f"{backend}/{name}", shown.get(name)
        if server is None:
            told.append(f"add server {place} {want.address} weight {want.weight}")
            told.append(f"enable server {place}")
        elif server.address == want.address:
            if server.weight != want.weight:
                told.append(f"set server {place} weight {want.weight}")
            if not server.ready:
                told.append(f"set server {place} state ready")
    return told


def astray(wanted: Mapping[str, Wanted], shown: Mapping[str, Server]) -> list[str]:
    """Servers of a wanted name that stand for another address."""
    return [name for name, want in wanted.items() if name in shown and shown[name].address != want.address]


def leaving(service: str, wanted: Iterable[str], shown: Mapping[str, Server], told: frozenset[str]) -> list[Server]:
    """Servers of ours that are not wanted any more; ``told``: names that were wanted once."""
    kept = frozenset(wanted)
    return [server for name, server in shown.items() if name not in kept and (name in told or is_ours(service, name))]
