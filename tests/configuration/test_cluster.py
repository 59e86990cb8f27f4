"""Stream, targets, plugins and the rest: defaults, derivations, contradictions; and the file of the documentation."""

# ruff: noqa: E501 - a message is one line, as its reader sees it

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from autoscaler.configuration import load
from autoscaler.configuration.explain import show
from autoscaler.configuration.option_check import Complaint
from autoscaler.configuration.schema import configuration_schema
from autoscaler.configuration.settings import StreamSecurity, StreamSettings
from autoscaler.configuration.starter import write_starter
from autoscaler.core.amount import Amount
from autoscaler.core.settings import FreezeWindow, StepLimit
from autoscaler.errors import ConfigurationError
from tests.configuration.builders import SMALL, a_service, loaded, problems, written

EXAMPLE = """\
cluster: shop
include: [services/*.yaml]
stream:
  kind: kafka
  brokers: ["127.0.0.1:9092"]
  prefix: autoscaler
  partitions: 12
  replication: auto
  member: auto
  session_timeout: 30s
  security: {protocol: SASL_SSL, mechanism: SCRAM-SHA-512, username: a, password_file: kafka, ca_file: ca.pem}
http: {listen: "127.0.0.1:9180"}
registries: [{host: registry.example, username: ci, password_file: registry}]
targets:
  edge:
    kind: docker
    hosts:
      - {name: h1, url: "unix:///var/run/docker.sock", labels: {zone: a}}
      - {name: h2, url: "tcp://h2:2376", address: h2.internal, tls: {ca_file: ca.pem, cert_file: c.pem, key_file: k.pem}, labels: {zone: b}}
metrics:
  prometheus:
    - {url: "http://127.0.0.1:9090", every: 5s, queries: {checkout: {requests_per_second: 'sum(rate(http_requests_total{app="checkout"}[30s]))'}}}
plugins: [./mine.py]
services:
  checkout:
    target: edge
    replicas: {min: 0, max: 40, initial: 1}
    policies:
      - {use: target_value, with: {metric: requests_per_second, per_replica: 50, tolerance: 10%}}
      - {use: error_rate, with: {metric: error_ratio, above: 0.05, for: 30s}}
    scaling: {down_window: 5m, up_window: 0s, up_cooldown: 0s, down_cooldown: 0s, idle: 15m, max_age: 60s, combine: max}
    guards: {max_step_up: {by: 10, per: 1m}, max_step_down: {by: 25%, per: 1m}, freeze: ["Fri 17:00-Mon 07:00 Europe/Berlin"]}
    update: {strategy: rolling, order: auto, max_surge: 25%, max_unavailable: 0, min_healthy: 10s, deadline: 5m, soak: 5m, rollback: true}
    placement: {spread: [zone, host]}
    images: ["shop/*"]
    commands: []
    event_env: []
    revision:
      image: shop/checkout:2.4.0
      env: {MODE: prod}
      ports: {http: 8080}
      resources: {cpu: 500m, memory: 256Mi}
      health: {http: /healthz, port: http, every: 1s, timeout: 1s, failures: 3, start: 10s}
      stop: {signal: TERM, grace: 10s}
"""


def example(directory: Path) -> Path:
    for name in ("kafka", "registry", "ca.pem", "c.pem", "k.pem", "mine.py"):
        written(directory, "", name)
    written(directory, "services: {cart: {target: edge, images: [shop/cart]}}\n", "services/cart.yaml")
    return written(directory, EXAMPLE)


