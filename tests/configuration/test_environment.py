"""The environment over the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.configuration.builders import SMALL, loaded, problems


@pytest.mark.parametrize("text", ["a:1,b:2", " a:1 , b:2,", '["a:1", "b:2"]'])
def test_a_list_is_json_or_commas(text: str, tmp_path: Path) -> None:
    stream = loaded(tmp_path, SMALL, {"AUTOSCALER_STREAM__BROKERS": text}).configuration.stream
    assert (stream.kind, stream.brokers) == ("kafka", ("a:1", "b:2"))


def test_an_override_wins_over_the_file_and_creates_what_is_not_there(tmp_path: Path) -> None:
    environ = {"AUTOSCALER_CLUSTER": "other", "AUTOSCALER_HTTP__LISTEN": "0.0.0.0:80"}
    configuration = loaded(tmp_path, SMALL, environ).configuration
    assert configuration.cluster == "other"
    assert configuration.http is not None
    assert (configuration.http.host, configuration.http.port) == ("0.0.0.0", 80)


def test_a_service_with_dashes_is_reached_by_underscores(tmp_path: Path) -> None:
    text = SMALL.replace("web:", "web-api:")
    environ = {"AUTOSCALER_SERVICES__WEB_API__REPLICAS__MAX": "33"}
    assert loaded(tmp_path, text, environ).configuration.services["web-api"].bounds.max == 33


def test_one_service_of_a_template_is_reached_too(tmp_path: Path) -> None:
    text = "cluster: a\ntargets: {l: {kind: process}}\ntemplates: {web: {names: ['w-[0-9]'], target: l}}\n"
    services = loaded(tmp_path, text, {"AUTOSCALER_SERVICES__W_3__REPLICAS__MAX": "33"}).configuration.services
    assert [services[f"w-{n}"].bounds.max for n in (2, 3, 4)] == [10, 33, 10]


def test_defaults_are_reached(tmp_path: Path) -> None:
    environ = {"AUTOSCALER_DEFAULTS__UPDATE": '{"soak": "1m", "monitor": "10s"}'}
    assert loaded(tmp_path, SMALL, environ).configuration.services["web"].update.soak_s == 60


RESERVED = [
    "AUTOSCALER_CONFIG",
    "AUTOSCALER_REQUIRE",
    "AUTOSCALER_TEST_KAFKA",
    "AUTOSCALER_FAILPOINT",
    "AUTOSCALER_EXTRA_PLUGINS",
    "AUTOSCALER_PORT",
    "AUTOSCALER_PORT_9180_TCP_ADDR",
    "AUTOSCALER_SERVICE_HOST",
    "AUTOSCALER_SERVICE_PORT_HTTP",
    "AUTOSCALER_WEB_SERVICE_HOST",
    "AUTOSCALER_WEB_PORT_80_TCP",
    "OTHER_THING",
]


@pytest.mark.parametrize("name", RESERVED)
def test_names_that_are_not_for_the_file_are_left_alone(name: str, tmp_path: Path) -> None:
    assert problems(tmp_path, SMALL, {name: "tcp://10.0.0.1:80"}) == []


CASES = {
    ("AUTOSCALER_STREAM__BROKRES", "a:1"): (
        "AUTOSCALER_STREAM__BROKRES: names no key of the configuration. Did you mean AUTOSCALER_STREAM__BROKERS?"
    ),
    ("AUTOSCALER_CLUSTRE", "a"): (
        "AUTOSCALER_CLUSTRE: names no key of the configuration. Did you mean AUTOSCALER_CLUSTER?"
    ),
    ("AUTOSCALER_STREAM__", "a"): (
        "AUTOSCALER_STREAM__: names no key of the configuration. Known here: kind, brokers, path, prefix, partitions,"
        " replication, member, session_timeout, security."
    ),
    ("AUTOSCALER_STREAM__PARTITIONS", "many"): (
        "stream.partitions: must be a whole number (set by AUTOSCALER_STREAM__PARTITIONS)."
        " Write it as 3: no quotes, no point, no zero in front."
    ),
    ("AUTOSCALER_STREAM__BROKERS", "[1"): (
        'stream.brokers: is not valid JSON (set by AUTOSCALER_STREAM__BROKERS). Write ["a", "b"] or {"key": "value"}.'
    ),
    ("AUTOSCALER_SERVICES__WEB__REPLICAS", '{"min": 1, "min": 2}'): (
        "services.web.replicas: is not valid JSON (set by AUTOSCALER_SERVICES__WEB__REPLICAS)."
        ' Write ["a", "b"] or {"key": "value"}.'
    ),
    ("AUTOSCALER_CLUSTER", ""): (
        "cluster: not a usable name (set by AUTOSCALER_CLUSTER)."
        " Use at most 63 of a-z, 0-9 and -, not at the start or end."
    ),
}


@pytest.mark.parametrize(("name", "value"), CASES, ids=[name for name, _ in CASES])
def test_a_wrong_override_is_named_by_its_variable(name: str, value: str, tmp_path: Path) -> None:
    assert problems(tmp_path, SMALL, {name: value}) == [CASES[name, value]]
