"""Verifiers, decoders and notifiers: failing closed, failing open, and never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autoscaler.core.facts import EventRef
from autoscaler.core.proposals import Refuse
from autoscaler.core.revision import Port, RevisionSpec
from autoscaler.plugin_host import host as host_module
from autoscaler.plugin_host.notices import Notices
from autoscaler.testing import a_service
from tests.plugin_host.conftest import Loader

EVENT = EventRef("/ci", "d-1")
SPEC = RevisionSpec(image="shop/web:1", ports=(("http", Port(8080)),))
BOTH = pytest.mark.parametrize("trusted", [True, False], ids=["in_process", "in_the_worker"])


def a_hook(signature: str, body: str) -> str:
    return f"import autoscaler, os, time\n@autoscaler.hookimpl\ndef {signature}:\n    {body}\n"


@BOTH
@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        pytest.param("return None", None, id="accepts"),
        pytest.param("return autoscaler.Refuse(revision.image + ' ' + event.id)", "shop/web:1 d-1", id="refuses"),
        pytest.param("raise OSError('no registry')", "verifier v failed: raised OSError: no registry", id="raises"),
        pytest.param("return False", "verifier v failed: returned bool", id="nonsense"),
    ],
)
async def test_a_verifier_accepts_or_refuses_and_failing_refuses(
    load: Loader, *, trusted: bool, body: str, refusal: str | None
) -> None:
    host = load(v=a_hook("verify_revision(service, revision, event)", body), trusted=trusted)
    got = await host.verify_revision(a_service(), SPEC, EVENT)
    assert isinstance(got, Refuse) == (refusal is not None)
    assert got is None or got.reason.startswith(refusal or "")


@BOTH
async def test_a_verifier_that_is_late_refuses(load: Loader, *, trusted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "SLOW_DEADLINE_S", 0.3)
    host = load(v=a_hook("verify_revision()", "time.sleep(1)"), trusted=trusted)
    refusal = await host.verify_revision(None, SPEC, EVENT)
    assert refusal is not None
    assert "no answer within 0.3 s" in refusal.reason


@BOTH
async def test_the_first_decoder_that_knows_a_message_reads_it(load: Loader, *, trusted: bool) -> None:
    host = load(
        broken=a_hook("decode(message)", "raise KeyError('x')"),
        mine=a_hook(
            "decode(message)", "return [{'id': message['value'].decode()}] if message['topic'] == 't' else None"
        ),
        trusted=trusted,
    )
    assert host.decodes
    assert await host.decode({"topic": "t", "key": None, "headers": [], "value": b"7"}) == [{"id": "7"}]
    assert await host.decode({"topic": "other", "key": None, "headers": [], "value": b"7"}) is None
    assert host.stats()["broken"].failures == 2


@BOTH
async def test_notifiers_are_told_of_each_record_in_order(load: Loader, *, trusted: bool, tmp_path: Path) -> None:
    out = tmp_path / "told"
    body = f"with open({str(out)!r}, 'a') as file: file.write(record['id'] + ' ')"
    host = load(n=a_hook("notify(record)", body), trusted=trusted)
    for i in range(3):
        host.notify({"id": f"r{i}"})
    await host.close(5.0)
    assert out.read_text() == "r0 r1 r2 "
    assert host.notices_dropped == 0


async def test_a_notice_is_retried_then_dropped_and_counted() -> None:
    tries: list[str] = []

    async def deliver(plugin: str, record: Mapping[str, Any]) -> str:
        tries.append(record["id"])
        return "" if record["id"] == "b" and len(tries) > 4 else "refused"

    notices = Notices(deliver, retries_s=(0.0, 0.0))
    notices.put("n", {"id": "a"})
    notices.put("n", {"id": "b"})
    await notices.drain(5.0)
    assert (tries, notices.delivered, notices.dropped) == (["a", "a", "a", "b", "b"], 1, 1)


async def test_a_full_queue_drops_the_oldest_and_counts_it() -> None:
    told: list[str] = []
    gate = asyncio.Event()

    async def deliver(plugin: str, record: Mapping[str, Any]) -> str:
        await gate.wait()
        told.append(record["id"])
        return ""

    notices = Notices(deliver, queue_max=2)
    for i in range(5):
        notices.put("n", {"id": str(i)})
    gate.set()
    await notices.drain(5.0)
    assert (told, notices.dropped) == (["3", "4"], 3)


async def test_what_cannot_be_told_in_time_at_the_end_is_counted() -> None:
    async def deliver(plugin: str, record: Mapping[str, Any]) -> str:
        await asyncio.Event().wait()
        return ""

    notices = Notices(deliver)
    notices.put("n", {"id": "a"})
    notices.put("n", {"id": "b"})
    await asyncio.sleep(0)
    await notices.drain(0.01)
    assert notices.dropped == 2
