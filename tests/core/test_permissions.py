"""Nothing that takes a container out of its isolation runs unless the configuration allows exactly that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.actions import Outcome
from autoscaler.core.allowance import image_allowed, pin_allowed
from autoscaler.core.permissions import denials
from autoscaler.core.plan import plan
from autoscaler.core.revision import ISOLATION, Resources, RevisionSpec, content_hash
from autoscaler.core.settings import EventRules, Permissions
from autoscaler.core.stimuli import OutcomeArrived
from tests.core.builders import some_settings
from tests.core.scene import Scene

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def a_container(**changes: Any) -> RevisionSpec:
    return RevisionSpec(image="shop/web:1", **changes)


LOOSENED = [
    pytest.param({"privileged": True}, {"privileged": True}, "privileged", id="privileged"),
    pytest.param({"cap_add": ("NET_ADMIN",)}, {"capabilities": ("NET_ADMIN",)}, "cap_add[0]", id="capability"),
    pytest.param({"cap_add": ("ALL",)}, {"capabilities": ("ALL",)}, "cap_add[0]", id="all capabilities"),
    pytest.param({"devices": ("/dev/fuse:/dev/fuse:r",)}, {"devices": ("/dev/fuse",)}, "devices[0]", id="device"),
    pytest.param({"pid": "host"}, {"namespaces": ("pid",)}, "pid", id="host processes"),
    pytest.param({"ipc": "host"}, {"namespaces": ("ipc",)}, "ipc", id="host ipc"),
    pytest.param({"networks": ("host",)}, {"namespaces": ("network",)}, "networks[0]", id="host network"),
    pytest.param({"volumes": ("/srv/data:/data",)}, {"mounts": ("/srv",)}, "volumes[0]", id="host mount"),
    pytest.param({"volumes": ("/run/docker.sock:/s",)}, {"engine_socket": True}, "volumes[0]", id="engine's socket"),
]


@pytest.mark.parametrize(("fields", "allow", "place"), LOOSENED)
def test_what_loosens_the_isolation_is_denied_by_default_and_allowed_by_name(
    fields: Any, allow: Any, place: str
) -> None:
    (denial,) = denials(a_container(**fields), Permissions())
    assert denial.text.startswith(f"{place} ")
    assert "allow: {" in denial.remedy
    assert denials(a_container(**fields), Permissions(**allow)) == ()


@pytest.mark.parametrize(
    "path",
    [
        "/", "/var", "/run", "/var/run", "/var/run/docker.sock", "/run/docker.sock", "/srv/../run/docker.sock",
        "//run//docker.sock", "/var/lib/docker/volumes/x", "/run/containerd/containerd.sock",
        "/run/user/1000/docker.sock", "/opt/engine/docker.sock",
    ],
)  # fmt: skip
def test_a_way_to_the_engine_is_no_ordinary_mount_however_it_is_written(path: str) -> None:
    (denial,) = denials(a_container(volumes=(f"{path}:/x:ro",)), Permissions(mounts=("/",)))
    assert "engine_socket: true" in denial.remedy


@pytest.mark.parametrize(
    ("volume", "mounts", "denied"),
    [
        ("/srv/data/x:/x", ("/srv/data",), 0),
        ("/srv/database:/x", ("/srv/data",), 1),
        ("/srv/data/../secret:/x", ("/srv/data",), 1),
        ("/srv/data:/x", ("/srv/data:ro",), 1),
        ("/srv/data:/x:ro", ("/srv/data:ro",), 0),
        ("/srv/data:/x:ro", ("/srv/data/",), 0),
        ("cache:/x", (), 0),
    ],
)
def test_a_mount_is_allowed_with_all_below_it_and_a_named_volume_needs_no_word(
    volume: str, mounts: tuple[str, ...], denied: int
) -> None:
    assert len(denials(a_container(volumes=(volume,)), Permissions(mounts=mounts))) == denied


def test_ceiling_bounds_what_a_replica_may_have_and_lets_none_go_unlimited() -> None:
    allowed = Permissions(cpu_millis=1000, memory_bytes=2**28)
    assert denials(a_container(resources=Resources(1000, 2**28)), allowed) == ()
    places = [denial.steps for denial in denials(a_container(resources=Resources(1001, 0)), allowed)]
    assert places == [("resources", "cpu"), ("resources", "memory")]


def a_docker_scene(**settings: Any) -> Scene:
    scene = Scene(settings=some_settings(kind="docker", **settings))
    scene.obedient = False
    return scene


@pytest.mark.parametrize("name", ISOLATION)
def test_event_may_not_touch_the_isolation_even_where_it_is_allowed(name: str) -> None:
    loose = Permissions(privileged=True, engine_socket=True, namespaces=("network", "pid", "ipc"), mounts=("/",))
    scene = a_docker_scene(allow=loose)
    scene.deploy(a_container(), fields=frozenset({"image", "ports", name}))
    assert (scene.verdict("d-1"), scene.reason("d-1")) == ("refused", "field")


def test_what_was_allowed_once_and_is_not_any_more_comes_no_further() -> None:
    mounted = a_container(volumes=("/srv:/srv",))
    scene = a_docker_scene(revision=mounted, allow=Permissions(mounts=("/srv",)))
    scene.deploy(a_container(), "d-1")
    assert scene.phase == "preflight"
    scene.settings = replace(scene.settings, allow=Permissions())
    scene.deploy(replace(mounted, image="shop/web:2"), "d-2")
    assert (scene.verdict("d-2"), scene.reason("d-2")) == ("refused", "allow")
    reason = next(r.reason.text for r in scene.records if r.verdict == "refused")
    assert reason.startswith("revision.volumes[0] mounts the host's /srv.")


def test_event_without_a_configured_revision_gets_the_ceiling() -> None:
    scene = a_docker_scene(allow=Permissions(cpu_millis=500, memory_bytes=2**20))
    scene.deploy(a_container(), fields=frozenset({"image", "ports"}))
    (action,) = plan(scene.state, scene.settings, scene.world(), "shop")
    assert action.kind == "resolve"
    assert action.spec.resources == Resources(500, 2**20)


@pytest.mark.parametrize(
    ("image", "pattern", "admitted"),
    [
        ("shop/web:1", "shop/web:1", 1),
        ("shop/web:2", "shop/web:1", 0),
        ("shop/web", "shop/web:latest", 1),
        ("shop/web:2.4.1", "shop/web:2.*", 1),
        ("shop/web:3.0.0", "shop/*:2.*", 0),
        ("host:5000/shop/web:2", "host:5000/shop/*", 1),
        (f"shop/web@{OTHER}", f"shop/web@{DIGEST}", 0),
        (f"shop/web:1@{DIGEST}", f"shop/web@{DIGEST}", 1),
    ],
)
def test_pattern_with_a_tag_or_digest_wants_exactly_that(image: str, pattern: str, admitted: int) -> None:
    assert image_allowed(image, (pattern,)) == bool(admitted)


def test_tag_is_admitted_by_a_digest_only_once_it_has_turned_out_to_be_that() -> None:
    patterns = (f"shop/web@{DIGEST}",)
    assert image_allowed("shop/web:1", patterns)
    assert pin_allowed("shop/web:1", f"shop/web@{DIGEST}", patterns)
    assert pin_allowed("shop/web:1", DIGEST, patterns)
    assert not pin_allowed("shop/web:1", f"shop/web@{OTHER}", patterns)
    assert not pin_allowed("shop/api:1", f"shop/api@{DIGEST}", patterns)


@pytest.mark.parametrize(("found", "verdict"), [(DIGEST, ""), (OTHER, "refused")])
def test_tag_that_turns_out_to_be_other_content_than_admitted_is_refused_and_nothing_runs(
    found: str, verdict: str
) -> None:
    scene = a_docker_scene(events=EventRules(images=(f"shop/web@{DIGEST}",)))
    scene.deploy(a_container(), fields=frozenset({"image", "ports"}))
    (action,) = plan(scene.state, scene.settings, scene.world(), "shop")
    scene.tell(OutcomeArrived(scene.now, Outcome(action, "done", pinned=f"shop/web@{found}")))
    assert scene.verdict("d-1") == verdict
    assert bool(scene.state.replicas) is (verdict == "")


def test_fields_that_older_revisions_had_not_do_not_change_their_hash() -> None:
    assert content_hash(RevisionSpec(image="a", pinned="sha256:1")) == "df7f3eb548cda4b76e023a9a36aba6f5"
    assert content_hash(RevisionSpec(image="a", pinned="sha256:1", read_only=True)) != content_hash(
        RevisionSpec(image="a", pinned="sha256:1")
    )