def test_the_example_of_the_documentation_loads(tmp_path: Path) -> None:
    configuration = load(example(tmp_path), {}).configuration
    assert sorted(configuration.services) == ["cart", "checkout"]
    assert configuration.stream == StreamSettings(
        kind="kafka",
        brokers=("127.0.0.1:9092",),
        security=StreamSecurity(
            protocol="SASL_SSL",
            mechanism="SCRAM-SHA-512",
            username="a",
            password_file=tmp_path / "kafka",
            ca_file=tmp_path / "ca.pem",
        ),
    )
    edge = configuration.targets["edge"]
    assert [(host.address, host.bind) for host in edge.hosts] == [
        ("127.0.0.1", "127.0.0.1"),
        ("h2.internal", "0.0.0.0"),
    ]
    checkout = configuration.services["checkout"]
    assert checkout.guards.max_step_down == StepLimit(by=Amount(percent=25), per_s=60.0)
    assert checkout.guards.freeze == (FreezeWindow(6780, 420, "Europe/Berlin", "Fri 17:00-Mon 07:00 Europe/Berlin"),)
    assert checkout.policies[0].options["tolerance"] == "10%"
    assert configuration.plugins == (str(tmp_path / "mine.py"),)


def test_the_schema_accepts_the_example_and_refuses_an_unknown_key() -> None:
    validator = jsonschema.Draft202012Validator(configuration_schema())
    tree = yaml.safe_load(EXAMPLE)
    assert list(validator.iter_errors(tree)) == []
    tree["services"]["checkout"]["replica"] = {}
    assert [list(error.path) for error in validator.iter_errors(tree)] == [["services", "checkout"]]


LAG = "metrics: {kafka: [{group: g, topics: [t, u], service: web, every: 2m%s}]}\n"


def test_a_group_is_asked_for_at_the_brokers_of_the_stream_unless_it_names_others(tmp_path: Path) -> None:
    stream = "stream: {brokers: ['a:1'], security: {ca_file: pw}}\n"
    written(tmp_path, "", "pw")
    (of_stream,) = load(written(tmp_path, SMALL + stream + LAG % ""), {}).configuration.kafka_lags
    assert (of_stream.brokers.brokers, of_stream.brokers.security.protocol) == (("a:1",), "SSL")
    more = ", brokers: ['b:2'], name: jobs, offset_reset: earliest, exclude_persistent_lag: 1m"
    (own,) = load(written(tmp_path, SMALL + stream + LAG % more), {}).configuration.kafka_lags
    assert (own.brokers.brokers, own.brokers.security.protocol) == (("b:2",), "PLAINTEXT")
    assert (own.group, own.topics, own.name, own.persistent_s) == ("g", ("t", "u"), "jobs", 60.0)
    assert any("shorter than the metric's period 2m" in each for each in warnings(tmp_path, SMALL + stream + LAG % ""))


STREAMS = {
    "nothing": ("{}", ("embedded", "autoscaler.db", "PLAINTEXT")),
    "a path": ("{path: ./shop.db}", ("embedded", "shop.db", "PLAINTEXT")),
    "brokers": ("{brokers: ['a:1']}", ("kafka", None, "PLAINTEXT")),
    "a username": ("{brokers: ['a:1'], security: {username: u, password_file: pw}}", ("kafka", None, "SASL_SSL")),
    "a ca": ("{brokers: ['a:1'], security: {ca_file: pw}}", ("kafka", None, "SSL")),
}


@pytest.mark.parametrize("case", STREAMS)
def test_the_stream_s_kind_and_protocol_follow_from_what_is_given(case: str, tmp_path: Path) -> None:
    text, (kind, path, protocol) = STREAMS[case]
    written(tmp_path, "", "pw")
    stream = loaded(tmp_path, f"{SMALL}stream: {text}\n").configuration.stream
    assert (stream.kind, stream.path, stream.security.protocol) == (kind, tmp_path / path if path else None, protocol)


