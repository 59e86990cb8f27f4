"""The revision block: units, bounds, ports and health, and merging onto a base."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from pydantic import ValidationError

from autoscaler.configuration.configured_revision import ConfiguredRevisionModel
from autoscaler.core.revision import FOUND, ISOLATION, Health, Port, Resources, RevisionSpec, Stop
from autoscaler.events.places import complaint_of, place_of
from autoscaler.events.revision_model import RevisionModel, merge

FULL: dict[str, Any] = {
    "image": "registry.example:5000/shop/checkout:2.4.0@sha256:" + "a" * 64,
    "command": ["serve", "--all"],
    "entrypoint": ["/bin/tini"],
    "env": {"MODE": "prod", "A": ""},
    "ports": {"http": 8080, "admin": {"container": 9000, "host": 9001}},
    "resources": {"cpu": "500m", "memory": "256Mi"},
    "health": {"http": "/healthz", "port": "http", "every": "2s", "timeout": "500ms", "failures": 5, "start": "1m"},
    "stop": {"signal": "SIGINT", "grace": "1m30s"},
    "user": "1000:1000",
    "volumes": ["data:/var/lib/data:ro", "/srv:/srv"],
    "networks": ["front"],
    "secrets": {"TOKEN": "/run/secrets/token"},
    "labels": {"team": "shop"},
    "pull": "always",
}


def read(**block: Any) -> RevisionModel:
    """The model of a block."""
    return RevisionModel.model_validate(block)


def test_whole_block_becomes_a_spec_in_plain_units() -> None:
    assert read(**FULL).to_spec() == RevisionSpec(
        image=FULL["image"],
        command=("serve", "--all"),
        entrypoint=("/bin/tini",),
        env=(("A", ""), ("MODE", "prod")),
        ports=(("admin", Port(9000, 9001)), ("http", Port(8080))),
        resources=Resources(500, 256 * 1024 * 1024),
        health=Health(http="/healthz", port="http", every_s=2.0, timeout_s=0.5, failures=5, start_s=60.0),
        stop=Stop("INT", 90.0),
        user="1000:1000",
        volumes=("data:/var/lib/data:ro", "/srv:/srv"),
        networks=("front",),
        secrets=(("TOKEN", "/run/secrets/token"),),
        labels=(("team", "shop"),),
        pull="always",
    )


def test_block_has_exactly_the_fields_of_a_spec_that_do_not_loosen_its_isolation() -> None:
    assert set(RevisionModel.model_fields) == {f.name for f in fields(RevisionSpec)} - {*FOUND, *ISOLATION}
    assert set(ConfiguredRevisionModel.model_fields) == {f.name for f in fields(RevisionSpec)} - {*FOUND}
    assert read(**FULL).fields_set == set(FULL)


def test_order_of_mappings_makes_no_other_spec() -> None:
    assert read(image="a", env={"A": "1", "B": "2"}).to_spec() == read(image="a", env={"B": "2", "A": "1"}).to_spec()


def test_health_asks_the_only_port() -> None:
    health = read(image="a", ports={"web": 80}, health={"tcp": True}).to_spec().health
    assert health == Health(tcp=True, port="web")


def test_process_without_ports_is_asked_at_its_own_port() -> None:
    assert read(command=["serve"], health={"http": "/"}).to_spec().health == Health(http="/")


@pytest.mark.parametrize(
    "image",
    [
        "checkout",
        "shop/checkout",
        "shop/checkout:2",
        "a.b/c",
        "localhost:5000/a/b__c.d-e:X_1",
        "[::1]:5000/a",
        "sha256:" + "a" * 64,
    ],
)
def test_image_references_of_every_form_are_taken(image: str) -> None:
    assert read(image=image).to_spec().image == image


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to run": ({}, "r"),
    "image in capitals": ({"image": "Shop/Checkout"}, "r.image"),
    "image with a space": ({"image": "a b"}, "r.image"),
    "image null": ({"image": None}, "r.image"),
    "image of another digest": ({"image": "a@md5:" + "a" * 32}, "r.image"),
    "long image": ({"image": "a" * 513}, "r.image"),
    "command is text": ({"command": "serve"}, "r.command"),
    "NUL in an argument": ({"command": ["a\0"]}, "r.command[0]"),
    "many arguments": ({"command": ["a"] * 129}, "r.command"),
    "environment name": ({"image": "a", "env": {"A=B": "c"}}, "r.env.A=B"),
    "environment value is a number": ({"image": "a", "env": {"A": 1}}, "r.env.A"),
    "long environment value": ({"image": "a", "env": {"A": "x" * 8193}}, "r.env.A"),
    "port 0": ({"image": "a", "ports": {"http": 0}}, "r.ports.http"),
    "port is true": ({"image": "a", "ports": {"http": True}}, "r.ports.http"),
    "host port": ({"image": "a", "ports": {"http": {"container": 80, "host": 65536}}}, "r.ports.http.host"),
    "port of a protocol": (
        {"image": "a", "ports": {"http": {"container": 80, "protocol": "udp"}}},
        "r.ports.http.protocol",
    ),
    "port name": ({"image": "a", "ports": {"HTTP": 80}}, "r.ports.HTTP"),
    "cpu is true": ({"image": "a", "resources": {"cpu": True}}, "r.resources.cpu"),
    "cpu is words": ({"image": "a", "resources": {"cpu": "half"}}, "r.resources.cpu"),
    "cpu of a city": ({"image": "a", "resources": {"cpu": 2000}}, "r.resources.cpu"),
    "negative memory": ({"image": "a", "resources": {"memory": -1}}, "r.resources.memory"),
    "memory without end": ({"image": "a", "resources": {"memory": "9" * 30}}, "r.resources.memory"),
    "health on no port": ({"image": "a", "health": {"http": "/"}}, "r"),
    "health on one of two ports": ({"image": "a", "ports": {"a": 1, "b": 2}, "health": {"http": "/"}}, "r"),
    "health on a port that is none": ({"image": "a", "ports": {"a": 1}, "health": {"http": "/", "port": "b"}}, "r"),
    "health both ways": ({"image": "a", "ports": {"a": 1}, "health": {"http": "/", "tcp": True}}, "r.health"),
    "health port alone": ({"image": "a", "ports": {"a": 1}, "health": {"port": "a"}}, "r.health"),
    "health path": ({"image": "a", "ports": {"a": 1}, "health": {"http": "healthz"}}, "r.health.http"),
    "health without pause": ({"image": "a", "health": {"every": "1ms"}}, "r.health.every"),
    "duration without unit": ({"image": "a", "stop": {"grace": 10}}, "r.stop.grace"),
    "signal": ({"image": "a", "stop": {"signal": "NOW"}}, "r.stop.signal"),
    "user": ({"image": "a", "user": "root; id"}, "r.user"),
    "volume": ({"image": "a", "volumes": ["data"]}, "r.volumes[0]"),
    "reserved label": ({"image": "a", "labels": {"io.eventscaler.cluster": "x"}}, "r.labels"),
    "secret in two places": ({"image": "a", "env": {"T": "x"}, "secrets": {"T": "/t"}}, "r"),
    "secret whose file is told elsewhere": ({"image": "a", "env": {"T_FILE": "x"}, "secrets": {"T": "/t"}}, "r"),
    "pull": ({"image": "a", "pull": "sometimes"}, "r.pull"),
    "unknown": ({"image": "a", "privileged": True}, "r.privileged"),
}


@pytest.mark.parametrize(("block", "place"), BAD.values(), ids=list(BAD))
def test_bad_block_is_refused_at_its_place(block: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(**block)
    complaint = complaint_of(caught.value)
    assert place_of(complaint.location, "r") == place
    assert complaint.text


def test_image_alone_changes_the_image_and_unpins_it() -> None:
    base = replace(read(**FULL).to_spec(), pinned="shop/checkout@sha256:" + "b" * 64)
    merged = merge(base, read(image="shop/checkout:3"))
    assert merged == replace(base, image="shop/checkout:3", pinned="")


def test_given_fields_replace_whole_fields() -> None:
    merged = merge(read(**FULL).to_spec(), read(image="a", env={"NEW": "1"}))
    assert merged.env == (("NEW", "1"),)
    assert merged.volumes == ("data:/var/lib/data:ro", "/srv:/srv")


def test_merge_refuses_a_health_check_whose_port_is_gone() -> None:
    base = read(**FULL).to_spec()
    with pytest.raises(ValueError, match=r"health\.port names no port"):
        merge(base, read(image="a", ports={"web": 80}))
