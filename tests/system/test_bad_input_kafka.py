"""Bad events that only a broker lets happen, and an image that is not allowed, on Kafka with containers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest

from autoscaler.core.facts import EventRef
from autoscaler.ledger.dead_letter import DeadLetter
from autoscaler.ports.stream import Message, Topic, partition_of
from tests.system.installation import SOURCE, Installation
from tests.system.patience import eventually
from tests.system.raw_events import let_through, send_anywhere, structured
from tests.system.trail import at_rest, judge, letters, verdict

pytestmark = pytest.mark.timeout(120)

PARTITIONS = 3
TEN_MB = 10_000_000


async def test_bad_events_on_a_broker_are_answered_and_the_good_ones_go_on(served: Callable[..., Installation]) -> None:
    installation = served(PARTITIONS)
    installation.services = {"web": installation.service(replicas=1)}
    await installation.open()
    installation.start()
    await at_rest(installation, "web")
    await _ten_megabytes_leave_a_stub(installation)
    await _misplaced_event_is_forwarded_once(installation)
    await _event_without_value_is_buried(installation)
    await _image_that_is_not_allowed_touches_no_host(installation)
    event = await installation.deploy("web", "two", "good")
    assert (await verdict(installation, event)).data["verdict"] == "applied"
    await at_rest(installation, "web")
    await judge(installation, event)


async def _buried(installation: Installation, reason: str) -> DeadLetter:
    async def look() -> list[DeadLetter]:
        return [letter for letter in await letters(installation.client) if letter.reason == reason]

    (letter,) = await eventually(f"a letter for {reason}", look, bool)
    return letter


async def _ten_megabytes_leave_a_stub(installation: Installation) -> None:
    await let_through(installation, Topic.DEPLOYMENTS, 2 * TEN_MB)
    revision = installation.ground.revision("two") | {"labels": {"a": "x" * TEN_MB}}
    value = structured("deployment", "web", {"revision": revision}, "huge")
    await send_anywhere(installation, Topic.DEPLOYMENTS, value, b"web", partition_of(b"web", PARTITIONS))
    letter = await _buried(installation, "too_large")
    assert letter.stub
    told = json.loads(letter.value or b"")
    assert (told["sha256"], told["bytes"]) == (hashlib.sha256(value).hexdigest(), len(value))


async def _misplaced_event_is_forwarded_once(installation: Installation) -> None:
    wrong = (partition_of(b"web", PARTITIONS) + 1) % PARTITIONS
    for key, name in ((b"web", "misplaced"), (None, "keyless")):
        value = structured("control", "web", {"command": "scale", "replicas": 2}, name)
        await send_anywhere(installation, Topic.CONTROL, value, key, wrong)
        told = await verdict(installation, EventRef(SOURCE, name))
        assert told.data["verdict"] in {"applied", "unchanged"}, str(told)
    value = structured("control", "web", {"command": "scale", "replicas": 3}, "again-misplaced")
    await send_anywhere(installation, Topic.CONTROL, value, b"web", wrong, [("eventscaler-forwarded", b"1")])
    await _buried(installation, "wrong_partition")
    found: list[Message] = [message async for _, message in installation.client.read(Topic.CONTROL)]
    assert len(found) == 5, "three as sent, and one copy of the first two"


async def _event_without_value_is_buried(installation: Installation) -> None:
    await send_anywhere(installation, Topic.DEPLOYMENTS, None, b"web", partition_of(b"web", PARTITIONS))
    letter = await _buried(installation, "empty")
    assert letter.key == b"web"


async def _image_that_is_not_allowed_touches_no_host(installation: Installation) -> None:
    made = installation.ground.made()
    event = await installation.deploy("web", "two", "evil", image="evil/httpd:1")
    told = await verdict(installation, event)
    assert (told.data["verdict"], told.data["reason"]["code"]) == ("refused", "image")
    assert not installation.members[0].said('"kind": "resolve"', "evil")
    assert len([m for m in installation.ground.made() if m not in made and ".r2." in m.name]) == 0