WRONG_PARTS = {
    "stream: {brokers: ['a:1'], security: {cert_file: autoscaler.yaml}}": (
        "stream.security.key_file: is missing beside cert_file. Give both or neither."
    ),
    "stream: {brokers: ['a:1'], security: {protocol: PLAINTEXT, username: u}}": (
        "stream.security.username: has no meaning with PLAINTEXT. Remove it, or use SASL_SSL."
    ),
    "stream: {session_timeout: 1s}": "stream.session_timeout: is not between 6s and 30m. Write it as 30s.",
    "stream: {partitions: 0}": "stream.partitions: is below the least value allowed, 1. Raise it.",
    "http: {cert_file: autoscaler.yaml}": "http.key_file: is missing beside cert_file. Give both or neither.",
    "plugins: [{trusted: true}]": (
        "plugins[0]: must have either path or name. Write {path: ./mine.py} or {name: mine}."
    ),
    "plugins: [./none.py]": "plugins[0]: the file does not exist. Correct the path or the file's permissions.",
    "plugins: [a, a]": "plugins[1]: is listed twice. Keep one of them.",
}


@pytest.mark.parametrize("text", WRONG_PARTS)
def test_contradictions_of_a_part_are_said(text: str, tmp_path: Path) -> None:
    assert problems(tmp_path, f"{SMALL}{text}\n") == [f"autoscaler.yaml:8 {WRONG_PARTS[text]}"]


HOSTS = {
    "[]": 'hosts: is missing. Add {name: h1, url: "unix:///var/run/docker.sock"}.',
    "[{name: h, url: 'tcp://h'}]": "hosts[0].url: has no host or no port. Write it as tcp://h2:2376.",
    "[{name: h, url: 'unix:///s', tls: {ca_file: f, cert_file: f, key_file: f}}]": (
        "hosts[0].tls: has no meaning for unix://. Remove it, or use tcp://."
    ),
    "[{name: h, url: 'unix:///s'}, {name: h, url: 'unix:///t'}]": (
        "hosts[1].name: is listed twice in this target. Keep one of them."
    ),
    "[{name: h, url: 'ssh://me:pw@h'}]": "hosts[0].url: holds a password. Take it out of the URL.",
    "[{name: h, url: 'h:2376'}]": (
        "hosts[0].url: not a URL of the kind unix, tcp, ssh. Write it as unix:///var/run/docker.sock or tcp://h2:2376."
    ),
}


@pytest.mark.parametrize("hosts", HOSTS)
def test_contradictions_of_a_host_are_said(hosts: str, tmp_path: Path) -> None:
    written(tmp_path, "", "f")
    text = f"cluster: a\ntargets: {{e: {{kind: docker, hosts: {hosts}}}}}\n"
    assert problems(tmp_path, text) == [f"autoscaler.yaml:2 targets.e.{HOSTS[hosts]}"]


def test_images_are_pruned_where_a_pool_says_how_often(tmp_path: Path) -> None:
    text = "cluster: a\ntargets:\n  e: {kind: docker, hosts: [{name: h, url: 'unix:///s'}]%s}\n"
    found = loaded(tmp_path, text.replace("%s", ", prune: 1h")).configuration
    assert found.targets["e"].prune_s == 3600.0
    assert loaded(tmp_path, text.replace("%s", "")).configuration.targets["e"].prune_s is None, "never unless asked"
    assert problems(tmp_path, "cluster: a\ntargets:\n  l: {kind: process, prune: 1h}\n") == [
        "autoscaler.yaml:3 targets.l.prune: has no meaning for processes. Remove it, or use kind: docker."
    ]


def test_two_routes_on_one_address_are_refused(tmp_path: Path) -> None:
    text = a_service("route: {listen: '127.0.0.1:9180'}", "http: {}")
    assert problems(tmp_path, text) == [
        (
            "autoscaler.yaml:5 services.web.route.listen: 127.0.0.1:9180 is taken by http already."
            " Give it a port of its own."
        )
    ]


def warnings(directory: Path, text: str) -> list[str]:
    return [str(w).replace(f"{directory}/", "").partition(" ")[2] for w in loaded(directory, text).warnings]


