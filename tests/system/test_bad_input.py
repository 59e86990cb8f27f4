"""Bad events on embedded parts: each gets its answer, and what comes after it on the same partition goes on."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from autoscaler.core.facts import EventRef
from autoscaler.events.writing import samples_event
from autoscaler.ledger.dead_letter import DeadLetter
from autoscaler.ports.stream import Topic
from tests.system.conftest import new_cluster
from tests.system.grounds import ProcessGround
from tests.system.installation import SOURCE, STRUCTURED, Installation
from tests.system.patience import eventually
from tests.system.raw_events import structured
from tests.system.trail import at_rest, judge, letters, noted, trail, verdict, verdicts

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICES = 40
GOOD = {"command": ["/bin/sleep", "1002"]}
HOUR_S = 3600.0


@dataclass(frozen=True)
class Bad:
    """A bad event of a service: where it goes, what it says, the code it is buried with, and its verdict if any."""

    topic: Topic
    value: bytes
    code: str
    verdict: str = ""
    headers: tuple[tuple[str, bytes], ...] = STRUCTURED


def deployment(data: object, **attributes: object) -> bytes:
    return structured("deployment", "SERVICE", data, "ID", **attributes)


def metric(data: object, **attributes: object) -> bytes:
    return structured("metric", "SERVICE", data, "ID", **attributes)


DEPLOYMENTS, METRICS, CONTROL = Topic.DEPLOYMENTS, Topic.METRICS, Topic.CONTROL
BURIED = {
    "broken JSON": Bad(DEPLOYMENTS, deployment({"revision": GOOD})[:-3], "not_json"),
    "bytes that are no text": Bad(DEPLOYMENTS, b"\xff\xfe\xfd", "not_utf8"),
    "an empty value": Bad(DEPLOYMENTS, b"", "not_json"),
    "a list where a revision belongs": Bad(DEPLOYMENTS, deployment({"revision": []}), "schema", "rejected"),
    "a text where a port belongs": Bad(
        DEPLOYMENTS, deployment({"revision": GOOD | {"ports": {"http": "many"}}}), "not_a_number", "rejected"
    ),
    "a field that nobody knows": Bad(DEPLOYMENTS, deployment({"revision": GOOD, "force": True}), "schema", "rejected"),
    "a text where a count belongs": Bad(
        CONTROL,
        structured("control", "SERVICE", {"command": "scale", "replicas": "six"}, "ID"),
        "not_a_number",
        "rejected",
    ),
    "an unknown command": Bad(
        CONTROL, structured("control", "SERVICE", {"command": "explode"}, "ID"), "schema", "rejected"
    ),
    "an unknown event type": Bad(
        DEPLOYMENTS, structured("surprise", "SERVICE", {"revision": GOOD}, "ID"), "wrong_type", "rejected"
    ),
    "a deployment among the metrics": Bad(METRICS, deployment({"revision": GOOD}), "wrong_type"),
    "a text where a number belongs": Bad(METRICS, metric({"load": "high"}), "not_a_number"),
    "NaN": Bad(METRICS, metric({"load": 0}).replace(b'"load": 0', b'"load": NaN'), "not_finite"),
    "infinity": Bad(METRICS, metric({"load": 0}).replace(b'"load": 0', b'"load": 1e999'), "not_finite"),
    "a deployment from the future": Bad(
        DEPLOYMENTS, deployment({"revision": GOOD}, time="2999-01-01T00:00:00Z"), "future", "rejected"
    ),
    "a sample from the future": Bad(METRICS, metric({"load": 400}, time="2999-01-01T00:00:00Z"), "future"),
    "no time at all": Bad(DEPLOYMENTS, deployment({"revision": GOOD}, time="yesterday"), "time", "rejected"),
    "another service's key": Bad(
        DEPLOYMENTS, deployment({"revision": GOOD}).replace(b"SERVICE", b"another"), "key_mismatch", "rejected"
    ),
    "a name that is none": Bad(
        DEPLOYMENTS, deployment({"revision": GOOD}).replace(b'"SERVICE"', b'"Not A Name"'), "key_mismatch", "rejected"
    ),
    "half a megabyte": Bad(DEPLOYMENTS, deployment({"revision": GOOD | {"labels": {"a": "x" * 500_000}}}), "too_large"),
    "a thousand brackets": Bad(DEPLOYMENTS, b'{"data":' + b"[" * 1000 + b"]" * 1000 + b"}", "too_deep"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """One instance with one partition, and a service of its own for each test."""
    directory = tmp_path_factory.mktemp("bad-input")
    cluster = new_cluster()
    stream = {"kind": "embedded", "path": str(directory / "stream.db"), "partitions": 1}
    installation = Installation(directory, cluster, stream, ProcessGround(cluster, directory / "replicas"))
    installation.services = {f"s{n}": installation.service(replicas=0) for n in range(SERVICES)}
    await installation.open()
    installation.start()
    try:
        yield installation
        await judge(installation)
    finally:
        await installation.close()


_free = iter(range(SERVICES))


@pytest.fixture
def service() -> str:
    """A service that no other test uses."""
    return f"s{next(_free)}"


async def goes_on(installation: Installation, service: str) -> None:
    """The same service on the same partition takes a good deployment."""
    event = await installation.deploy(service, "three", f"good-{service}")
    told = await verdict(installation, event, within_s=20.0)
    assert told.data["verdict"] == "applied", str(told)


@pytest.mark.parametrize("bad", BURIED.values(), ids=BURIED.keys())
async def test_what_cannot_be_read_is_buried_with_its_reason_and_the_next_event_is_taken(
    live: Installation, service: str, bad: Bad
) -> None:
    value = bad.value.replace(b"SERVICE", service.encode()).replace(b'"ID"', f'"bad-{service}"'.encode())
    place = await live.client.publish(bad.topic, service.encode(), value, bad.headers)
    await goes_on(live, service)

    async def buried() -> list[DeadLetter]:
        return [letter for letter in await letters(live.client) if letter.key == service.encode()]

    (letter,) = await eventually("the dead letter", buried, bool)
    assert letter.reason == bad.code, letter
    assert (letter.topic, letter.offset, letter.value) == (f"autoscaler.{bad.topic}", place.offset, value)
    event = EventRef(SOURCE, f"bad-{service}")
    assert verdicts(await trail(live.client), event) == ([bad.verdict] if bad.verdict else [])
    (record,) = [r for r in await trail(live.client, service) if r.event["type"] == "io.eventscaler.rejected.v1"]
    assert record.data["reason"]["code"] == bad.code
    assert not [replica for replica in live.ground.standing() if replica.service == service]


async def test_deployment_for_an_unknown_service_is_refused_in_the_trail_of_what_belongs_to_nobody(
    live: Installation, service: str
) -> None:
    event = await live.deploy("stranger", "two", "d-stranger")
    await live.measure("stranger", 400)
    told = await verdict(live, event)
    assert (told.data["verdict"], told.data["reason"]["code"]) == ("refused", "unknown_service")
    assert told.chain != "stranger"
    await live.deploy("stranger", "two", "d-stranger")
    await goes_on(live, service)
    assert verdicts(await trail(live.client), event) == ["refused"]


async def test_command_that_is_not_allowed_is_refused_and_no_host_is_asked(live: Installation, service: str) -> None:
    event = await live.deploy(service, "two", f"d-{service}", command=["/bin/sh", "-c", "exit"])
    told = await verdict(live, event)
    assert (told.data["verdict"], told.data["reason"]["code"]) == ("refused", "command")
    await goes_on(live, service)
    assert not [made for made in live.ground.made() if made.name.startswith(f"{service}.")]


async def test_repeated_deployment_is_done_once_and_each_repeat_is_said_to_be_one(
    live: Installation, service: str
) -> None:
    event = await live.deploy(service, "two", f"d-{service}")
    for _ in range(50):
        await live.deploy(service, "two", f"d-{service}")
    await goes_on(live, service)
    recorded = await trail(live.client, service)
    assert verdicts(recorded, event) == ["applied"]
    repeats = [r for r in recorded if r.data["verdict"] == "duplicate"]
    assert len(repeats) == 50
    assert not any(r.data["terminal"] for r in repeats)


async def test_samples_that_come_out_of_order_leave_the_newest_in_force(live: Installation, service: str) -> None:
    await goes_on(live, service)
    now = time.time()
    for age_s, value in ((0.0, 100), (30.0, 400), (HOUR_S, 400)):
        event = samples_event(service, [{"name": "load", "value": value, "time": _written(now - age_s)}], SOURCE)
        await live.publish(Topic.METRICS, service, event)
    await live.wanted(service, 2, revision=2)
    await live.measure(service, 150)
    await live.wanted(service, 3, revision=2)
    demands = [r.data["after"]["demand"] for r in await trail(live.client, service)]
    assert max(demands) == 3
    await at_rest(live, service)


def _written(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


async def test_deployment_with_an_old_time_is_taken_and_an_expired_one_is_not(live: Installation, service: str) -> None:
    past = _written(time.time() - 24 * HOUR_S)
    old = structured("deployment", service, {"revision": GOOD}, f"old-{service}", time=past)
    late = structured("deployment", service, {"revision": GOOD}, f"late-{service}", time=past, expirytime=past)
    await live.publish(Topic.DEPLOYMENTS, service, late)
    await live.publish(Topic.DEPLOYMENTS, service, old)
    assert (await verdict(live, EventRef(SOURCE, f"old-{service}"))).data["verdict"] == "applied"
    assert (await verdict(live, EventRef(SOURCE, f"late-{service}"))).data["verdict"] == "expired"


async def test_event_without_a_key_is_taken_by_its_subject(live: Installation, service: str) -> None:
    event = structured("deployment", service, {"revision": GOOD}, f"d-{service}")
    await live.client.publish(Topic.DEPLOYMENTS, b"", event, STRUCTURED)
    assert (await verdict(live, EventRef(SOURCE, f"d-{service}"))).data["verdict"] == "applied"


async def test_flood_of_broken_events_is_buried_whole_and_delays_the_good_by_seconds_only(
    live: Installation, service: str
) -> None:
    before = len(await letters(live.client))
    for number in range(500):
        await live.client.publish(Topic.METRICS, service.encode(), json.dumps(number).encode(), STRUCTURED)
    started = time.monotonic()
    await goes_on(live, service)
    assert time.monotonic() - started < 20.0

    async def buried() -> int:
        return len(await letters(live.client)) - before

    await eventually("all letters", buried, lambda count: count == 500)
    await noted(live, "a record of it", lambda r: r.chain == service and r.data["kind"] == "deployment")
