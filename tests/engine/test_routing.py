"""Several routers as one, and the activator in front of services at zero."""

from __future__ import annotations

import pytest

from autoscaler.engine.routing import Routing
from autoscaler.errors import TargetError
from autoscaler.ports.router import Backend, Counts
from tests.engine.instances import RecordingRouter

FIRST = Backend("shop.web.s0.r1.1", "10.0.0.1:80")


class Holding(RecordingRouter):
    """An activator that listens at a place of each service."""

    def listen_address(self, service: str) -> str:
        return f"127.0.0.1:{len(service)}"


class Named(RecordingRouter):
    """Says when it is opened and closed."""

    def __init__(self, said: list[str], name: str, failing: TargetError | None = None) -> None:
        super().__init__()
        self.said, self.name, self.cannot = said, name, failing

    async def open(self) -> None:
        self.said.append(f"open {self.name}")
        if self.cannot is not None:
            raise self.cannot

    async def close(self) -> None:
        self.said.append(f"close {self.name}")


async def test_each_service_is_told_to_its_own_router() -> None:
    one, two = RecordingRouter(), RecordingRouter()
    routing = Routing({"web": one, "api": two})
    await routing.set_backends("web", [FIRST])
    await routing.set_backends("api", [])
    await routing.set_backends("none", [FIRST])
    assert (one.told, two.told) == ([("web", [FIRST])], [("api", [])])
    await routing.forget("api")
    assert (one.forgotten, two.forgotten) == ([], ["api"])


async def test_a_service_at_zero_has_the_activator_as_its_backend_until_there_is_a_replica() -> None:
    router, activator = RecordingRouter(), Holding()
    routing = Routing({"web": router, "api": router}, activator, frozenset({"web"}))
    await routing.set_backends("web", [])
    await routing.set_backends("api", [])
    assert router.told == [("web", [Backend("activator", "127.0.0.1:3")]), ("api", [])]
    await routing.set_backends("web", [FIRST])
    assert router.told[-1] == ("web", [FIRST])
    assert activator.told == [("web", []), ("web", [FIRST])]
    preview = Backend("shop.web.s0.r2.2", "10.0.0.2:80", 0)
    await routing.set_backends("web", [preview])
    assert router.told[-1] == ("web", [preview, Backend("activator", "127.0.0.1:3")])


async def test_what_goes_through_the_activator_is_drained_there_too() -> None:
    router, activator = RecordingRouter(), Holding()
    routing = Routing({"web": router, "api": router}, activator, frozenset({"web"}))
    assert await routing.drained("web", FIRST.name, 1.0)
    assert (router.drains, activator.drains) == ([FIRST.name], [FIRST.name])
    assert await routing.drained("api", "x", 1.0)
    assert activator.drains == [FIRST.name]


async def test_demand_is_heard_from_whoever_holds_requests() -> None:
    router, activator = RecordingRouter(), Holding()
    heard: list[tuple[str, int]] = []
    Routing({"web": router}, activator, frozenset({"web"})).hear_demand(lambda *told: heard.append(told))
    assert activator.heard is not None
    activator.heard("web", 2)
    assert heard == [("web", 2)]


async def test_what_passed_is_counted_by_whoever_carried_it() -> None:
    router, activator, embedded = RecordingRouter(), Holding(), RecordingRouter()
    activator.carried["web"] = Counts(3, 2, 1, 0, 1)
    embedded.carried["api"] = Counts(9, 0, 0, 1, 0)
    routing = Routing({"web": router, "api": embedded}, activator, frozenset({"web"}))
    assert routing.counts() == {"web": Counts(3, 2, 1, 0, 1), "api": Counts(9, 0, 0, 1, 0)}


async def test_where_one_cannot_be_opened_the_others_are_closed_again() -> None:
    said: list[str] = []
    taken = TargetError("taken", "refused")
    routing = Routing({"a": Named(said, "first"), "b": Named(said, "second", taken)})
    with pytest.raises(TargetError, match="taken"):
        await routing.open()
    assert said == ["open first", "open second", "close first"]