def test_consequences_are_warnings(tmp_path: Path) -> None:
    text = """\
cluster: a
targets:
  e:
    kind: docker
    hosts:
      - {name: h, url: "tcp://10.0.0.1:2375", capacity: {cpu: 4, memory: 8Gi}}
      - {name: l, url: "tcp://127.0.0.1:2375", capacity: {cpu: 4, memory: 8Gi}}
      - {name: s, url: "ssh://me@h", capacity: {cpu: 4, memory: 8Gi}}
metrics:
  prometheus: [{url: "http://p:9090", every: 2m, queries: {w: {m: up}}}]
services:
  w:
    target: e
    replicas: {max: 20}
    scaling: {down_window: 1m}
    update: {soak: 0}
    images: [shop/web]
    revision: {image: "shop/web:1", resources: {cpu: 1500m}}
  x: {target: e}
"""
    assert warnings(tmp_path, text) == [
        "services.w.policies: no policy, so only commands change the number of replicas. Add one, such as target_value.",
        "services.w.replicas.max: 20 is out of reach: the hosts' cpu allow 6. Lower max or add hosts.",
        "services.w.revision.health: no health check, so a replica that runs counts as healthy. Add one.",
        "services.w.scaling.down_window: 1m is shorter than the metric's period 2m. Raise the window or poll more often.",
        "services.w.scaling.max_age: 1m is shorter than the metric's period 2m: mostly unknown. Raise max_age or poll more often.",
        "services.w.update.soak: 0s, so a fault that shows after the update is not rolled back. Give it some minutes.",
        'services.x.images: empty, so no deployment event may bring an image. Add patterns such as "shop/*".',
        "services.x.policies: no policy, so only commands change the number of replicas. Add one, such as target_value.",
        "targets.e.hosts[0].url: a plain tcp engine: whoever reaches it owns the host. Add tls: or use ssh://.",
    ]


def test_metric_that_no_query_sends_is_a_warning_where_the_service_is_polled(tmp_path: Path) -> None:
    policies = [
        f"{{use: target_value, name: {metric}, with: {{metric: {metric}, per_replica: 5}}}}"
        for metric in ("rps", "rp", "load", "cpu_cores")
    ]
    revision = "{command: [a], ports: {http: 80}, health: {http: /, port: http}}"
    body = f"{{target: local, revision: {revision}, policies: [{', '.join(policies)}]}}"
    text = f"""\
cluster: a
targets: {{local: {{kind: process}}}}
metrics:
  prometheus: [{{url: "http://p:9090", every: 5s, queries: {{polled: {{rps: up}}}}}}]
services:
  polled: {body}
  other: {body}
"""
    near, far = warnings(tmp_path, text)
    place, unsent = "services.polled.policies", "for polled: unknown unless another source does."
    assert near == f'{place}[1].with.metric: no query sends rp {unsent} Did you mean "rps"?'
    assert far == f"{place}[2].with.metric: no query sends load {unsent} Add the query under metrics.prometheus."


def test_each_value_is_shown_with_its_origin(tmp_path: Path) -> None:
    path = written(tmp_path, a_service("replicas: {max: 4}, update: {rollback: false}"))
    shown = show(load(path, {"AUTOSCALER_STREAM__BROKERS": "a:1,b:2"}))
    rows = {row["path"]: (row["value"], row["origin"]) for row in shown["settings"]}
    assert rows["cluster"] == ("shop", f"{path}:1")
    assert rows["stream.brokers"] == (["a:1", "b:2"], "environment AUTOSCALER_STREAM__BROKERS")
    assert rows["stream.partitions"] == (12, "default")
    (service,) = shown["services"]
    assert service["names"] == ["web"]
    rows = {row["path"]: (row["value"], row["origin"]) for row in service["settings"]}
    assert rows["replicas.max"] == (4, f"{path}:5")
    assert rows["replicas.min"] == (0, "default")
    assert rows["update.on_failure"] == ("hold", f"{path}:5")


