"""The `budgets:` of a file: what is wrong with them, what they may not be expected to do, and how they are shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autoscaler.configuration.explain import show
from autoscaler.configuration.schema import configuration_schema
from autoscaler.core.budgets import GIB, KINDS, Budget, Prices
from tests.configuration.builders import loaded, problems

SERVICES = """\
defaults:
  target: local
  policies: [{use: target_value, with: {metric: m, per_replica: 5}}]
services:
  web: {}
  job-a: {cost_per_hour: 0.05}
  job-b: {}
"""
AT = "autoscaler.yaml:4 budgets.all"


def a_file(budget: str, services: str = SERVICES, name: str = "all") -> str:
    return f"cluster: shop\ntargets: {{local: {{kind: process}}}}\nbudgets:\n  {name}: {{{budget}}}\n{services}"


MONEY = "not an amount of money from 0 up with at most six decimals. Write it as 0.12."

CASES = {
    "no limit": ("services: [web]", ": has no limit. Give at least one of replicas, cpu, memory, cost_per_hour."),
    "a pattern that matches nothing": (
        "services: ['cron-*'], replicas: 3",
        ".services[0]: matches no service of this configuration. Change the pattern, or take it out.",
    ),
    "no pattern": (
        "services: [web, 'job.*'], replicas: 3",
        ".services[1]: neither a service nor a pattern. Use the letters of names, and * for any of them.",
    ),
    "an unknown service": (
        "services: [wed], replicas: 3",
        '.services[0]: names no service of this configuration. Did you mean "web"?',
    ),
    "no services": ("services: [], replicas: 3", ".services: has fewer than 1 entries. Add some."),
    "decimals of money": ("cost_per_hour: 0.1234567, prices: {cpu: 1}", f".cost_per_hour: {MONEY}"),
    "negative money": ("replicas: 1, prices: {replica: -1}", f".prices.replica: {MONEY}"),
    "endless money": ("replicas: 1, prices: {replica: .inf}", f".prices.replica: {MONEY}"),
    "missing prices": (
        "cost_per_hour: 3",
        ".prices: is missing, and job-b and 1 more has no cost_per_hour. Give one of them.",
    ),
    "a limit below nothing": ("replicas: -1", ".replicas: is below the least value allowed, 0. Raise it."),
    "an unknown key": (
        "replicas: 3, disk: 4",
        ".disk: there is no such key. Known here: services, replicas, cpu, memory, cost_per_hour, prices.",
    ),
}


@pytest.mark.parametrize(("budget", "said"), CASES.values(), ids=CASES)
def test_what_is_wrong_is_said_with_a_remedy(tmp_path: Path, budget: str, said: str) -> None:
    assert problems(tmp_path, a_file(budget)) == [AT + said]


def test_a_name_that_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    remedy = "Use at most 63 of a-z, 0-9 and -, not at the start or end."
    assert problems(tmp_path, a_file("replicas: 3", name="All")) == [
        f"autoscaler.yaml:4 budgets.All: not a usable name for a budget. {remedy}"
    ]


def test_money_of_a_service_is_checked_as_well(tmp_path: Path) -> None:
    text = a_file("replicas: 3", SERVICES.replace("0.05", "five"))
    assert problems(tmp_path, text) == [f"autoscaler.yaml:10 services.job-a.cost_per_hour: {MONEY}"]


def test_a_service_that_is_not_valid_is_no_unknown_one(tmp_path: Path) -> None:
    (said,) = problems(tmp_path, a_file("services: [web], replicas: 3", SERVICES.replace("web: {}", "web: {mx: 1}")))
    assert "services.web.mx: there is no such key" in said


def test_a_budget_is_in_the_units_of_the_core(tmp_path: Path) -> None:
    text = a_file(
        "services: ['job-*', web], replicas: 3, cpu: 1500m, memory: 2Gi, cost_per_hour: 0.75,"
        " prices: {replica: 0.000001, cpu: 0.03, memory: '2'}"
    )
    configuration = loaded(tmp_path, text).configuration
    limits = (("replicas", 3), ("cpu", 1500), ("memory", 2 * GIB), ("cost_per_hour", 750_000))
    services = frozenset({"web", "job-a", "job-b"})
    assert dict(configuration.budgets) == {"all": Budget("all", services, limits, Prices(1, 30_000, 2_000_000))}
    assert configuration.services["job-a"].cost_per_hour == 50_000
    assert configuration.services["web"].cost_per_hour is None


def test_all_services_are_counted_where_none_is_named(tmp_path: Path) -> None:
    budget = loaded(tmp_path, a_file("replicas: 3")).configuration.budgets["all"]
    assert budget.services == {"web", "job-a", "job-b"}


def test_budgets_change_the_digest(tmp_path: Path) -> None:
    one, other = (loaded(tmp_path, a_file(f"replicas: {most}")).configuration.digest for most in (3, 4))
    assert one != other


def test_each_value_of_a_budget_is_shown_with_its_origin(tmp_path: Path) -> None:
    shown = show(loaded(tmp_path, a_file("services: ['job-*'], cpu: '2', cost_per_hour: 1.5, prices: {cpu: 0.3}")))
    rows = {row["path"]: (row["value"], Path(row["origin"]).name) for row in shown["settings"]}
    assert {path.removeprefix("budgets.all."): row for path, row in rows.items() if path.startswith("budgets.")} == {
        "services": (["job-a", "job-b"], "autoscaler.yaml:4"),
        "cpu": ("2000m", "autoscaler.yaml:4"),
        "cost_per_hour": (1.5, "autoscaler.yaml:4"),
        "prices.replica": (0.0, "default"),
        "prices.cpu": (0.3, "autoscaler.yaml:4"),
        "prices.memory": (0.0, "default"),
    }


def test_the_schema_has_budgets(tmp_path: Path) -> None:
    schema = configuration_schema()
    properties = schema["$defs"]["BudgetModel"]["properties"]
    assert list(properties) == ["services", "replicas", "cpu", "memory", "cost_per_hour", "prices"]
    assert properties["services"]["description"] == "Names; * stands for any characters."
    assert schema["properties"]["budgets"]["maxProperties"] == 1000
    assert "cost_per_hour" in schema["$defs"]["ServiceModel"]["properties"]


def warnings(directory: Path, budget: str, services: str) -> list[str]:
    """What is said of the budget, not of the services."""
    found = loaded(directory, a_file(budget, services)).warnings
    return [str(one).partition(" ")[2] for one in found if one.path.startswith("budgets.")]


RUNS = """\
templates:
  job: {replicas: {min: 1}, revision: {command: [a], resources: {cpu: 250m, memory: 1Gi}}}
