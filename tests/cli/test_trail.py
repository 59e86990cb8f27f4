"""`audit` prints, follows and verifies the trail; `explain` takes a decision of it apart."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from autoscaler.cli.connecting import opened_client
from autoscaler.cli.context import read_configuration
from autoscaler.cli.latest_samples import Latest, latest_samples
from autoscaler.ledger.audit import read_audit
from autoscaler.ledger.chain import verify_chain
from tests.cli.instance import PROGRAM, Project, clean_environment, eventually


def test_trail_is_one_line_a_record(live: Project) -> None:
    lines = live.call("audit", "leaflet").stdout.splitlines()
    time, service, seq, kind, verdict, text = lines[0].split(maxsplit=5)
    assert (time[10], time[-1]) == ("T", "Z")
    assert (service, seq, kind, verdict) == ("leaflet", "1", "deployment", "accepted")
    assert text.endswith("accepted as configured")


def test_trail_as_json_is_what_is_stored(live: Project) -> None:
    lines = live.call("audit", "leaflet", "--json").stdout.splitlines()
    stored = [event for event in live.stored("audit") if event["subject"] == "leaflet"]
    assert [json.loads(line) for line in lines] == stored[: len(lines)]
    assert verify_chain(read_audit(line.encode()) for line in lines).ok


def test_trail_of_all_services_is_in_order_of_time(live: Project) -> None:
    events = [json.loads(line) for line in live.call("audit", "--json").stdout.splitlines()]
    assert len({event["subject"] for event in events}) > 1
    # A record's own time is when it was decided; records of one moment are written within a few milliseconds.
    times = [event["time"][:18] for event in events]
    assert times == sorted(times)


def test_since_leaves_out_what_is_older(live: Project) -> None:
    assert live.call("audit", "--since", "2000-01-01T00:00:00Z").stdout
    assert live.call("audit", "--since", "2999-01-01T00:00:00Z").stdout == ""


def test_followed_trail_goes_on_with_new_records(live: Project) -> None:
    with subprocess.Popen(
        [*PROGRAM, "-c", live.file, "audit", "poster", "--follow", "--json"],
        stdout=subprocess.PIPE,
        env=clean_environment(),
    ) as following:
        try:
            assert following.stdout is not None
            first = json.loads(following.stdout.readline())
            assert first["data"]["seq"] == 1
            live.call("pause", "poster")
            for line in following.stdout:
                event = json.loads(line)
                if event["data"]["verdict"] == "refused":
                    break
        finally:
            following.terminate()


def test_verification_passes_while_the_instance_goes_on(live: Project) -> None:
    done = live.call("audit", "--verify")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "shop: ok, " in done.stdout
    reports = [json.loads(line) for line in live.call("audit", "--verify", "--json").stdout.splitlines()]
    assert all(report["ok"] and report["complete"] for report in reports)


def audit_places(project: Project, service: str) -> list[int]:
    with closing(sqlite3.connect(project.directory / "stream.db")) as database:
        rows = database.execute(
            "SELECT place, value FROM messages WHERE key = ? ORDER BY place", (service.encode(),)
        ).fetchall()
    return [place for place, value in rows if b'"prevhash":"' in value]


def change(project: Project, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(project.directory / "stream.db")) as database, database:
        database.execute(statement, values)


def test_changed_record_is_found(at_rest: Project) -> None:
    place = audit_places(at_rest, "shop")[1]
    changed = "UPDATE messages SET value = CAST(replace(CAST(value AS TEXT), 'nothing', 'something') AS BLOB)"
    change(at_rest, f"{changed} WHERE place = ?", place)
    done = at_rest.call("audit", "shop", "--verify")
    assert done.exit_code == 1
    assert done.stdout.startswith("shop: BROKEN, event 2 is broken: its content does not give its hash")


def test_removed_records_are_found_in_the_middle_and_at_the_end(at_rest: Project) -> None:
    places = audit_places(at_rest, "shop")
    change(at_rest, "DELETE FROM messages WHERE place = ?", places[1])
    middle = at_rest.call("audit", "shop", "--verify", "--json")
    assert (middle.exit_code, json.loads(middle.stdout)["missing"]) == (1, [2])
    change(at_rest, "DELETE FROM messages WHERE place = ?", places[-1])
    end = at_rest.call("audit", "shop", "--verify")
    assert (end.exit_code, f"the state record stands at event {len(places)}" in end.stdout) == (1, True)


def test_trail_that_is_gone_is_found(at_rest: Project) -> None:
    for place in audit_places(at_rest, "shop"):
        change(at_rest, "DELETE FROM messages WHERE place = ?", place)
    done = at_rest.call("audit", "shop", "--verify")
    assert done.exit_code == 1
    assert "and not one event of it is there" in done.stdout


def test_foreign_message_on_the_audit_topic_is_named_and_skipped(at_rest: Project) -> None:
    place = audit_places(at_rest, "shop")[-1]
    change(at_rest, "UPDATE messages SET value = CAST('{}' AS BLOB) WHERE place = ?", place)
    shown = at_rest.call("audit", "shop")
    assert shown.exit_code == 0
    assert "not one of ours" in shown.stderr
    assert at_rest.call("audit", "shop", "--verify").exit_code == 1


def decided(project: Project, service: str) -> None:
    """Let the service's policies come to something that is worth a record."""

    def clamped() -> bool:
        project.call("emit", "metric", service, "requests_per_second=30")
        evaluation = project.json("explain", service)["evaluation"]
        return evaluation is not None

    eventually(clamped)


