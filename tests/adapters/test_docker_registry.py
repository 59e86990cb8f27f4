"""Pulling: a tag becomes a digest once, other hosts take exactly that, and only the configuration's logins are used."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from autoscaler.adapters.docker import DockerTarget
from autoscaler.configuration.settings import Registry as Login
from autoscaler.configuration.settings import TargetSettings
from autoscaler.core.actions import Outcome, Resolve
from autoscaler.core.revision import RevisionSpec
from tests.contract.arena_docker import DockerArena, host_settings, open_arena
from tests.contract.replicas import Asks
from tests.parts import PartMissing, dockerd, images
from tests.parts.registry import Registry, registry

# One after the other: each forgets on its engine what was pulled.
pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("registries")]


@pytest.fixture
def arena(request: pytest.FixtureRequest) -> Iterator[DockerArena]:
    with open_arena(request) as opened:
        if not opened.url.startswith("unix://"):
            pytest.skip("docker: the engine must be on this machine, to pull from its loopback")
        yield opened
    forget(opened.url)


def forget(url: str) -> None:
    """Remove what was pulled, by its names: other tests may use the same content."""
    with images.engine(url) as client:
        for image in client.images():
            for name in [*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())]:
                if name.startswith("127.0.0.1:") and "/t/web" in name:
                    with suppress(ImageNotFound):  # a digest goes with its last tag
                        client.remove_image(name, force=True)


@asynccontextmanager
async def opened(arena: DockerArena, *logins: Login, urls: tuple[str, ...] = ()) -> AsyncIterator[DockerTarget]:
    settings = tuple(host_settings(f"h{number}", url) for number, url in enumerate((arena.url, *urls), 1))
    target = DockerTarget(TargetSettings("edge", "docker", hosts=settings), arena.cluster, logins)
    await target.open()
    try:
        yield target
    finally:
        await target.close()


async def resolved(target: DockerTarget, image: str, **rules: str) -> Outcome:
    return await target.resolve(Resolve("web", RevisionSpec(image=image, **rules)))  # type: ignore[arg-type]


@contextmanager
def second_engine() -> Iterator[dockerd.Dockerd]:
    # Not pytest's own folder: the paths of the engine's sockets may have 104 characters.
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        try:
            engine = dockerd.start(Path(folder) / "d")
        except PartMissing as error:
            pytest.skip(f"docker: {error}")
        with engine:
            yield engine


def pinned(origin: Registry, digest: str) -> str:
    return f"{origin.host}/t/web@{digest}"


async def test_a_tag_is_pulled_and_pinned_by_its_digest(arena: DockerArena) -> None:
    with registry() as origin:
        digest = origin.push("t/web", "1", "one")
        async with opened(arena) as target:
            outcome = await resolved(target, f"{origin.host}/t/web:1")
            assert (outcome.result, outcome.pinned) == ("done", pinned(origin, digest))
            asks = Asks(target, arena.cluster, "h1")
            running = await asks.run(RevisionSpec(image="x", pinned=outcome.pinned))
            with images.engine(arena.url) as client:
                assert client.inspect_container(running.id)["Config"]["Image"] == outcome.pinned


async def test_a_local_tag_is_not_pulled_again_unless_always(arena: DockerArena) -> None:
    with registry() as origin:
        first = origin.push("t/web", "1", "one")
        async with opened(arena) as target:
            await resolved(target, f"{origin.host}/t/web:1")
            second = origin.push("t/web", "1", "two")
            assert (await resolved(target, f"{origin.host}/t/web:1")).pinned == pinned(origin, first)
            assert (await resolved(target, f"{origin.host}/t/web:1", pull="always")).pinned == pinned(origin, second)


async def test_a_host_that_lost_the_content_pulls_it_before_creation(arena: DockerArena) -> None:
    with registry() as origin:
        origin.push("t/web", "1", "one")
        async with opened(arena) as target:
            outcome = await resolved(target, f"{origin.host}/t/web:1")
            forget(arena.url)
            created = await Asks(target, arena.cluster, "h1").create(RevisionSpec(image="x", pinned=outcome.pinned))
            assert created.condition == "created"


async def test_other_hosts_take_the_same_content_though_the_tag_moves(arena: DockerArena) -> None:
    with second_engine() as second, registry() as origin:
        digest = origin.push("t/web", "1", "one")
        async with opened(arena, urls=(second.url,)) as target:
            outcome = await resolved(target, f"{origin.host}/t/web:1")
            assert outcome.pinned == pinned(origin, digest)
            origin.push("t/web", "1", "two")
            assert all(not listing.host.lacks_images for listing in await target.list_replicas())
            with images.engine(second.url) as client:
                assert client.inspect_image(outcome.pinned)["RepoDigests"] == [outcome.pinned]


async def test_an_image_tells_what_it_is_made_for_and_a_manifest_list_tells_all_of_it(arena: DockerArena) -> None:
    with registry() as origin:
        origin.push("t/web", "foreign", "one", "arm64")
        digest = origin.push_list("t/web", "both", "one", ("amd64", "arm64"))
        async with opened(arena) as target:
            foreign = await resolved(target, f"{origin.host}/t/web:foreign")
            both = await resolved(target, f"{origin.host}/t/web:both")
            local = await target.resolve(Resolve("web", arena.unresolved()))
            running = await Asks(target, arena.cluster, "h1").run(RevisionSpec(image="x", pinned=both.pinned))
    assert foreign.platforms == ("linux/arm64",)
    assert (both.pinned, both.platforms) == (pinned(origin, digest), ("linux/amd64", "linux/arm64"))
    assert local.platforms == ("linux/amd64",), "an imported image has no registry: its host tells"
    assert running.condition == "running"


async def test_what_a_registry_does_not_tell_any_more_is_not_guessed(arena: DockerArena) -> None:
    with registry() as origin:
        origin.push("t/web", "1", "one")
        async with opened(arena) as target:
            await resolved(target, f"{origin.host}/t/web:1")
            name = f"{origin.host}/t/web:1"
    async with opened(arena) as target:
        again = await resolved(target, name)
    assert (again.result, again.platforms) == ("done", ())


async def test_a_list_without_any_hosts_platform_is_refused_in_the_engines_words(arena: DockerArena) -> None:
    with registry() as origin:
        origin.push_list("t/web", "foreign", "one", ("arm64",))
        async with opened(arena) as target:
            outcome = await resolved(target, f"{origin.host}/t/web:foreign")
    assert (outcome.result, outcome.blame) == ("refused", "host")
    assert "no matching manifest for linux/amd64" in outcome.text


async def test_an_image_is_removed_under_our_names_only_and_never_while_something_uses_it(arena: DockerArena) -> None:
    with registry() as origin:
        origin.push("t/web", "1", "one")
        name = f"{origin.host}/t/web:1"
        async with opened(arena) as target:
            content = (await resolved(target, name)).pinned
            asks = Asks(target, arena.cluster, "h1")
            running = await asks.run(RevisionSpec(image=name, pinned=content))

            async def pruned(*needed: str) -> tuple[str, str]:
                (result,) = await target.prune(((name, content),), frozenset(needed))
                return result.result, result.text

            assert await pruned() == ("used", "a container uses it")
            await asks.stop(running)
            assert await pruned() == ("used", "a container uses it"), "an ended one, too"
            await asks.remove(running)
            with images.engine(arena.url) as client:
                identity = client.inspect_image(content)["Id"]
                before = {image["Id"] for image in client.images()}
                assert (await pruned(identity))[0] == "used", "a revision runs it by its id"
                client.tag(identity, "127.0.0.1:1/somebody/else", "2")
                assert await pruned() == ("named", "it has other names: 127.0.0.1:1/somebody/else:2")
                assert client.inspect_image(content)["Id"] == identity
                client.remove_image("127.0.0.1:1/somebody/else:2")
                assert await pruned() == ("removed", "")
                assert {image["Id"] for image in client.images()} == before - {identity}
            assert (await pruned())[0] == "absent"


async def test_what_the_registry_does_not_have_is_the_revisions_fault(arena: DockerArena) -> None:
    with registry() as origin:
        async with opened(arena) as target:
            outcome = await resolved(target, f"{origin.host}/t/web:404")
    assert (outcome.result, outcome.blame) == ("refused", "revision")


async def test_a_registry_that_is_away_is_unavailable(arena: DockerArena) -> None:
    with registry() as origin:
        gone = f"{origin.host}/t/web"
    async with opened(arena) as target:
        assert (await resolved(target, f"{gone}:1")).result == "unavailable"
        spec = RevisionSpec(image="x", pinned=f"{gone}@sha256:{'0' * 64}")
        asks = Asks(target, arena.cluster, "h1")
        outcome = await target.create(asks.creation(spec))
        assert (outcome.result, outcome.blame) == ("unavailable", "host")
        assert (await asks.view()).lacks_images == {spec.pinned}


async def test_the_configurations_login_is_used_and_the_users_own_is_not(
    arena: DockerArena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("s3cret\n", encoding="utf-8")
    with registry(("ci", "s3cret")) as origin:
        origin.push("t/web", "1", "one")
        users = {"auths": {origin.host: {"auth": base64.b64encode(b"ci:s3cret").decode()}}}
        (tmp_path / "config.json").write_text(json.dumps(users), encoding="utf-8")
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        async with opened(arena) as target:
            refused = await resolved(target, f"{origin.host}/t/web:1")
        login = Login(origin.host, "ci", tmp_path / "password")
        async with opened(arena, login) as target:
            done = await resolved(target, f"{origin.host}/t/web:1")
            forget(arena.url)
            # A host that lacks the content later pulls it with the same login.
            await Asks(target, arena.cluster, "h1").create(RevisionSpec(image="x", pinned=done.pinned))
            arena.clean()
        async with opened(arena, replace(login, password_file=tmp_path / "gone")) as target:
            unreadable = await resolved(target, f"{origin.host}/t/web:1", pull="always")
    assert (refused.result, refused.blame) == ("refused", "revision")
    assert done.result == "done"
    assert unreadable.result == "unavailable"
    assert "password file" in unreadable.text
    assert "s3cret" not in refused.text + done.text + unreadable.text
