"""Pruning asks for nothing that any service of the cluster needs, and for nothing at all where it cannot know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from autoscaler.core.revision import Pairs
from autoscaler.core.rollout import Retired
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import ImagesPruned
from autoscaler.engine.pruning import Pruner, summary
from autoscaler.errors import LedgerError
from autoscaler.ledger.state_codec import encode_state
from autoscaler.ports.stream import Place, StoredMessage, Topic
from autoscaler.ports.target import Pruned
from tests.core.builders import a_revision, a_service, an_image


def pin(version: str) -> str:
    return f"shop/web@sha256:{version}"


def former(*versions: str) -> Pairs:
    return tuple((f"shop/web:{version}", pin(version)) for version in versions)


@dataclass
class Log:
    """A client whose state topic holds these values."""

    values: Mapping[bytes, bytes]
    partitions: int = 1

    async def read(self, topic: Topic, **_: Any) -> AsyncIterator[tuple[Place, StoredMessage]]:
        assert topic is Topic.STATE
        for offset, (key, value) in enumerate(self.values.items()):
            yield Place(topic, 0, offset), StoredMessage(offset, 0, key, value)


@dataclass
class Hosts:
    """A target that removes what it is asked to from ``h1`` and has a host ``h2`` that uses ``used``."""

    used: frozenset[str] = frozenset()
    asked: list[tuple[Pairs, frozenset[str]]] = field(default_factory=list)

    async def prune(self, images: Pairs, needed: frozenset[str]) -> Sequence[Pruned]:
        self.asked.append((images, needed))
        return [
            result
            for _, pinned in images
            for result in (
                Pruned("h1", pinned, "removed"),
                Pruned("h2", pinned, "used" if pinned in self.used else "absent"),
            )
        ]


async def pruned(
    hosts: Hosts, mine: Sequence[ServiceState], others: Sequence[ServiceState] = (), broken: bytes = b""
) -> list[tuple[str, ImagesPruned]]:
    told: list[tuple[str, ImagesPruned]] = []
    values = {s.service.encode(): encode_state(s) for s in (*mine, *others)}
    if broken:
        values[b"odd"] = broken
    client: Any = Log(values)
    pruner = Pruner(
        {"edge": (hosts, 1.0)},
        client,
        lambda _: mine,
        lambda service, images: told.append((service, images)),
        lambda: 9.0,
    )
    await pruner.prune("edge")
    return told


async def test_what_another_service_keeps_is_not_asked_for_wherever_it_is_owned() -> None:
    hosts = Hosts()
    mine = a_service(former=former("1", "2"))
    other = replace(ServiceState("api"), revisions=(a_revision(1, "stable", an_image("2", pinned=pin("2"))),))
    ((service, told),) = await pruned(hosts, [mine], [other])
    assert [images for images, _ in hosts.asked] == [former("1")]
    assert pin("2") in hosts.asked[0][1]
    assert (service, told.settled, told.removed) == ("web", (pin("1"),), 1)


async def test_what_is_used_somewhere_is_told_and_tried_again() -> None:
    ((_, told),) = await pruned(Hosts(frozenset({pin("1")})), [a_service(former=former("1"))])
    assert told.settled == ()
    assert told.text == f"removed {pin('1')} from h1: no kept revision needs it"


async def test_nothing_is_removed_while_a_rollout_is_under_way_or_nothing_was_let_go() -> None:
    hosts = Hosts()
    await pruned(hosts, [a_service(), a_service(former=former("1"), rollout=Retired(0.0))])
    assert hosts.asked == []


async def test_nothing_is_removed_where_a_state_cannot_be_read() -> None:
    hosts = Hosts()
    with pytest.raises(LedgerError):
        await pruned(hosts, [a_service(former=former("1"))], broken=b"{}")
    assert hosts.asked == []


def test_a_name_that_somebody_else_gave_settles_the_image_with_a_word() -> None:
    told = summary([Pruned("h1", pin("1"), "named", "it has other names: mine:1")], 1.0)
    assert told.settled == (pin("1"),)
    assert "left" in told.text
    assert "mine:1" in told.text


def test_a_host_that_does_not_answer_settles_nothing() -> None:
    assert summary([Pruned("h1", pin("1"), "absent"), Pruned("h2", pin("1"), "unknown")], 1.0).settled == ()
