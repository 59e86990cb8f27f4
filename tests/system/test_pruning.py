"""An image whose revision is not kept any more goes from the engine, with a record; nothing else does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from docker.errors import ImageNotFound

from tests.parts.images import engine
from tests.parts.registry import registry
from tests.system.installation import QUICK_UPDATE, Installation, ground_of
from tests.system.patience import eventually
from tests.system.trail import at_rest, judge, noted, verdict

pytestmark = pytest.mark.timeout(120)


async def test_the_image_of_a_revision_that_is_not_kept_is_removed_with_a_record_and_no_other(
    served: Callable[..., Installation],
) -> None:
    installation = served()
    ground = ground_of(installation)
    with registry() as origin, engine(ground.urls[0]) as client:
        pins = [f"{origin.host}/p/web@{origin.push('p/web', str(n), f'{ground.cluster} {n}')}" for n in range(1, 6)]
        block = {"images": [f"{origin.host}/p/*"], "update": QUICK_UPDATE | {"history": 2}}
        first = ground.revision("one") | {"image": f"{origin.host}/p/web:1"}
        # What another service keeps is needed, though it runs nowhere.
        other = installation.service(revision=first, **block)
        other["replicas"] = {"min": 0, "max": 8, "initial": 0}
        installation.services = {"web": installation.service(1, revision=first, **block), "other": other}
        installation.extra = {"targets": {"here": ground.target() | {"prune": "500ms"}}}
        await installation.open()
        installation.start()
        await at_rest(installation, "web")
        await at_rest(installation, "other")
        for number in (2, 3, 4, 5):
            event = await installation.deploy("web", "one", f"d-{number}", image=f"{origin.host}/p/web:{number}")
            assert (await verdict(installation, event)).data["verdict"] == "applied"

        def left() -> list[bool]:
            return [_has(client, pin) for pin in pins]

        await eventually("the second image gone", left, lambda seen: not seen[1], within_s=20.0)
        found = await noted(installation, "a record of it", lambda r: r.data["reason"]["code"] == "pruned")
        assert found.data["reason"]["text"] == f"removed {pins[1]} from h1: no kept revision needs it"
        assert left() == [True, False, True, True, True]
        assert _has(client, "t/httpd:1"), "which is nobody's revision here"
        state = await at_rest(installation, "web")
        assert [pinned for _, pinned in state.former] == pins[:1], "which the other service needs"
        await judge(installation)
        for pin in (pins[0], *pins[2:]):
            await _forget(installation, pin)


def _has(client: object, pin: str) -> bool:
    try:
        client.inspect_image(pin)  # type: ignore[attr-defined]
    except ImageNotFound:
        return False
    return True


async def _forget(installation: Installation, pin: str) -> None:
    """Leave nothing on the shared engine."""
    ground = ground_of(installation)
    for member in installation.members:
        member.end()
    ground.clean()
    with engine(ground.urls[0]) as client:
        client.remove_image(client.inspect_image(pin)["Id"], force=True)
