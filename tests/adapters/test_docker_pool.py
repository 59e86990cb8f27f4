"""The docker target over several engines: one hangs, dies or lacks an image; and what an image is on all of them."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from docker.errors import NotFound

from autoscaler.adapters.docker import DockerTarget
from autoscaler.adapters.docker.host import CALL_THREADS, LOOK_THREADS, Deadlines
from autoscaler.configuration.settings import HostSettings, TargetSettings
from autoscaler.core.actions import Outcome, Resolve
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.world import HostView
from autoscaler.ports.target import HostListing
from tests.contract.arena_docker import CLUSTER_LABEL, host_settings
from tests.contract.replicas import Asks, Listener, eventually, shows
from tests.parts import hosts, images

pytestmark = pytest.mark.timeout(240)

SHORT = Deadlines(list_s=1.5, create_s=2.0, start_s=5.0, stop_s=5.0, remove_s=5.0, probe_every_s=600.0)
"""So that a frozen engine costs a test seconds. Probes of a closed circuit are off, to see what calls alone do."""


@dataclass
class Pool:
    """Engines ``h1`` .. ``h3`` with the same images, and a cluster of the test's own on them."""

    urls: list[str]
    cluster: str
    pinned: str

    @property
    def spec(self) -> RevisionSpec:
        """Serves ``version 1``."""
        return RevisionSpec(image="t/httpd:1", pinned=self.pinned)

    @asynccontextmanager
    async def target(self, *names: str, deadlines: Deadlines = SHORT) -> AsyncIterator[DockerTarget]:
        """An open target over these hosts."""
        chosen = [host_settings(f"h{number}", url) for number, url in enumerate(self.urls, 1) if f"h{number}" in names]
        target = DockerTarget(TargetSettings("edge", "docker", hosts=tuple(chosen)), self.cluster, (), deadlines)
        await target.open()
        try:
            yield target
        finally:
            await target.close()

    def asks(self, target: DockerTarget, host: str) -> Asks:
        """Asks on one host of the pool."""
        return Asks(target, self.cluster, host)


@pytest.fixture(scope="module")
def engines(container_hosts: list[str]) -> list[str]:
    """Urls of engines whose images have the same ids."""
    images.make_images(container_hosts[0])
    images.copy_images(container_hosts[0], container_hosts[1:])
    return container_hosts


@pytest.fixture
def pool(engines: list[str]) -> Iterator[Pool]:
    with images.engine(engines[0]) as client:
        pinned = str(client.inspect_image("t/httpd:1")["Id"])
    opened = Pool(engines, f"t{secrets.token_hex(4)}", pinned)
    yield opened
    for url in engines:
        with images.engine(url) as client:
            for summary in client.containers(all=True, filters={"label": f"{CLUSTER_LABEL}={opened.cluster}"}):
                # A creation that its caller gave up is undone by the engine itself, maybe right now.
                with suppress(NotFound):
                    client.remove_container(summary["Id"], force=True)


async def kill_engine(number: str) -> None:
    """Kill -9, and wait for its containerd as well: a dockerd that finds that alive starts none of its own."""
    root = Path(os.environ.get("CONTAINER_HOSTS_ROOT", "/var/lib/container-hosts"))
    containerd = int((root / f"host-{number}/exec/containerd/containerd.pid").read_text(encoding="ascii"))
    hosts.control("kill", number)

    async def ended() -> bool:
        return not psutil.pid_exists(containerd)

    await eventually(ended, lambda gone: gone)


async def listing_of(target: DockerTarget, host: str) -> HostListing:
    (listing,) = [listing for listing in await target.list_replicas() if listing.host.name == host]
    return listing


async def view_of(target: DockerTarget, host: str) -> HostView:
    return (await listing_of(target, host)).host


async def test_a_frozen_engine_is_unknown_then_not_asked_and_comes_back_while_others_go_on(pool: Pool) -> None:
    async with pool.target("h1", "h2") as target:
        mine = await pool.asks(target, "h2").run(pool.spec)
        hosts.control("freeze", "2")
        try:
            began = time.monotonic()
            frozen = pool.asks(target, "h2")
            attempts = [
                asyncio.create_task(target.create(frozen.creation(pool.spec, slot=n, attempt=n))) for n in (2, 3, 4)
            ]
            assert (await pool.asks(target, "h1").target.create(pool.asks(target, "h1").creation(pool.spec))).id
            assert time.monotonic() - began < SHORT.create_s
            outcomes = await asyncio.gather(*attempts)
            assert {outcome.result for outcome in outcomes} == {"unknown"}, outcomes
            listing = await listing_of(target, "h2")
            assert listing.error
            assert not listing.replicas
            assert (listing.host.known, listing.host.condition) == (False, "suspect")
            assert listing.host.since == pytest.approx(time.time(), abs=10)
            assert (await listing_of(target, "h1")).error == ""
            began = time.monotonic()
            assert (await frozen.stop(mine)).result == "unavailable"
            assert time.monotonic() - began < 0.5
        finally:
            hosts.control("thaw", "2")
        async with Listener(target) as listener:
            if (await listing_of(target, "h2")).error:
                await listener.until(lambda change: change.host == "h2" and change.replica is None, within_s=60)
        after = await eventually(lambda: listing_of(target, "h2"), lambda listing: not listing.error, within_s=60)
        assert mine.id in {replica.id for replica in after.replicas}
        assert (after.host.known, after.host.condition) == (True, "ready")