def test_explanation_tells_inputs_proposals_guards_and_winner(live: Project) -> None:
    live.call("emit", "metric", "leaflet", "requests_per_second=420")
    told = eventually(lambda: (d := live.json("explain", "leaflet"))["evaluation"] and d)
    evaluation = told["evaluation"]
    assert evaluation["inputs"][0]["signal"] == "requests_per_second"
    assert evaluation["inputs"][0]["age_s"] >= 0
    assert evaluation["winner"] == "target_value"
    assert [c["guard"] for c in evaluation["clamps"]] == ["max"]
    text = live.call("explain", "leaflet").stdout
    for part in ("Last ", "inputs", "> target_value  scale to 9", "9 -> 4", "at most 4 replicas", "result  4 replicas"):
        assert part in text


def test_newest_sample_of_each_metric_is_found(project: Project) -> None:
    project.call("emit", "metric", "shop", "requests_per_second=10", "--time", "10m")
    project.call("emit", "metric", "shop", "requests_per_second=12", "--time", "5s")
    project.call("emit", "metric", "shop", "queue=3", "--time", "9m")
    project.call("emit", "metric", "shop", "queue=2", "--time", "10m")
    configuration = read_configuration(Path(project.file))

    async def look() -> list[Latest]:
        async with opened_client(configuration) as client:
            return await latest_samples(client, "shop", ["requests_per_second", "errors"])

    found = asyncio.run(look())
    assert [(one.name, one.value) for one in found] == [("errors", None), ("queue", 3), ("requests_per_second", 12)]


def test_signal_past_its_age_is_told_as_unknown(live: Project) -> None:
    live.call("emit", "metric", "checkout", "errors=33", "--time", "10m")
    signals = {one["signal"]: one for one in live.json("explain", "checkout")["signals"]}
    assert signals["errors"]["value"] == 33
    assert 599 < signals["errors"]["age_s"] < 700
    text = live.call("explain", "checkout").stdout
    assert re.search(r"signals now\n(.*\n)*?    errors +33 +10m old, past max_age 60s: unknown\n", text)


def test_signal_is_as_old_as_its_own_age_allows(at_rest: Project) -> None:
    file = Path(at_rest.file)
    whole = yaml.safe_load(file.read_text())
    whole["services"]["checkout"]["signals"] = {"slow": {"max_age": "15m"}}
    file.write_text(json.dumps(whole))
    at_rest.call("emit", "metric", "checkout", "slow=33", "--time", "10m")
    text = at_rest.call("explain", "checkout").stdout
    assert re.search(r"signals now\n(.*\n)*?    slow +33 +10m old\n", text)


def test_why_not_names_the_clamp(live: Project) -> None:
    decided(live, "basket")
    obstacles = live.json("explain", "basket", "--why-not", "scale-down")["obstacles"]
    assert obstacles[0]["code"] == "min"
    against = live.call("explain", "basket", "--why-not", "rollback").stdout
    assert "no_rollout" in against
    assert "only a rollout in flight is taken back by itself" in against
    assert live.json("explain", "basket", "--why-not", "update")["obstacles"][0]["code"] == "no_deployment"


def test_explanation_of_the_past_needs_a_record_of_then(live: Project) -> None:
    assert live.call("explain", "shop", "--at", "1h").exit_code == 1
    first = json.loads(live.call("audit", "shop", "--json").stdout.splitlines()[-1])
    shown = live.json("explain", "shop", "--at", first["time"][:19] + "Z")
    assert shown["decision"]["seq"] <= first["data"]["seq"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(
            ["explain", "shop", "--why-not", "dance"], 2, "--why-not dance: is no action and no host.", id="action"
        ),
        pytest.param(
            ["explain", "shop", "--why-not", "update", "--at", "1m"], 2, "cannot be asked of the past", id="at"
        ),
        pytest.param(["audit", "--verify", "--follow"], 2, "--verify: checks whole chains.", id="verify"),
        pytest.param(["audit", "--since", "soon"], 2, "--since: not a moment.", id="since"),
        pytest.param(["audit", "shoop"], 1, 'shoop: no such service. Did you mean "shop"?', id="audit"),
        pytest.param(["explain", "shoop"], 1, 'shoop: no such service. Did you mean "shop"?', id="explain"),
    ],
)
def test_what_cannot_be_answered_is_said(live: Project, arguments: list[str], code: int, said: str) -> None:
    result = live.call(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_nothing_decided_yet_is_said(at_rest: Project) -> None:
    with (at_rest.directory / "autoscaler.yaml").open("a") as file:
        file.write("  newcomer: {}\n")
    result = at_rest.call("explain", "newcomer")
    assert result.exit_code == 1
    assert "newcomer: no instance has decided anything for it yet. Start `autoscaler run`." in result.stderr
