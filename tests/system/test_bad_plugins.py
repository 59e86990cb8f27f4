"""Policies in a file that raise, sleep or answer nonsense: their services hold, all others go on."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.system.installation import POLICY, Installation
from tests.system.trail import at_rest, judge, noted, trail

HEADER = """
import os, time
import autoscaler

@autoscaler.hookimpl
def propose(service, signals, now, memory):
    """
BODIES = {
    "raises": "raise ValueError('no')",
    "sleeps": "time.sleep(60)",
    "exits": "os._exit(7)",
    "nonsense": "return 'three'",
    "absurd": "return autoscaler.Scale(-1)",
}


@pytest.mark.timeout(90)
async def test_service_of_a_bad_policy_holds_and_every_other_service_goes_on(
    local: Callable[..., Installation],
) -> None:
    installation = local()
    for name, body in BODIES.items():
        (installation.directory / f"{name}.py").write_text(f"{HEADER}{body}\n")
    installation.extra = {"plugins": [f"./{name}.py" for name in BODIES]}
    both = {name: [POLICY, {"use": name}] for name in BODIES}
    installation.services = {
        name: installation.service(replicas=2, policies=policies) for name, policies in both.items()
    } | {"good": installation.service(replicas=1)}
    await installation.open()
    installation.start()
    for name in installation.services:
        await at_rest(installation, name)
    for name in (*BODIES, "good"):
        await installation.measure(name, 50 if name != "good" else 200)
    started = time.monotonic()
    await installation.wanted("good", 4, revision=1)
    assert time.monotonic() - started < 10.0
    for name in BODIES:
        await noted(
            installation, f"a word about {name}", lambda r, name=name: r.chain == name and name in _said(r.data)
        )
    for name in BODIES:
        await installation.wanted(name, 2, revision=1)
        demands = {r.data["after"]["demand"] for r in await trail(installation.client, name)} - {0}
        assert demands == {2}, "neither up nor down by what is not known"
    event = await installation.deploy("sleeps", "two", "d-1")
    await noted(
        installation, "its verdict", lambda r: (r.data["event"] or {}).get("id") == "d-1" and r.data["terminal"]
    )
    await at_rest(installation, "good")
    await judge(installation, event)


def _said(data: dict[str, object]) -> str:
    return f"{data['reason']} {data['proposals']}"