def test_a_template_s_value_is_shown_with_the_template_s_line(tmp_path: Path) -> None:
    text = a_service("template: t", "templates:\n  t: {replicas: {max: 4}}")
    (service,) = show(loaded(tmp_path, text))["services"]
    rows = {row["path"]: row["origin"] for row in service["settings"]}
    assert rows["replicas.max"] == f"{tmp_path}/autoscaler.yaml:4"


def test_the_digest_changes_with_the_content_alone(tmp_path: Path) -> None:
    first = loaded(tmp_path, SMALL).configuration.digest
    assert loaded(tmp_path, "# a comment\n" + SMALL).configuration.digest == first
    assert loaded(tmp_path, SMALL.replace("per_replica: 5", "per_replica: 6")).configuration.digest != first


def test_the_plugin_host_may_change_options_and_refuse_them(tmp_path: Path) -> None:
    asked: list[str] = []

    def validate(use: str, options: Mapping[str, object], hook: str) -> tuple[Mapping[str, object], list[Complaint]]:
        asked.append(use)
        assert hook == "propose"
        return {**options, "seen": True}, [("per_replica", "must be positive; raise it")] if options.get("bad") else []

    path = written(tmp_path, SMALL + "templates: {t: {target: local, names: ['a-[0-99]'], policies: [{use: p}]}}\n")
    services = load(path, {}, validate_options=validate).configuration.services
    assert sorted(asked) == ["p", "target_value"]
    assert services["web"].policies[0].options == {"metric": "m", "per_replica": 5, "seen": True}
    assert services["a-1"] is services["a-2"]

    path = written(tmp_path, a_service("policies: [{use: p, with: {bad: 1, per_replica: 0}}]"))
    with pytest.raises(ConfigurationError) as caught:
        load(path, {}, validate_options=validate)
    expected = "autoscaler.yaml:5 services.web.policies[0].with.per_replica: must be positive. Raise it."
    assert str(caught.value) == f"{tmp_path}/{expected}"


def test_shadows_stand_apart_and_their_options_are_checked_at_their_place(tmp_path: Path) -> None:
    def validate(
        use: str, options: Mapping[str, object], hook: str
    ) -> tuple[Mapping[str, object], list[tuple[str, str]]]:
        return options, [("per_replica", "must be positive; raise it")] if options.get("bad") else []

    three = "{use: s, shadow: true}, {use: p}, {use: p, name: q, shadow: true, with: {bad: BAD}}"
    good = written(tmp_path, a_service(f"policies: [{three.replace('BAD', 'false')}]"))
    web = load(good, {}, validate_options=validate).configuration.services["web"]
    assert [use.label for use in web.policies] == ["p"]
    assert [(use.label, use.shadow) for use in web.shadows] == [("s", True), ("q", True)]
    (shown,) = show(load(good, {}))["services"]
    rows = {row["path"]: row["value"] for row in shown["settings"]}
    assert [rows[f"policies[{place}].use"] for place in range(3)] == ["s", "p", "p"]
    assert [rows[f"policies[{place}].shadow"] for place in range(3)] == [True, False, True]

    path = written(tmp_path, a_service(f"policies: [{three.replace('BAD', 'true')}]"))
    with pytest.raises(ConfigurationError, match=r"policies\[2\].with\S* .*must be positive"):
        load(path, {}, validate_options=validate)


def test_the_starter_s_files_are_valid_and_never_written_over(tmp_path: Path) -> None:
    paths = write_starter(tmp_path / "new")
    assert [path.name for path in paths] == ["autoscaler.yaml", "my_policy.py"]
    result = load(paths[0], {})
    assert result.warnings == ()
    assert len(paths[1].read_text().splitlines()) <= 15
    compile(paths[1].read_text(), "my_policy.py", "exec")
    paths[1].unlink()
    with pytest.raises(ConfigurationError, match="is there already"):
        write_starter(tmp_path / "new")
    assert not paths[1].exists()
