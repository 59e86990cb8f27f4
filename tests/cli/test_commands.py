"""Operators' commands wait for their verdict, print it, and exit by it."""

from __future__ import annotations

import json

import pytest

from tests.cli.instance import Project, eventually


def test_scale_holds_until_auto(live: Project) -> None:
    before = live.json("status", "search")["desired"]
    done = live.call("scale", "search", "3", "--reason", "sale starts")
    assert (done.exit_code, done.stdout) == (0, f"applied: {before} -> 3 replicas until scale auto: sale starts\n")
    shown = eventually(lambda: (s := live.json("status", "search"))["actual"] == 3 and s)
    assert shown["override"] == {"replicas": 3, "until": None, "by": shown["override"]["by"]}
    assert live.call("scale", "search", "3").stdout == "unchanged: 3 replicas are wanted already\n"
    assert live.call("scale", "search", "2", "--for", "30m").stdout == "applied: 3 -> 2 replicas for 1800 s\n"
    against = live.json("explain", "search", "--why-not", "scale-up")["obstacles"][0]
    assert against["code"] == "override"
    assert live.call("scale", "search", "auto").stdout == "applied: the policies decide again\n"
    assert live.call("scale", "search", "auto").stdout == "unchanged: no override is in force\n"


def test_scale_that_begins_later_waits_begins_and_is_taken_back(live: Project) -> None:
    far = live.call("scale", "search", "4", "--at", "1h", "--for", "2h", "--reason", "sale starts")
    assert far.exit_code == 0, far.stderr
    assert far.stdout.startswith("applied: 4 replicas in 3")
    assert far.stdout.endswith(" s for 7200 s: sale starts\n")
    shown = live.json("status", "search")
    (waiting,) = shown["scheduled"]
    assert (waiting["replicas"], waiting["reason"], shown["override"]) == (4, "sale starts", None)
    text = live.call("status", "search").stdout
    assert "4 replicas from 20" in text
    assert "for 2h" in text
    assert live.call("scale", "search", "2", "--at", "1s", "--for", "30m").exit_code == 0
    begun = eventually(lambda: (s := live.json("status", "search"))["override"] and s)
    assert (begun["override"]["replicas"], len(begun["scheduled"])) == (2, 1)
    taken = live.call("scale", "search", "auto", "--scheduled")
    assert taken.stdout == "applied: taken back what waited: 1 override\n"
    assert live.call("scale", "search", "auto").stdout == "applied: the policies decide again\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("auto", "--at", "1h"), "--at: has no meaning with auto. Leave it out, or give a number of replicas."),
        (("3", "--scheduled"), "--scheduled: has a meaning with auto alone. Leave it out."),
        (("3", "--at", "soon"), "--at: not a moment. Write 15m (from now) or 2026-11-23T10:00:00Z."),
    ],
)
def test_a_beginning_that_means_nothing_is_wrong_usage(live: Project, arguments: tuple[str, ...], said: str) -> None:
    done = live.call("scale", "search", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_scale_outside_the_bounds_is_refused(live: Project) -> None:
    done = live.call("scale", "shop", "9", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["verdict"], told["code"]) == (3, "refused", "bounds")
    assert told["text"] == "9 is outside 1..4. Choose within, or change replicas.min or .max"
    assert told["record"].startswith("shop/")


@pytest.mark.parametrize(
    ("command", "exit_code", "said"),
    [
        pytest.param("pause", 3, "refused: no rollout is under way that could be paused", id="pause"),
        pytest.param("resume", 0, "unchanged: nothing is paused", id="resume"),
        pytest.param("promote", 3, "refused: no rollout is in flight", id="promote"),
        pytest.param("abort", 3, "refused: no rollout is in flight", id="abort"),
        pytest.param("approve", 0, "unchanged: nothing waits for approval", id="approve"),
        pytest.param("unfreeze", 0, "unchanged: not frozen", id="unfreeze"),
        pytest.param("rollback", 3, "refused: no earlier revision was healthy. See status", id="rollback"),
    ],
)
def test_command_without_an_object_says_so(live: Project, command: str, exit_code: int, said: str) -> None:
    done = live.call(command, "shop")
    assert (done.exit_code, done.stdout[: len(said)]) == (exit_code, said), done.stderr


def test_freeze_refuses_deployments_until_unfreeze(live: Project) -> None:
    assert live.call("freeze", "search", "--for", "10m").stdout == "applied: updates stand still\n"
    refused = live.deploy("search", "two")
    assert refused.exit_code == 3
    assert refused.stdout.splitlines()[1].startswith("refused: frozen by /cli/")
    (obstacle,) = live.json("explain", "search", "--why-not", "update")["obstacles"]
    assert obstacle["code"] == "freeze"
    assert "freeze  updates stand still for another" in live.call("status", "search").stdout.replace("   ", "")
    assert live.call("unfreeze", "search").exit_code == 0
    frozen = live.call("freeze", "search", "--scope", "all")
    assert frozen.stdout == "applied: updates and scaling stand still\n"
    assert live.call("scale", "search", "1").stdout == "refused: scaling is frozen. Unfreeze first\n"
    assert live.call("unfreeze", "search").exit_code == 0


def test_paused_rollout_resumes_and_rolls_back_by_hand(live: Project) -> None:
    started = live.call("emit", "deployment", "leaflet", "--command", live.server("slow"))
    assert started.exit_code == 0
    eventually(lambda: live.json("status", "leaflet")["phase"] == "advancing")
    assert live.call("pause", "leaflet").stdout == "applied: the rollout stands still\n"
    assert live.json("status", "leaflet")["operation"] == "update to 2 held (operator)"
    assert live.call("resume", "leaflet").stdout == "applied: the rollout goes on\n"
    eventually(lambda: live.settled("leaflet"))
    back = live.call("rollback", "leaflet", "--to", "1")
    assert (back.exit_code, back.stdout) == (0, "applied: revision 1 runs again\n")
    assert "rolling back revision 2 to 1" in back.stderr, "what is done meanwhile is talk"
    assert live.json("status", "leaflet")["revision"] == 1
    unknown = live.call("rollback", "leaflet", "--to", "7")
    assert (unknown.exit_code, unknown.stdout) == (3, "refused: revision 7 is not kept. See status for the kept ones\n")


def test_retired_service_has_no_replicas_and_takes_no_event(live: Project) -> None:
    done = live.call("retire", "poster")
    assert (done.exit_code, done.stdout[:8]) == (0, "applied:"), done.stderr
    shown = live.json("status", "poster")
    assert (shown["actual"], shown["operation"], shown["replicas"]) == (0, "retired", [])
    assert live.deploy("poster", "two").exit_code == 3
    assert live.json("explain", "poster", "--why-not", "scale-up")["obstacles"][0]["code"] == "retired"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["scale", "shop", "many"], "many: neither a number of replicas nor auto.", id="text"),
        pytest.param(["scale", "shop", "9" * 5000], "9999: neither a number of replicas nor auto.", id="digits"),
        pytest.param(["scale", "shop", "--", "-1"], "-1: neither a number of replicas nor auto.", id="negative"),
        pytest.param(["scale", "shop", "3", "--for", "30"], "--for: not a duration. Write it as 30s", id="unit"),
        pytest.param(["scale", "shop", "3", "--for", "9999d"], "--for: longer than a year. Write at most", id="year"),
        pytest.param(["freeze", "shop", "--scope", "world"], "--scope: is neither update nor all.", id="scope"),
        pytest.param(["pause", "shop", "--timeout", "0"], "--timeout: must be longer than nothing", id="timeout"),
        pytest.param(["rollback", "shop", "--to", "0"], "--to", id="revision"),
        pytest.param(["approve", "shop", "--reason", "a\nb"], "data.reason:", id="reason"),
    ],
)
def test_what_means_nothing_is_wrong_usage(project: Project, arguments: list[str], said: str) -> None:
    result = project.call(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_command_without_an_instance_ends_at_its_timeout(project: Project) -> None:
    result = project.call("pause", "shop", "--timeout", "300ms", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["verdict"], told["code"]) == (None, "timeout")
    assert told["text"].endswith("The event stays on the stream: start `autoscaler run`")
