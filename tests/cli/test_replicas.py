"""`logs`, `endpoints` and `hosts` tell what the hosts themselves show."""

from __future__ import annotations

import json
import subprocess
import urllib.request

from tests.cli.instance import PROGRAM, Project, clean_environment


def test_endpoints_are_addresses_that_answer(live: Project) -> None:
    told = live.json("endpoints", "basket")
    (endpoint,) = told["endpoints"]
    assert endpoint["available"] is True
    with urllib.request.urlopen(f"http://{endpoint['address']}/", timeout=5) as answer:
        assert answer.status == 200
    head, line = live.call("endpoints", "basket").stdout.splitlines()
    assert head.split() == ["REPLICA", "PORT", "ADDRESS", "REVISION", "HOST", "AVAILABLE"]
    assert line.split()[1:3] == ["http", endpoint["address"]]


def test_logs_carry_the_replicas_name(live: Project) -> None:
    (line,) = live.call("logs", "checkout", "--tail", "1").stdout.splitlines()
    name, bar, text = line.split(maxsplit=2)
    assert name.startswith("s0.r")
    assert (bar, text[:7]) == ("|", "serving")
    (told,) = live.call("logs", "checkout", "--tail", "1", "--json").stdout.splitlines()
    assert json.loads(told) == {"replica": name, "line": text}


def test_followed_logs_begin_with_what_is_there(live: Project) -> None:
    with subprocess.Popen(
        [*PROGRAM, "-c", live.file, "logs", "checkout", "-f"], stdout=subprocess.PIPE, env=clean_environment()
    ) as following:
        try:
            assert following.stdout is not None
            assert b"| serving" in following.stdout.readline()
        finally:
            following.terminate()


def test_hosts_are_listed_with_capacity_and_replicas(live: Project) -> None:
    (host,) = live.json("hosts")["hosts"]
    assert (host["target"], host["host"], host["condition"], host["reachable"]) == ("local", "local", "ready", True)
    assert host["replicas"] >= 1
    assert host["memory_bytes"] > 0


def test_host_that_is_cordoned_takes_no_new_replica_until_it_is_uncordoned(live: Project) -> None:
    result = live.call("hosts", "cordon", "local", "--reason", "new disk")
    assert (result.exit_code, result.stdout) == (0, "applied: host local takes no new replica: new disk\n")
    assert live.call("hosts", "cordon", "local").stdout == "unchanged: host local takes no new replica already\n"
    (host,) = live.json("hosts")["hosts"]
    assert (host["condition"], host["circuit"]) == ("cordoned", "closed")
    done = live.json("hosts", "uncordon", "local")
    assert (done["verdict"], set(done["partitions"])) == ("applied", {"applied"})
    (host,) = live.json("hosts")["hosts"]
    assert host["condition"] == "ready"


def test_host_actions_that_are_not_there_and_hosts_that_are_not_known_say_so(live: Project) -> None:
    assert live.call("hosts", "dance").exit_code == 2
    assert "the host is missing" in live.call("hosts", "drain").stderr
    result = live.call("hosts", "drain", "lokal")
    assert result.exit_code == 1
    assert 'lokal: is no host of this configuration. Did you mean "local"?' in result.stderr


def test_pool_without_a_host_that_answers_fails(project: Project) -> None:
    (project.directory / "replicas").write_text("no directory")
    result = project.call("hosts")
    assert result.exit_code == 1
    assert "unreachable" in result.stdout
    assert "no host could be asked. Check that their engines are up and reachable." in result.stderr


def test_services_without_replicas_have_no_logs_and_endpoints(project: Project) -> None:
    for command in ("logs", "endpoints"):
        result = project.call(command, "shop")
        assert (result.exit_code, result.stdout) == (0, "")
        assert "no replica of shop" in result.stderr


def test_host_that_one_more_replica_would_go_to_is_told_with_its_rank(live: Project) -> None:
    told = live.json("explain", "basket", "--why-not", "local")
    assert (told["host"], told["place"], told["of"], told["obstacles"]) == ("local", 1, 1, [])
    assert [choice["host"] for choice in told["ranking"]] == ["local"]
    result = live.call("explain", "basket", "--why-not", "moon")
    assert result.exit_code == 2
    assert "is no action and no host" in result.stderr