async def test_a_frozen_engine_holds_a_bounded_number_of_threads_and_no_listing(pool: Pool) -> None:
    async with pool.target("h1", "h2") as target:
        hosts.control("freeze", "2")
        try:
            frozen = pool.asks(target, "h2")
            work = [target.create(frozen.creation(pool.spec, slot=n, attempt=n)) for n in range(40)]
            outcomes: list[Outcome] = await asyncio.gather(*work)
            assert {outcome.result for outcome in outcomes} == {"unknown", "unavailable"}
            of_host = [thread for thread in threading.enumerate() if thread.name.startswith("docker-h2")]
            assert len(of_host) <= LOOK_THREADS + CALL_THREADS + 1
            began = time.monotonic()
            for _ in range(5):
                assert (await listing_of(target, "h2")).error
            assert time.monotonic() - began < 1
        finally:
            hosts.control("thaw", "2")


async def test_a_frozen_engine_is_noticed_without_anybody_asking(pool: Pool) -> None:
    async with pool.target("h2", deadlines=replace(SHORT, probe_every_s=0.5)) as target, Listener(target) as listener:
        hosts.control("freeze", "2")
        try:
            await listener.until(lambda change: change.replica is None and change.removed is None, within_s=20)
            assert not (await view_of(target, "h2")).known
        finally:
            hosts.control("thaw", "2")


async def test_changes_go_on_after_an_engine_was_killed_and_started_again(pool: Pool) -> None:
    async with pool.target("h3") as target, Listener(target) as listener:
        before = await pool.asks(target, "h3").run(pool.spec)
        await listener.until(shows("running"))
        await kill_engine("3")
        hosts.control("start", "3")
        await listener.until(lambda change: change.replica is None and change.removed is None, within_s=60)
        await eventually(lambda: listing_of(target, "h3"), lambda listing: not listing.error, within_s=60)
        again = await pool.asks(target, "h3").run(pool.spec, slot=1, attempt=2)
        await listener.until(lambda c: c.replica is not None and c.replica.id == again.id and shows("running")(c))
        with images.engine(pool.urls[2]) as client:
            client.kill(again.id, "SIGKILL")
        change = await listener.until(
            lambda c: shows("exited")(c) and c.replica is not None and c.replica.id == again.id
        )
        assert change.host == "h3"
        assert before.id in {replica.id for replica in (await listing_of(target, "h3")).replicas}


async def test_a_host_that_is_cut_off_is_noticed_and_comes_back(pool: Pool) -> None:
    async with pool.target("h2", deadlines=replace(SHORT, probe_every_s=0.5)) as target:
        hosts.control("cut", "2")
        try:
            await eventually(lambda: view_of(target, "h2"), lambda view: not view.known, within_s=20)
        finally:
            hosts.control("mend", "2")
        await eventually(lambda: view_of(target, "h2"), lambda view: view.known, within_s=60)


async def test_an_engine_that_is_not_there_is_unavailable_at_once(pool: Pool) -> None:
    nowhere = HostSettings("h9", "tcp://127.0.0.1:9", "127.0.0.1", "127.0.0.1")
    target = DockerTarget(TargetSettings("edge", "docker", hosts=(nowhere,)), pool.cluster, ())
    await target.open()
    try:
        asks = pool.asks(target, "h9")
        outcomes = [await target.create(asks.creation(pool.spec)), await target.resolve(Resolve("web", pool.spec))]
        assert [outcome.result for outcome in outcomes] == ["unavailable", "unavailable"]
        (listing,) = await target.list_replicas()
        assert listing.error
        assert not listing.host.known
        assert await target.usage() == []
    finally:
        await target.close()


async def test_the_same_content_on_all_hosts_is_pinned_by_its_id(pool: Pool) -> None:
    async with pool.target("h1", "h2", "h3") as target:
        outcome = await target.resolve(Resolve("web", RevisionSpec(image="t/httpd:1")))
        assert (outcome.result, outcome.pinned) == ("done", pool.pinned)
        assert all(not listing.host.lacks_images for listing in await target.list_replicas())


async def test_different_contents_by_host_are_refused_naming_hosts_and_ids(pool: Pool) -> None:
    tag = f"t/differs:{pool.cluster}"
    ids = [images.import_server(url, f"of {url}", tag) for url in pool.urls[:2]]
    async with pool.target("h1", "h2") as target:
        outcome = await target.resolve(Resolve("web", RevisionSpec(image=tag)))
    assert (outcome.result, outcome.blame) == ("refused", "revision")
    for name, image in zip(("h1", "h2"), ids, strict=True):
        assert f"{name} has {image[:19]}" in outcome.text


async def test_a_host_without_the_content_says_so_until_it_has_it(pool: Pool) -> None:
    tag = f"t/scarce:{pool.cluster}"
    pinned = images.import_server(pool.urls[0], "scarce", tag)
    async with pool.target("h1", "h2") as target:
        outcome = await target.resolve(Resolve("web", RevisionSpec(image=tag)))
        assert outcome.pinned == pinned
        assert (await view_of(target, "h1")).lacks_images == frozenset()
        assert (await view_of(target, "h2")).lacks_images == {pinned}
        images.copy_images(pool.urls[0], pool.urls[1:2], [tag])
        assert (await view_of(target, "h2")).lacks_images == frozenset()
