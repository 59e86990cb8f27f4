"""What commands say of budgets: who is short of what, and what stands against one replica more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.cli.budgets_shown import (
    against_growth,
    books_of,
    budget_document,
    budget_notes,
    budget_rows,
    budgeted_with,
    demand_text,
    standing_document,
    standing_rows,
)
from autoscaler.configuration.settings import Configuration
from autoscaler.core.books import Book
from autoscaler.core.revision import Resources
from autoscaler.core.state import ServiceState
from tests.cli.instance import Project, eventually
from tests.configuration.builders import loaded
from tests.core.builders import a_revision, a_spec

TEXT = """\
cluster: shop
targets: {here: {kind: process}}
budgets:
  all: {replicas: 6, cpu: "4", memory: 3Gi, cost_per_hour: 1.5, prices: {cpu: 0.3}}
  jobs: {services: ["job*"], replicas: 20}
defaults: {target: here, policies: [{use: target_value, with: {metric: load, per_replica: 10}}]}
services:
  web: {priority: 80, replicas: {min: 1, max: 9}}
  job: {priority: 20, replicas: {min: 0, max: 9}}
  job-b: {priority: 20, replicas: {min: 0, max: 9}}
"""


def a_state(service: str, demand: int, asked: int | None = None, *, cpu_millis: int = 500) -> ServiceState:
    """A service at rest on one revision."""
    spec = a_spec(resources=Resources(cpu_millis, 256 << 20))
    revisions = (a_revision(1, spec=spec),)
    return ServiceState(service, demand=demand, asked=asked, revision=1, revisions=revisions)


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return loaded(tmp_path, TEXT).configuration


def books(configuration: Configuration, *states: ServiceState, of: str | None = None) -> list[Book]:
    return books_of(configuration, {state.service: state for state in states}, of)


WEB, JOB, JOB_B = a_state("web", 4), a_state("job", 2, 5, cpu_millis=250), a_state("job-b", 0, cpu_millis=250)


def test_a_demand_is_shown_beside_what_is_asked_for_where_that_is_more() -> None:
    assert [demand_text(a_state("web", 12)), demand_text(a_state("web", 12, 15))] == ["12", "12 of 15"]


def test_each_limited_kind_is_a_row_in_the_units_of_people(configuration: Configuration) -> None:
    assert budget_rows(books(configuration, WEB, JOB, JOB_B)) == [
        ["all", "replicas", "6", "6", "9", "job 2 of 5"],
        ["all", "cpu, cores", "2.5", "4", "3.25", "-"],
        ["all", "memory, GiB", "1.5", "3", "2.25", "-"],
        ["all", "cost per hour", "0.75", "1.5", "0.975", "-"],
        ["jobs", "replicas", "2", "20", "5", "-"],
    ]


def test_a_service_is_short_in_the_budget_that_holds_it_alone(configuration: Configuration) -> None:
    every, jobs = map(budget_document, books(configuration, WEB, JOB, JOB_B))
    assert every == {
        "budget": "all",
        "replicas": {"used": 6, "limit": 6, "asked": 9},
        "cpu_cores": {"used": 2.5, "limit": 4, "asked": 3.25},
        "memory_bytes": {"used": 3 << 29, "limit": 3 << 30, "asked": 9 << 28},
        "cost_per_hour": {"used": 0.75, "limit": 1.5, "asked": 0.975},
        "short": [{"service": "job", "priority": 20, "has": 2, "asked": 5}],
    }
    assert jobs["short"] == []


def test_many_that_are_short_are_counted(configuration: Configuration) -> None:
    names = [f"job-{number}" for number in range(8)]
    services = dict.fromkeys(names, configuration.services["job"])
    budget = replace(configuration.budgets["jobs"], services=frozenset(names), limits=(("replicas", 0),))
    crowded = replace(configuration, services=services, budgets={"jobs": budget})
    (row,) = budget_rows(books(crowded, *(a_state(name, 0, 1) for name in names)))
    assert row[-1] == "job-0 0 of 1, job-1 0 of 1, job-2 0 of 1, job-3 0 of 1, job-4 0 of 1, 3 more"


def test_services_of_no_budget_need_no_other_states(configuration: Configuration) -> None:
    assert budgeted_with(configuration, "job") == {"web", "job", "job-b"}
    assert budgeted_with(replace(configuration, budgets={}), "job") == frozenset()


def test_standing_tells_share_and_who_comes_before_and_beside(configuration: Configuration) -> None:
    (every, jobs) = books(configuration, WEB, JOB, replace(JOB_B, demand=0, asked=1), of="job")
    assert standing_rows(every, "job") == [
        ("replicas", "6 of 6", "used, 10 asked for"),
        ("cpu", "2.5 of 4", "cores used, 3.5 asked for"),
        ("memory", "1.5 of 3", "GiB used, 2.5 asked for"),
        ("cost per hour", "0.75 of 1.5", "used, 1.05 asked for"),
        ("job", "2 of 5", "its share is 2, by priority 20"),
        ("before it", "4", "web (priority 80) has 4"),
        ("beside it", "0", "job-b (priority 20) has 0 of 1"),
    ]
    document = standing_document(every, "job")
    assert {key: document[key] for key in ("budget", "priority", "has", "asked", "least", "share")} == {
        "budget": "all", "priority": 20, "has": 2, "asked": 5, "least": 0, "share": 2,
    }  # fmt: skip
    assert document["why"].startswith("of budget all the replicas are spent at priority 20; web (priority 80) has 4")
    assert document["before"] == [{"service": "web", "priority": 80, "has": 4, "asked": 4}]
    assert (standing_document(jobs, "job")["share"], standing_document(jobs, "job")["why"]) == (5, None)
    assert budget_notes([every, jobs], "job") == [f"budget: {document['why']}"]


def test_share_that_others_still_have_is_told_so(configuration: Configuration) -> None:
    (every,) = books(configuration, a_state("web", 2, 5), a_state("job", 4, cpu_millis=250), of="web")
    assert standing_rows(every, "web")[4][1:] == (
        "2 of 5",
        "its share is 5, by priority 80, once others have given way, never below 1",
    )


def test_what_stands_against_growth_comes_with_a_remedy(configuration: Configuration) -> None:
    of_job = books(configuration, WEB, JOB, JOB_B, of="job")
    (text,) = against_growth(of_job, JOB, configuration.services["job"])
    assert text == (
        "of budget all the replicas are spent at priority 20; web (priority 80) has 4; raise budgets.all.replicas,"
        " raise its priority, or lower that of another"
    )
    alone = a_state("web", 6)
    (text,) = against_growth(books(configuration, alone, of="web"), alone, configuration.services["web"])
    assert text == "of budget all the replicas are spent at priority 80; no other has any; raise budgets.all.replicas"


def test_nothing_stands_against_growth_that_others_would_give_way_to(configuration: Configuration) -> None:
    of_web = books(configuration, WEB, JOB, JOB_B, of="web")
    assert against_growth(of_web, WEB, configuration.services["web"]) == []


def test_others_that_do_not_give_way_stand_against_growth(configuration: Configuration) -> None:
    web = a_state("web", 2, 5)
    of_web = books(configuration, web, a_state("job", 4, cpu_millis=250), of="web")
    assert against_growth(of_web, web, configuration.services["web"]) == [
        "budget all: its share is 5, and job (has 4) have to give way first; a freeze of one of them would hold that up"
    ]


BUDGETS = "budgets: {all: {replicas: 7}, two: {services: [shop, poster], replicas: 9}}\n"


def test_budgets_stand_below_the_services_and_in_the_documents(at_rest: Project) -> None:
    assert at_rest.json("status")["budgets"] == []
    assert "BUDGET" not in at_rest.call("status").stdout
    file = Path(at_rest.file)
    file.write_text(file.read_text() + BUDGETS)
    shown = at_rest.json("status")
    every, two = shown["budgets"]
    asked = sum(service["asked"] for service in shown["services"])
    assert (every["budget"], every["replicas"]) == ("all", {"used": asked, "limit": 7, "asked": asked})
    assert two["replicas"]["limit"] == 9
    lines = at_rest.call("status").stdout.splitlines()
    assert [line.split()[:1] for line in lines[-3:]] == [["BUDGET"], ["all"], ["two"]]
    assert [one["budget"] for one in at_rest.json("status", "search")["budgets"]] == ["all"]
    assert [one["budget"] for one in at_rest.json("explain", "poster")["budgets"]] == ["all", "two"]
    told = at_rest.call("explain", "poster").stdout
    assert "\n  budget two\n    replicas " in told
    assert "members may be some milliseconds apart: eventually exact" in told
    past = at_rest.call("explain", "poster", "--at", "0.001s").stdout
    assert "budget two" not in past


def test_what_a_budget_takes_is_shown_while_an_instance_runs(project: Project) -> None:
    file = Path(project.file)
    file.write_text(
        file.read_text().replace("  shop: {}", "  shop: {priority: 80}") + "budgets: {all: {replicas: 6}}\n"
    )
    project.start()
    try:
        eventually((project.directory / "stream.db").exists)
        eventually(lambda: all(one["revision"] for one in project.json("status")["services"]))
        project.call("emit", "metric", "poster", "requests_per_second=150")
        eventually(lambda: project.json("status", "poster")["asked"] == 3)
        document = project.json("status", "poster")
        assert (document["desired"], document["budgets"][0]["share"]) == (1, 1)
        assert any(note.startswith("budget: of budget all the replicas are spent") for note in document["notes"])
        assert "1 of 3 (between 1 and 4)" in project.call("status", "poster").stdout
        assert "poster 1 of 3" in project.call("status").stdout
        assert project.call("explain", "poster").stdout.startswith("poster: 1 of 3 wanted, revision 1")
        against = project.json("explain", "poster", "--why-not", "scale-up")["obstacles"]
        assert [one["code"] for one in against] == ["budget"]
        assert against[0]["text"].endswith("raise budgets.all.replicas, raise its priority, or lower that of another")
        assert "budget: 1 of 3 replicas that it asks for" in project.call("doctor").stdout
    finally:
        project.stop()