defaults: {target: local, policies: [{use: target_value, with: {metric: m, per_replica: 5}}]}
services:
  web: {replicas: {min: 3}, revision: {command: [a], resources: {cpu: 500m}}}
  job-1: {template: job}
  job-2: {template: job, replicas: {max: 3}}
  late: {replicas: {min: 1}}
"""


def test_least_numbers_beyond_a_limit_are_a_warning(tmp_path: Path) -> None:
    budget = "replicas: 5, cpu: 1500m, memory: 2Gi, services: [web, 'job-*', late]"
    cpu, memory, replicas = warnings(tmp_path, budget, RUNS)
    end = "that replicas.min of its services takes in any case. Raise it or lower replicas.min."
    assert replicas == f"budgets.all.replicas: 5 is less than the 6 {end}"
    assert cpu == f"budgets.all.cpu: 1.5 cores is less than the 2 {end}"
    assert memory.startswith("budgets.all.memory: counts nothing of web, whose revision reserves none.")


def test_a_limit_with_room_for_the_least_numbers_is_none(tmp_path: Path) -> None:
    assert warnings(tmp_path, "replicas: 6, cpu: '2'", RUNS) == []


def test_services_that_reserve_none_of_what_is_limited_are_a_warning(tmp_path: Path) -> None:
    services = RUNS.replace("cpu: 250m, ", "")
    assert warnings(tmp_path, "cpu: '9', memory: 9Gi", services) == [
        (
            "budgets.all.cpu: counts nothing of job-1 and 1 more, whose revision reserves none."
            " Give revision.resources.cpu."
        ),
        "budgets.all.memory: counts nothing of web, whose revision reserves none. Give revision.resources.memory.",
    ]


def test_services_without_a_price_are_a_warning_unless_they_are_free(tmp_path: Path) -> None:
    budget = "cost_per_hour: 9, prices: {memory: 1}"
    assert warnings(tmp_path, budget, RUNS) == [
        (
            "budgets.all.cost_per_hour: counts nothing of web, whose replicas have no price."
            " Give cost_per_hour or prices.replica."
        )
    ]
    assert warnings(tmp_path, budget, RUNS.replace("web: {", "web: {cost_per_hour: 0, ")) == []


def test_the_example_of_the_documentation_is_valid(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()
    (block,) = [text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if text.startswith("budgets:")]
    text = "cluster: shop\ntargets: {local: {kind: process}}\ndefaults: {target: local}\n" + block + "  job-a: {}\n"
    configuration = loaded(tmp_path, text).configuration
    assert [sorted(budget.services) for budget in configuration.budgets.values()] == [
        ["job-a", "render", "web"],
        ["job-a"],
    ]
    assert [kind for kind, _ in configuration.budgets["shop"].limits] == list(KINDS)
