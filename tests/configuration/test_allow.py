"""`check` names each field that would take a container out of its isolation, and what to write to allow it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.configuration.builders import loaded, problems

FILE = """\
cluster: shop
targets: {{edge: {{kind: docker, hosts: [{{name: h1, url: "unix:///run/e.sock"}}]}}}}
services:
  web:
    target: edge
    images: ["shop/*"]
    revision: {{image: shop/web:1, health: {{tcp: true}}, ports: {{http: 8080}}, {fields}}}
    allow: {{{allow}}}
"""

ENTRIES = [
    ("privileged: true", "privileged: true", "privileged"),
    ("cap_add: [CAP_SYS_ADMIN]", "capabilities: [SYS_ADMIN]", "cap_add[0]"),
    ("devices: [/dev/fuse]", "devices: [/dev/fuse]", "devices[0]"),
    ("pid: host", "namespaces: [pid]", "pid"),
    ("ipc: host", "namespaces: [ipc]", "ipc"),
    ('volumes: ["/srv:/srv"]', 'mounts: ["/srv"]', "volumes[0]"),
    ('volumes: ["/run/docker.sock:/run/docker.sock:ro"]', "engine_socket: true", "volumes[0]"),
]


@pytest.mark.parametrize(("fields", "allow", "place"), ENTRIES)
def test_denied_field_is_named_with_the_words_that_allow_it(
    tmp_path: Path, fields: str, allow: str, place: str
) -> None:
    (said,) = problems(tmp_path, FILE.format(fields=fields, allow=""))
    assert f"services.web.revision.{place}" in said
    assert f"Remove it, or write allow: {{{allow}}}." in said
    assert problems(tmp_path, FILE.format(fields=fields, allow=allow)) == []


def test_ports_on_the_hosts_network_are_the_hosts_own(tmp_path: Path) -> None:
    (said,) = problems(tmp_path, FILE.format(fields="networks: [host]", allow="namespaces: [network]"))
    assert "services.web.revision.ports.http" in said
    assert "{container: 8080, host: 8080}" in said


def test_ceiling_is_held_against_the_configured_revision(tmp_path: Path) -> None:
    text = FILE.format(fields="resources: {cpu: 2, memory: 1Gi}", allow="cpu: 1, memory: 1Gi")
    (said,) = problems(tmp_path, text)
    assert "services.web.revision.resources.cpu" in said
    assert "2000m is above allow.cpu, 1000m" in said


@pytest.mark.parametrize(
    ("allow", "place"),
    [
        ("mounts: [srv]", "allow.mounts[0]"),
        ("devices: [fuse]", "allow.devices[0]"),
        ("namespaces: [user]", "allow.namespaces[0]"),
        ("privilegd: true", "allow.privilegd"),
    ],
)
def test_permission_that_means_nothing_is_refused(tmp_path: Path, allow: str, place: str) -> None:
    (said,) = problems(tmp_path, FILE.format(fields="user: app", allow=allow))
    assert place in said


def test_permissions_may_stand_in_the_defaults_and_are_one_object_for_all_who_share_them(tmp_path: Path) -> None:
    text = """\
cluster: shop
targets: {edge: {kind: docker, hosts: [{name: h1, url: "unix:///run/e.sock"}]}}
defaults: {target: edge, images: ["**"], allow: {mounts: ["/srv:ro"]}}
services: {a: {replicas: {max: 2}}, b: {replicas: {max: 3}}}
"""
    services = loaded(tmp_path, text).configuration.services
    assert services["a"].allow.mounts == ("/srv:ro",)
    assert services["a"].allow is services["b"].allow


def test_the_page_for_users_shows_a_valid_service(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "what-may-run.md").read_text()
    block, pool = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "db").write_text("x")
    head = 'cluster: shop\ntargets: {edge: {kind: docker, hosts: [{name: h1, url: "unix:///run/e.sock"}]}}\n'
    assert problems(tmp_path, head + block) == []
    assert problems(tmp_path, "cluster: shop\n" + pool) == []
