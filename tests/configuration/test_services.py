"""Defaults, templates, includes, and ten thousand services that cost what one costs."""

# ruff: noqa: E501 - a message is one line, as its reader sees it

from __future__ import annotations

import time
from pathlib import Path

import pytest

from autoscaler.configuration.services import expand
from tests.configuration.builders import loaded, problems, written

TEMPLATE = """\
cluster: shop
targets: {local: {kind: process}}
defaults:
  target: local
  replicas: {max: 7}
templates:
  web:
    names: ["web-[0000-9999]", api]
    replicas: {min: 2}
    revision: {command: [serve], env: {A: "1", B: "2"}}
services:
  solo: {}
  web-0007: {replicas: {max: 70}}
  shop: {template: web}
  cart: {template: web, revision: {env: {B: "3"}}}
"""


def test_ten_thousand_services_by_template_share_one_object_and_load_fast(tmp_path: Path) -> None:
    started = time.perf_counter()
    services = loaded(tmp_path, TEMPLATE).configuration.services
    assert time.perf_counter() - started < 1.0
    assert len(services) == 10_004
    assert len({id(settings) for settings in services.values()}) == 4
    assert services["api"] is services["web-9999"] is services["shop"]


def test_a_service_is_defaults_below_template_below_its_own_keys(tmp_path: Path) -> None:
    services = loaded(tmp_path, TEMPLATE).configuration.services
    bounds = {name: (services[name].bounds.min, services[name].bounds.max) for name in ("solo", "api", "web-0007")}
    assert bounds == {"solo": (0, 7), "api": (2, 7), "web-0007": (2, 70)}
    revision = services["cart"].revision
    assert revision is not None
    assert revision.env == (("A", "1"), ("B", "3"))


def test_ten_thousand_services_written_out_alike_share_one_object_too(tmp_path: Path) -> None:
    lines = "".join(f"  s{n}: {{template: web}}\n" for n in range(10_000))
    text = TEMPLATE.partition("services:")[0] + "services:\n" + lines
    services = loaded(tmp_path, text).configuration.services
    assert len({id(settings) for settings in services.values()}) == 1


def test_a_problem_of_a_template_is_said_once_and_at_the_template(tmp_path: Path) -> None:
    text = TEMPLATE.replace("replicas: {min: 2}", "replicas: {min: 2, maxx: 3}")
    assert problems(tmp_path, text) == [
        'autoscaler.yaml:9 templates.web.replicas.maxx: there is no such key. Did you mean "max"?'
    ]


def test_a_contradiction_between_template_and_service_is_said_at_the_key_that_was_laid_over(tmp_path: Path) -> None:
    text = TEMPLATE.replace("{replicas: {max: 70}}", "{replicas: {max: 1}}")
    assert problems(tmp_path, text) == [
        "autoscaler.yaml:13 services.web-0007.replicas.max: 1 is below min 2. Raise max or lower min."
    ]


def test_included_files_add_services_and_templates(tmp_path: Path) -> None:
    written(tmp_path, "services: {b: {target: l}}\ntemplates: {t: {target: l, names: [c]}}\n", "more/b.yaml")
    text = "cluster: a\ninclude: ['more/*.yaml']\ntargets: {l: {kind: process}}\nservices: {a: {template: t}}\n"
    assert sorted(loaded(tmp_path, text).configuration.services) == ["a", "b", "c"]


def test_problems_of_included_files_name_that_file(tmp_path: Path) -> None:
    written(tmp_path, "services:\n  a: {target: l}\n  b: {target: l, max: 3}\ncluster: b\n", "more/b.yaml")
    text = "cluster: a\ninclude: ['more/*.yaml']\ntargets: {l: {kind: process}}\nservices: {a: {target: l}}\n"
    assert problems(tmp_path, text) == [
        (
            "more/b.yaml:4 cluster: an included file holds `services` and `templates` only."
            " Known here: templates, services."
        ),
        "more/b.yaml:2 services.a: written twice, first at autoscaler.yaml:4. Keep one of them.",
        (
            "more/b.yaml:3 services.b.max: there is no such key. Known here: target, priority, cost_per_hour, replicas, policies,"
            " scaling, signals, overrides, guards, update, placement, images, commands, event_env, allow, revision, route."
        ),
    ]


def test_an_included_file_may_be_larger_than_the_main_one(tmp_path: Path) -> None:
    lines = "".join(
        f"  service-with-a-long-name-{n:05}: {{target: l, replicas: {{max: {n % 7 + 1}}}}}\n" for n in range(3)
    )
    written(tmp_path, "services:\n" + lines + "# " + "x" * (2 << 20), "more.yaml")
    text = "cluster: a\ninclude: [more.yaml]\ntargets: {l: {kind: process}}\n"
    assert len(loaded(tmp_path, text).configuration.services) == 3
    assert "is larger than 1048576 bytes" in problems(tmp_path, "cluster: a\n# " + "x" * (1 << 20))[0]


def test_a_name_may_be_in_one_template_only(tmp_path: Path) -> None:
    text = "cluster: a\ntargets: {l: {kind: process}}\ntemplates:\n  t: {target: l, names: [a]}\n  u: {target: l, names: [a]}\n"
    assert problems(tmp_path, text) == [
        "autoscaler.yaml:5 templates.u.names[0]: a is named by template t too. Keep it in one of them."
    ]


def test_a_range_counts_as_wide_as_it_is_written() -> None:
    assert list(expand("a-[08-11]")) == ["a-08", "a-09", "a-10", "a-11"]
    assert list(expand("[1-2]x[0-1]")) == ["1x0", "1x1", "2x0", "2x1"]
    assert list(expand("plain")) == ["plain"]


@pytest.mark.parametrize("pattern", ["a-[3-1]", "a-[1-", "a]", "[a-b]", "[0-999999]", "[0-9999][0-9999]"])
def test_a_bad_range_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="; "):
        list(expand(pattern))
