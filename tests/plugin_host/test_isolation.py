"""Foreign policies that raise, hang, die, lie or hoard: their vote is unknown, and everybody else's is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoscaler.core.proposals import Hold, Scale
from autoscaler.core.stimuli import PolicyVote
from autoscaler.plugin_host.standing import FAILURES_MAX, QUARANTINE_S
from autoscaler.testing import NOW
from tests.plugin_host import bad
from tests.plugin_host.conftest import Loader, a_request

CRASHES = {
    "raises": "raised ValueError: no",
    "exits": "raised SystemExit: 3",
    "interrupts": "raised KeyboardInterrupt",
    "dies": "the worker died: exit code 7",
    "killed": "the worker died: signal SIGKILL",
    "sleeps": "no answer within 0.25 s; killed",
    "spins": "no answer within 0.25 s; killed",
    "hogs": "raised MemoryError",
    "closes": "the worker died",
}


@pytest.mark.parametrize(("name", "words"), CRASHES.items(), ids=CRASHES)
async def test_a_bad_policy_is_unknown_and_the_others_of_the_batch_vote(
    load_bad: Loader, name: str, words: str
) -> None:
    host = load_bad(name, "good")
    before, both, after = await host.foreign_votes([a_request("good"), a_request(name, "good"), a_request("good")])
    assert [vote.proposal for vote in (*before, *both, *after)] == [Scale(3, "three"), None, *[Scale(3, "three")] * 2]
    assert both[0].unknown.startswith(words)
    assert host.stats()[name].failures == 1
    assert host.stats()["good"].failures == 0


@pytest.mark.parametrize("name", bad.NONSENSE)
async def test_nonsense_is_unknown_and_says_what_is_wrong(load: Loader, name: str) -> None:
    body, words = bad.NONSENSE[name]
    host = load(odd=bad.source(body), trusted_odd=bad.source(body))
    inside = load(odd=bad.source(body), trusted=True)
    (foreign,), (own,) = *(await host.foreign_votes([a_request("odd")])), inside.votes(a_request("odd"))
    for vote in (foreign, own):
        assert vote.proposal is None
        assert words in vote.unknown


async def test_a_fork_answers_once_and_does_not_disturb_the_next_call(load_bad: Loader) -> None:
    host = load_bad("forks", "good")
    for _ in range(2):
        (votes,) = await host.foreign_votes([a_request("forks", "good", "forks")])
        assert [vote.proposal for vote in votes] == [Scale(3), Scale(3, "three"), Scale(3)]


async def test_what_a_policy_prints_is_no_answer(load_bad: Loader) -> None:
    (votes,) = await load_bad("prints").foreign_votes([a_request("prints")])
    assert votes[0].proposal == Scale(3)


async def test_a_policy_that_changes_its_arguments_changes_its_own_copy(load_bad: Loader) -> None:
    host = load_bad("mutates", "reads")
    request = a_request("mutates", "reads")
    (votes,) = await host.foreign_votes([request])
    assert [vote.proposal for vote in votes] == [Scale(3), Scale(10)]
    assert (request.facts.demand, request.signals.view(NOW)["load"].latest) == (2, 5.0)
    assert votes[1].metrics == ("load",)


async def test_the_worker_has_no_secrets_in_its_environment(load: Loader) -> None:
    host = load(
        environment=bad.source(bad.BODIES["environment"]), environ={"PATH": os.environ["PATH"], "KAFKA_PASSWORD": "x"}
    )
    ((vote,),) = await host.foreign_votes([a_request("environment")])
    assert isinstance(vote.proposal, Hold)
    assert "PATH" in vote.proposal.reason
    assert "KAFKA" not in vote.proposal.reason


@pytest.mark.parametrize("trusted", [True, False], ids=["in_process", "in_the_worker"])
async def test_memory_is_kept_after_a_valid_answer_only(load_bad: Loader, *, trusted: bool) -> None:
    host = load_bad("remembers", "forgets_by_raising", "hoards", "unlistable", "good", trusted=trusted)
    request = a_request("remembers", "forgets_by_raising", "hoards", "unlistable", "good")
    votes: tuple[PolicyVote, ...] = ()
    for _ in range(2):
        votes = host.votes(request) if trusted else (await host.foreign_votes([request]))[0]
    assert votes[0].proposal == Scale(2)
    assert request.memory == {"remembers": {"calls": 2}}
    assert "over 65536" in votes[2].unknown
    assert "no JSON" in votes[3].unknown


async def test_five_failures_in_a_row_quarantine_a_plugin_and_each_quarantine_doubles(load_bad: Loader) -> None:
    host = load_bad("raises")
    standing = host.stats()["raises"]
    for _ in range(FAILURES_MAX):
        await host.foreign_votes([a_request("raises")])
    assert standing.quarantined_until == NOW + QUARANTINE_S
    ((vote,),) = await host.foreign_votes([a_request("raises", now=NOW + 59)])
    assert vote.unknown.startswith("quarantined for 1 s more after 5 failures: raised ValueError")
    assert (standing.calls, standing.skipped) == (5, 1)
    await host.foreign_votes([a_request("raises", now=NOW + 60)])
    assert standing.quarantined_until == NOW + 60 + 2 * QUARANTINE_S


async def test_a_hanging_policy_costs_a_large_batch_no_more_than_its_quarantine(load_bad: Loader) -> None:
    host = load_bad("sleeps")
    votes = await host.foreign_votes([a_request("sleeps") for _ in range(100)])
    assert len(votes) == 100
    assert all(vote.unknown for (vote,) in votes)
    assert host.stats()["sleeps"].calls == FAILURES_MAX


async def test_the_worker_ends_with_its_host(load_bad: Loader) -> None:
    host = load_bad("good")
    await host.foreign_votes([a_request("good")])
    pid = host.worker_pid
    assert pid is not None
    await host.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_worker_that_was_killed_while_idle_is_replaced_and_nobody_blamed(load_bad: Loader) -> None:
    host = load_bad("good")
    await host.foreign_votes([a_request("good")])
    assert host.worker_pid is not None
    os.kill(host.worker_pid, 9)
    ((vote,),) = await host.foreign_votes([a_request("good")])
    assert vote.proposal == Scale(3, "three")
    assert host.stats()["good"].failures == 0


async def test_a_mixed_service_asks_each_policy_where_it_runs(load: Loader, tmp_path: Path) -> None:
    load(good=bad.source(bad.BODIES["good"]))
    host = load(good=bad.source(bad.BODIES["good"]), trusty=bad.source("return autoscaler.Scale(os.getpid() % 10**6)"))
    assert not host.runs_in_process(a_request("good").uses)
    (votes,) = await host.foreign_votes([a_request("good", "trusty", "absent")])
    assert votes[0].proposal == Scale(3, "three")
    assert votes[2].unknown == "the plugin absent is not loaded"


async def test_an_import_that_exits_hangs_or_dies_is_told_and_leaves_the_others(load: Loader) -> None:
    host = load(
        exits="import sys; sys.exit(1)",
        dies="import os; os._exit(4)",
        good=bad.source(bad.BODIES["good"]),
        broken="1 +",
    )
    errors = {plugin.name: plugin.error for plugin in host.plugins}
    assert errors["exits"] == "its import failed: SystemExit: 1"
    assert errors["dies"] == "its import failed: the worker died: exit code 4"
    assert errors["broken"].startswith("its import failed: SyntaxError")
    ((vote, broken),) = await host.foreign_votes([a_request("good", "broken")])
    assert vote.proposal == Scale(3, "three")
    assert "SyntaxError" in broken.unknown
