"""The docker target's own promises on one engine: what a container is made of, and whose fault a failure is."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.docker import DockerTarget
from autoscaler.adapters.docker.client import EngineClient
from autoscaler.adapters.docker.output import LINE_BYTES_MAX, LineSplitter
from autoscaler.configuration.settings import HostSettings, TargetSettings
from autoscaler.core.actions import Resolve
from autoscaler.core.revision import Port, Resources, Stop
from autoscaler.core.world import ObservedReplica
from autoscaler.errors import ConfigurationError
from tests.contract.arena_docker import DockerArena
from tests.contract.replicas import Asks, Listener
from tests.parts import images

pytestmark = pytest.mark.timeout(90)


def inspect(arena: DockerArena, container: str) -> dict[str, Any]:
    with images.engine(arena.url) as client:
        shown: dict[str, Any] = client.inspect_container(container)
        return shown


async def test_name_and_labels_are_exactly_the_documented_ones(arena: DockerArena, asks: Asks) -> None:
    spec = replace(arena.serves(), labels=(("team", "shop"), ("io.eventscaler.token", "99")))
    replica = await asks.create(spec, slot=2, revision=5, attempt=9)
    shown = inspect(arena, replica.id)
    assert shown["Name"] == f"/{arena.cluster}.web.s2.r5.9"
    ours = {
        "cluster": arena.cluster,
        "service": "web",
        "slot": "2",
        "revision": "5",
        "attempt": "9",
        "generation": "7",
        "token": "3",
        "spec": asks.creation(spec).content,
        "cpu": "100",
        "memory": str(32 * 1024 * 1024),
        "ports": "http=8080",
        "networks": "",
    }
    assert shown["Config"]["Labels"] == {f"io.eventscaler.{name}": value for name, value in ours.items()} | {
        "team": "shop"
    }


async def test_a_container_has_what_the_revision_says_and_else_what_the_image_has(
    arena: DockerArena, asks: Asks
) -> None:
    spec = replace(
        arena.serves(),
        env=(("MODE", "prod"),),
        user="65534",
        stop=Stop("INT", 7.0),
        volumes=("/tmp:/mnt:ro",),
        resources=Resources(cpu_millis=250, memory_bytes=64 * 1024 * 1024),
    )
    shown = inspect(arena, (await asks.create(spec)).id)
    settings, limits = shown["Config"], shown["HostConfig"]
    assert shown["Image"] == spec.pinned
    assert settings["Entrypoint"] == images.HTTPD
    assert "MODE=prod" in settings["Env"]
    assert (settings["User"], settings["StopSignal"]) == ("65534", "SIGINT")
    assert (limits["NanoCpus"], limits["Memory"]) == (250_000_000, 64 * 1024 * 1024)
    assert limits["Binds"] == ["/tmp:/mnt:ro"]
    assert limits["Init"] is True
    assert limits["RestartPolicy"]["Name"] == "no"
    assert limits["Privileged"] is False
    assert not limits["SecurityOpt"]
    assert limits["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}


async def test_a_named_volume_outlives_its_replica_and_labels_of_the_users_never_replace_ours(
    arena: DockerArena, asks: Asks
) -> None:
    volume = f"{arena.cluster}-data"
    script = "cat /data/was; echo ran as $(id -u) > /data/was"
    labels = (("io.eventscaler.token", "9"), ("team", "shop"))
    spec = replace(arena.shell(script), volumes=(f"{volume}:/data",), labels=labels)
    try:
        for attempt, wanted in ((1, []), (2, ["ran as 0"])):
            running = await asks.run(spec, attempt=attempt)
            shown = inspect(arena, running.id)["Config"]["Labels"]
            assert (shown["team"], shown["io.eventscaler.token"]) == ("shop", "3")
            ended = await asks.ended(running.name)
            said = [line.decode() async for line in asks.target.logs(ended, follow=True, tail=10)]
            assert [line for line in said if line.startswith("ran")] == wanted
            await asks.remove(ended)
    finally:
        with images.engine(arena.url) as client:
            client.remove_volume(volume)


async def test_what_may_never_be_pulled_is_taken_from_the_host(arena: DockerArena, asks: Asks) -> None:
    outcome = await asks.target.resolve(Resolve("web", replace(arena.unresolved(), pull="never")))
    assert (outcome.result, outcome.pinned) == ("done", arena.images["t/httpd:1"])


async def test_the_images_own_health_check_is_kept_and_its_verdict_told(arena: DockerArena, asks: Asks) -> None:
    async with Listener(asks.target) as listener:
        sick = await asks.run(replace(arena.serves(), image=images.SICK, pinned=arena.images[images.SICK]))
        assert sick.healthy is None
        change = await listener.until(lambda c: c.replica is not None and c.replica.healthy is not None)
    assert change.replica is not None
    assert change.replica.healthy is False


async def test_another_containers_network_is_refused(arena: DockerArena, asks: Asks) -> None:
    outcome = await asks.target.create(asks.creation(replace(arena.serves(), networks=("container:abc",))))
    assert (outcome.result, outcome.blame) == ("refused", "revision")


async def test_a_container_is_isolated_as_its_revision_says(arena: DockerArena, asks: Asks) -> None:
    plain = inspect(arena, (await asks.create(arena.serves())).id)["HostConfig"]
    assert (plain["CapAdd"], plain["CapDrop"], plain["Devices"], plain["ReadonlyRootfs"]) == ([], [], [], False)
    assert (plain["PidMode"], plain["IpcMode"]) == ("", "private")
    spec = replace(
        arena.serves(),
        cap_add=("NET_ADMIN",), cap_drop=("MKNOD",), devices=("/dev/null:/dev/nothing:r",), pid="host", ipc="host",
        read_only=True,
    )  # fmt: skip
    limits = inspect(arena, (await asks.create(spec, slot=1)).id)["HostConfig"]
    assert (limits["CapAdd"], limits["CapDrop"]) == (["NET_ADMIN"], ["MKNOD"])
    device = {"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "r"}
    assert (limits["Devices"], limits["PidMode"], limits["IpcMode"], limits["ReadonlyRootfs"]) == (
        [device], "host", "host", True
    )  # fmt: skip
    assert inspect(arena, (await asks.create(replace(arena.serves(), privileged=True), slot=2)).id)["HostConfig"][
        "Privileged"
    ]


async def test_a_replica_on_the_hosts_network_is_reached_at_its_own_port(arena: DockerArena, asks: Asks) -> None:
    ports = (("http", Port(8080, 8080)),)
    running = await asks.run(replace(arena.serves(), networks=("host",), ports=ports))
    assert running.address == {"http": "127.0.0.1:8080"}


async def test_what_is_not_pinned_is_never_created(arena: DockerArena, asks: Asks) -> None:
    outcome = await asks.target.create(asks.creation(replace(arena.serves(), pinned="")))
    assert (outcome.result, outcome.blame) == ("refused", "revision")
    assert await asks.replicas() == []


async def test_a_started_replica_is_on_all_its_networks(arena: DockerArena, asks: Asks) -> None:
    names = (f"{arena.cluster}-a", f"{arena.cluster}-b")
    with images.engine(arena.url) as client:
        for name in names:
            client.create_network(name)
        try:
            running = await asks.run(replace(arena.serves(), networks=names))
            assert set(inspect(arena, running.id)["NetworkSettings"]["Networks"]) == set(names)
        finally:
            arena.clean()
            for name in names:
                client.remove_network(name)


async def test_a_taken_port_is_the_hosts_fault_and_shown_as_taken(arena: DockerArena, asks: Asks) -> None:
    holder = await asks.run(arena.serves())
    taken = int(holder.address["http"].rpartition(":")[2])
    assert taken in (await asks.view()).ports_taken
    spec = replace(arena.serves(), ports=(("http", Port(images.PORT, taken)),))
    outcome = await asks.start(await asks.create(spec, slot=1, attempt=2))
    assert (outcome.result, outcome.blame) == ("refused", "host")


async def test_a_fixed_port_is_published_there(arena: DockerArena, asks: Asks) -> None:
    spec = replace(arena.serves(), ports=(("http", Port(images.PORT, 18473)),))
    assert (await asks.run(spec)).address == {"http": "127.0.0.1:18473"}


async def test_a_bad_option_is_the_revisions_fault(arena: DockerArena, asks: Asks) -> None:
    outcome = await asks.start(await asks.create(replace(arena.serves(), user="no-such-user")))
    assert (outcome.result, outcome.blame) == ("refused", "revision")


async def test_a_file_that_is_no_program_is_the_revisions_fault(arena: DockerArena, asks: Asks) -> None:
    outcome = await asks.start(await asks.create(replace(arena.serves(), entrypoint=("/etc/passwd",))))
    assert (outcome.result, outcome.blame) == ("refused", "revision")
    assert "/etc/passwd" in outcome.text


async def test_another_signal_than_the_containers_own_is_sent(arena: DockerArena, asks: Asks) -> None:
    script = "trap 'exit 9' USR1; trap '' TERM; echo ready; while :; do sleep 0.1; done"
    running = await asks.run(arena.shell(script))
    async for line in asks.target.logs(running, follow=True, tail=10):
        assert line == b"ready"
        break
    assert (await asks.stop(running, signal="USR1")).result == "done"
    assert (await asks.shown(running.name)).exit_code == 9


async def test_ours_by_label_but_no_replica_is_not_listed(arena: DockerArena, asks: Asks) -> None:
    with images.engine(arena.url) as client:
        client.create_container("t/httpd:1", labels={"io.eventscaler.cluster": arena.cluster})
    assert await asks.replicas() == []


async def test_a_foreign_container_is_answered_with_conflict(arena: DockerArena, asks: Asks) -> None:
    foreign = arena.occupy(f"{arena.cluster}-foreign")
    replica = ObservedReplica(foreign, "x", "web", 0, 1, 1, arena.host, "running")
    assert [(await ask(replica)).result for ask in (asks.stop, asks.remove, asks.start)] == ["conflict"] * 3
    assert arena.foreign_runs(foreign)


async def test_an_image_that_was_removed_after_pinning_is_the_hosts_lack(arena: DockerArena, asks: Asks) -> None:
    gone = "sha256:" + "0" * 64
    outcome = await asks.target.create(asks.creation(replace(arena.serves(), pinned=gone)))
    assert (outcome.result, outcome.blame) == ("refused", "host")
    assert (await asks.view()).lacks_images == {gone}


async def test_an_unnamed_tag_that_cannot_be_pulled_is_not_taken_from_the_host(arena: DockerArena, asks: Asks) -> None:
    with images.engine(arena.url) as client:
        client.tag("t/httpd:1", "127.0.0.1:9/t/moves", "latest")
    outcome = await asks.target.resolve(Resolve("web", replace(arena.unresolved(), image="127.0.0.1:9/t/moves")))
    assert outcome.result == "unavailable"
    lenient = replace(arena.unresolved(), image="127.0.0.1:9/t/moves", pull="missing")
    assert (await asks.target.resolve(Resolve("web", lenient))).pinned == arena.images["t/httpd:1"]


async def test_followed_logs_end_with_the_replica(arena: DockerArena, asks: Asks) -> None:
    running = await asks.run(arena.shell("echo out; echo err >&2; sleep 0.5; echo last; sleep 0.3"))
    async with asyncio.timeout(20):
        lines = [line async for line in asks.target.logs(running, follow=True, tail=10)]
    assert sorted(lines) == [b"err", b"last", b"out"]


def test_pieces_of_output_become_whole_lines_and_long_ones_are_cut() -> None:
    splitter = LineSplitter()
    assert list(splitter.feed(1, b"one\ntw")) == [b"one"]
    assert list(splitter.feed(2, b"error\n")) == [b"error"]
    assert list(splitter.feed(1, b"o\n\nthree")) == [b"two", b""]
    assert list(splitter.feed(2, b"x" * (LINE_BYTES_MAX + 1))) == [b"x" * LINE_BYTES_MAX]
    assert sorted(splitter.end()) == [b"three", b"x"]


def test_nothing_of_the_users_docker_configuration_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = {"auths": {"r.example": {"auth": "YTpi"}}, "HttpHeaders": {"X-Spy": "1"}, "credsStore": "desktop"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    client = EngineClient("tcp://127.0.0.1:9", None, "1.41")
    try:
        assert not client._auth_configs.auths
        assert client._auth_configs.creds_store is None
        assert client._general_configs == {}
        assert client.trust_env is False
    finally:
        client.close()


@pytest.mark.parametrize(
    ("url", "remedy"), [("ssh://-oProxyCommand=x", "ssh://user@host"), ("npipe://h", "unix:///var/run")]
)
def test_a_url_that_cannot_be_spoken_to_is_a_configuration_error(url: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=r"targets\.edge\.hosts\.h1\.url") as raised:
        DockerTarget(TargetSettings("edge", "docker", hosts=(HostSettings("h1", url, "h", "h"),)), "shop", ())
    assert remedy in str(raised.value)
