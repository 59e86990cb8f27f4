"""Routers and routes: what is taken as it is written, and what is said of what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.configuration import load
from autoscaler.core.settings import Route
from autoscaler.errors import ConfigurationError

HEAD = """
cluster: shop
targets: {here: {kind: process}}
routers:
  edge: {kind: haproxy, socket: /run/haproxy/admin.sock}
  own: {kind: haproxy}
defaults: {target: here, revision: {command: [serve], ports: {http: 80, admin: 81}}}
services:
"""


def written(tmp_path: Path, services: str, head: str = HEAD) -> Path:
    path = tmp_path / "autoscaler.yaml"
    path.write_text(head + services)
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})
    return [f"{each.path}: {each.what}. {each.remedy}" for each in caught.value.problems]


def test_routes_of_all_three_kinds(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
  inside: {route: {listen: "127.0.0.1:8080", port: http, hold: 0}}
  edged: {route: {router: edge, port: http, backend: shop_edged}}
  owned: {route: {router: own, listen: "0.0.0.0:80", port: http, hold: 7, hold_for: 5s}}
""",
    )
    configuration = load(path, {}).configuration
    routes = {name: settings.route for name, settings in configuration.services.items()}
    assert routes == {
        "inside": Route("127.0.0.1:8080", "http", hold=0),
        "edged": Route("", "http", "edge", "shop_edged", 100, 30.0),
        "owned": Route("0.0.0.0:80", "http", "own", "", 7, 5.0),
    }
    edge, own = configuration.routers["edge"], configuration.routers["own"]
    assert (edge.socket, edge.dir) == ("/run/haproxy/admin.sock", None)
    assert (own.socket, own.dir, own.program) == ("", tmp_path / ".autoscaler/own", "haproxy")


NO_LISTEN = 'listen: is missing. Write it as "0.0.0.0:8080".'
SAYS_WHERE = "Its own configuration says where. Remove it."
BELONGS = "belongs to a HAProxy that runs already. Remove it, or give its router a socket."


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("{router: egde, port: http}", [NO_LISTEN, 'router: names no router of this file. Did you mean "edge"?']),
        (
            '{router: edge, port: http, listen: "127.0.0.1:80"}',
            [f"listen: has no meaning for a HAProxy that runs already. {SAYS_WHERE}"],
        ),
        ("{router: own, port: http}", [NO_LISTEN]),
        ('{listen: "127.0.0.1:80", port: http, backend: b}', [f"backend: {BELONGS}"]),
        (
            '{listen: "127.0.0.1:80"}',
            ["port: is missing, and the revision has several ports. Name one of admin, http."],
        ),
    ],
)
def test_what_contradicts_itself_is_said_with_its_remedy(tmp_path: Path, route: str, said: list[str]) -> None:
    found = problems(written(tmp_path, f"  web: {{route: {route}}}\n"))
    assert found == [f"services.web.route.{each}" for each in said]


def test_two_services_share_neither_an_address_nor_a_backend(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
  a: {route: {router: edge, port: http, backend: shared}}
  b: {route: {router: edge, port: http, backend: shared}}
  c: {route: {router: own, listen: "0.0.0.0:80", port: http}}
  d: {route: {listen: "0.0.0.0:80", port: http}}
""",
    )
    assert problems(path) == [
        "services.b.route.backend: is the backend of services.a already. Give it a backend of its own.",
        "services.d.route.listen: 0.0.0.0:80 is taken by services.c already. Give it a port of its own.",
    ]


def test_a_router_is_either_somebody_elses_or_ours(tmp_path: Path) -> None:
    head = """
cluster: shop
routers:
  a: {kind: haproxy, socket: "127.0.0.1:9999", dir: x}
  b: {kind: haproxy, socket: "127.0.0.1:9999"}
"""
    assert problems(written(tmp_path, "", head)) == [
        "routers.a.dir: has no meaning beside socket, which is of a HAProxy that runs already. Keep one of them.",
        "routers.b: is the same HAProxy as another router. Keep one of them.",
    ]
