"""The process target's own promises: replicas outlive the autoscaler, pids are never mistaken, ends are never lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from autoscaler.adapters.process import ProcessTarget
from autoscaler.adapters.process.identity import ProcessIdentity
from autoscaler.adapters.process.supervisor import birth_of
from autoscaler.core.actions import Create, Outcome, Remove, Resolve, Start, StopReplica
from autoscaler.core.revision import Port, RevisionSpec
from autoscaler.core.world import ObservedReplica
from autoscaler.ports.target import HostChange
from tests.contract.arena_process import ProcessArena, open_arena, python

pytestmark = pytest.mark.timeout(60)
NAME = "web.s0.r1.1"
SLEEPS = RevisionSpec(command=("sleep", "600"))


@pytest.fixture
def arena(request: pytest.FixtureRequest) -> Iterator[ProcessArena]:
    with open_arena(request) as opened:
        yield opened


def a_create(spec: RevisionSpec, name: str = NAME, content: str = "c1") -> Create:
    return Create("web", 0, 1, int(name.rpartition(".")[2]), "local", spec, 1, 1, content, name)


async def started(target: ProcessTarget, spec: RevisionSpec, name: str = NAME) -> ObservedReplica:
    created = await target.create(a_create(spec, name))
    assert created.result == "done", created
    outcome = await target.start(Start("web", "local", created.id, name))
    assert outcome.result == "done", outcome
    return await seen(target, name, lambda replica: True)


async def seen(target: ProcessTarget, name: str, holds: Callable[[ObservedReplica], bool]) -> ObservedReplica:
    last: object = None
    for _ in range(500):
        (listing,) = await target.list_replicas()
        last = next((replica for replica in listing.replicas if replica.name == name), None)
        if isinstance(last, ObservedReplica) and holds(last):
            return last
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within 5 s; last seen: {last}")


async def stopped(target: ProcessTarget, replica: ObservedReplica, grace_s: float = 5.0) -> Outcome:
    return await target.stop(StopReplica("web", "local", replica.id, replica.name, "TERM", grace_s, 0.0))


@contextlib.asynccontextmanager
async def following(target: ProcessTarget) -> AsyncIterator[asyncio.Queue[tuple[float, HostChange]]]:
    queue: asyncio.Queue[tuple[float, HostChange]] = asyncio.Queue()

    async def follow() -> None:
        async for change in target.changes():
            queue.put_nowait((time.monotonic(), change))

    task = asyncio.create_task(follow())
    await asyncio.sleep(0.05)
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def exit_told(queue: asyncio.Queue[tuple[float, HostChange]]) -> tuple[float, ObservedReplica]:
    async with asyncio.timeout(5):
        while True:
            at, change = await queue.get()
            if change.replica is not None and change.replica.condition == "exited":
                return at, change.replica


DRAINS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.4), print("drained"), sys.exit()))
print("up")
while True:
    time.sleep(9)
"""

OTHER_PROCESS = """
import asyncio, json, sys
from pathlib import Path
from autoscaler.adapters.process import ProcessTarget
from autoscaler.configuration.settings import TargetSettings
from autoscaler.core.actions import Create, Start
from autoscaler.core.revision import RevisionSpec

async def main(base, cluster, name, start, argv):
    target = ProcessTarget(TargetSettings("here", "process", dir=Path(base)), cluster)
    await target.open()
    made = await target.create(Create("web", 0, 1, 1, "local", RevisionSpec(command=tuple(argv)), 1, 1, "c1", name))
    if start == "start":
        made = await target.start(Start("web", "local", made.id, name))
    print(json.dumps([made.result, made.text]), flush=True)
    sys.stdin.read()

asyncio.run(main(*sys.argv[1:5], sys.argv[5:]))
"""


@contextlib.contextmanager
def another_process(arena: ProcessArena, name: str, start: str, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", OTHER_PROCESS, str(arena.base), arena.cluster, name, start, *argv]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_replicas_of_a_killed_autoscaler_are_adopted_and_stopped_by_another(arena: ProcessArena) -> None:
    with another_process(arena, NAME, "start", "sleep", "600") as first:
        assert first.stdout is not None
        assert json.loads(first.stdout.readline())[0] == "done"
        first.kill()
        first.wait()
    second = arena.target()
    await second.open()
    replica = await seen(second, NAME, lambda replica: replica.condition == "running")
    async with following(second) as queue:
        outcome = await stopped(second, replica)
        assert outcome.result == "done"
        _, told = await exit_told(queue)
    assert (told.id, told.exit_code) == (replica.id, 128 + signal.SIGTERM)
    assert (await second.remove(Remove("web", "local", replica.id, NAME))).result == "done"
    (listing,) = await second.list_replicas()
    assert listing.replicas == ()


async def test_the_exit_code_is_kept_while_nobody_watches(arena: ProcessArena) -> None:
    with another_process(arena, NAME, "start", "/bin/sh", "-c", "sleep 0.3; exit 7") as first:
        assert first.stdout is not None
        assert json.loads(first.stdout.readline())[0] == "done"
        first.kill()
    await asyncio.sleep(0.5)
    replica = await seen(arena.target(), NAME, lambda replica: replica.condition == "exited")
    assert replica.exit_code == 7


async def test_a_kill_is_told_within_half_a_second(arena: ProcessArena) -> None:
    target = arena.target()
    await target.open()
    async with following(target) as queue:
        replica = await started(target, SLEEPS)
        await asyncio.sleep(0.05)
        killed_at = time.monotonic()
        arena.kill(replica)
        told_at, told = await exit_told(queue)
    assert told_at - killed_at < 0.5
    assert told.exit_code == 128 + signal.SIGKILL


async def test_an_end_is_told_to_members_that_did_not_start_the_replica(arena: ProcessArena) -> None:
    owner, other = arena.target(), arena.target()
    await owner.open()
    async with following(other) as queue:
        replica = await started(owner, SLEEPS)
        async with asyncio.timeout(2):
            while (await queue.get())[1].replica is None:
                pass
        await asyncio.sleep(0.6)
        killed_at = time.monotonic()
        arena.kill(replica)
        told_at, told = await exit_told(queue)
    assert told.id == replica.id
    assert told_at - killed_at < 0.5


async def test_without_pidfds_an_end_is_told_by_polling(arena: ProcessArena, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError("no pidfd here")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    target = arena.target()
    await target.open()
    async with following(target) as queue:
        replica = await started(target, SLEEPS)
        await asyncio.sleep(0.3)
        killed_at = time.monotonic()
        arena.kill(replica)
        told_at, _ = await exit_told(queue)
        assert told_at - killed_at < 0.5
    again = await started(target, SLEEPS, "web.s0.r1.2")
    assert (await stopped(target, again)).result == "done"


async def test_a_recycled_pid_is_never_signalled(arena: ProcessArena) -> None:
    target = arena.target()
    await target.open()
    replica = await started(target, SLEEPS)
    supervisor = arena.supervisor_pid(NAME)
    run = arena.base / arena.cluster / NAME / "run.json"
    main = json.loads(run.read_text())
    await asyncio.sleep(0.05)  # a birth is known to 10 ms, and no pid is used again within that
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)  # noqa: ASYNC220
    try:
        # As if both numbers had been used again by an unrelated process that leads a group of its own.
        os.kill(supervisor, signal.SIGKILL)
        await asyncio.sleep(0.1)
        run.write_text(json.dumps(main | {"pid": bystander.pid}))
        claim = run.with_name("claim")
        claim.unlink()
        claim.symlink_to(f"{bystander.pid}:{main['birth']}")
        observed = await seen(target, NAME, lambda replica: replica.condition == "exited")
        assert observed.exit_code is None
        assert (await stopped(target, replica)).result == "done"
        assert (await target.remove(Remove("web", "local", replica.id, NAME))).result == "done"
        await asyncio.sleep(0.1)
        assert bystander.poll() is None
        assert not ProcessIdentity(bystander.pid, main["birth"]).signal_group(signal.SIGKILL)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_of_many_creates_at_once_one_makes_the_replica(arena: ProcessArena) -> None:
    targets = [arena.target() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        creates = [pool.submit(asyncio.run, target.create(a_create(SLEEPS))) for target in targets]
        outcomes = [create.result() for create in creates]
    assert [outcome.result for outcome in outcomes] == ["done"] * 8
    assert len({outcome.id for outcome in outcomes}) == 1
    assert sorted(outcome.text for outcome in outcomes)[:2] == ["", "it exists already"]
    (listing,) = await targets[0].list_replicas()
    assert len(listing.replicas) == 1


async def test_of_unlike_creates_in_several_processes_one_wins_and_the_rest_conflict(arena: ProcessArena) -> None:
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(another_process(arena, NAME, "create", "sleep", "1")) for _ in range(2)]
        mine = await arena.target().create(a_create(SLEEPS, content="another"))
        results = [json.loads(other.stdout.readline())[0] for other in others if other.stdout is not None]
    made_by_me = mine.result == "done"
    assert results == (["conflict"] * 2 if made_by_me else ["done"] * 2)
    assert made_by_me or mine.result == "conflict"


async def test_two_starts_at_once_run_one_process(arena: ProcessArena) -> None:
    target, other = arena.target(), arena.target()
    created = await target.create(a_create(SLEEPS))
    start = Start("web", "local", created.id, NAME)
    outcomes = await asyncio.gather(target.start(start), other.start(start), target.start(start))
    assert {outcome.result for outcome in outcomes} == {"done"}
    directory = str(arena.base / arena.cluster / NAME)
    supervisors: list[psutil.Process] = []
    for _ in range(250):  # those that came too late are on their way out
        processes = psutil.process_iter(["cmdline"])
        supervisors = [each for each in processes if directory in (each.info["cmdline"] or ())]
        if len(supervisors) == 1:
            break
        await asyncio.sleep(0.02)
    assert len(supervisors) == 1
    assert arena.directories.standing(NAME).condition == "running"


async def test_a_killed_supervisor_takes_its_replica_along_and_this_is_told(arena: ProcessArena) -> None:
    target = arena.target()
    await target.open()
    async with following(target) as queue:
        replica = await started(target, SLEEPS)
        main = arena.directories.standing(NAME).main
        assert main is not None
        await asyncio.sleep(0.05)
        killed_at = time.monotonic()
        os.kill(arena.supervisor_pid(NAME), signal.SIGKILL)
        told_at, told = await exit_told(queue)
    assert told_at - killed_at < 0.5
    assert not main.alive
    assert (told.id, told.exit_code) == (replica.id, None)
    assert "exit code is not known" in told.note


async def test_a_replica_whose_supervisor_is_frozen_can_still_be_stopped(
    arena: ProcessArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoscaler.adapters.process.target.KILL_PATIENCE_S", 0.5)
    target = arena.target()
    replica = await started(target, SLEEPS)
    os.kill(arena.supervisor_pid(NAME), signal.SIGSTOP)
    assert (await stopped(target, replica, 0.2)).result == "done"
    await seen(target, NAME, lambda replica: replica.condition == "exited")
    assert (await target.remove(Remove("web", "local", replica.id, NAME))).result == "done"


async def test_what_a_replica_had_forked_is_killed_on_removal_where_its_supervisor_was(arena: ProcessArena) -> None:
    target = arena.target()
    replica = await started(target, RevisionSpec(command=("/bin/sh", "-c", "sleep 600 & echo $!; wait")))
    child = int(await anext(logged(target, replica, 1)))
    birth = birth_of(child)
    os.kill(arena.supervisor_pid(NAME), signal.SIGKILL)
    await seen(target, NAME, lambda replica: replica.condition == "exited")
    assert birth_of(child) == birth
    assert (await target.remove(Remove("web", "local", replica.id, NAME))).result == "done"
    await asyncio.sleep(0.05)
    assert birth_of(child) != birth


async def logged(target: ProcessTarget, replica: ObservedReplica, count: int) -> AsyncIterator[bytes]:
    async with asyncio.timeout(5):
        async for line in target.logs(replica, follow=True, tail=100):
            yield line
            count -= 1
            if not count:
                return


async def test_children_of_a_stopped_shell_keep_their_grace(arena: ProcessArena) -> None:
    target = arena.target()
    spec = python(DRAINS)
    shell = RevisionSpec(command=("/bin/sh", "-c", '"$@" & wait', "sh", *spec.command))
    replica = await started(target, shell)
    assert [line async for line in logged(target, replica, 1)] == [b"up"]
    outcome = await stopped(target, replica)
    assert outcome.result == "done"
    assert [line async for line in target.logs(replica, follow=False, tail=10)] == [b"up", b"drained"]


async def test_a_stop_under_way_is_seen_by_every_member(arena: ProcessArena) -> None:
    target = arena.target()
    replica = await started(target, arena.ignores_term())
    await asyncio.sleep(0.1)
    stop = asyncio.create_task(stopped(target, replica, 0.5))
    observed = await seen(arena.target(), NAME, lambda replica: replica.stopping)
    assert observed.condition == "running"
    outcome = await stop
    assert outcome.result == "done"
    assert "killed after 0.5 s" in outcome.text


async def test_the_log_is_bounded_and_followed_over_its_change_of_files(arena: ProcessArena) -> None:
    target = ProcessTarget(arena.target_settings(), arena.cluster, log_limit_bytes=10_000)
    source = "import time\nfor n in range(3000):\n print('line', n)\n if n % 500 == 0: time.sleep(0.25)"
    replica = await started(target, python(source))
    followed = [line async for line in target.logs(replica, follow=True, tail=0)]
    assert followed[-1] == b"line 2999"
    directory = arena.base / arena.cluster / NAME
    assert (directory / "log").stat().st_size <= 10_000
    assert (directory / "log.1").stat().st_size <= 10_000
    assert [line async for line in target.logs(replica, follow=False, tail=2)] == [b"line 2998", b"line 2999"]


async def test_the_replica_gets_its_ports_its_environment_and_none_of_ours(
    arena: ProcessArena, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTOSCALER_SECRET", "ours")
    (tmp_path / "password").write_text("hunter2\n")
    target = arena.target()
    spec = RevisionSpec(
        command=("sh", "-c", "env; stat -c MODE_OF=%a $PASSWORD_FILE; echo TEXT=$(cat $PASSWORD_FILE)"),
        env=(("MODE", "prod"),),
        ports=(("http", Port(8080)), ("admin-ui", Port(9000, host=18999))),
        secrets=(("PASSWORD", str(tmp_path / "password")),),
    )
    replica = await started(target, spec)
    await seen(target, NAME, lambda replica: replica.condition == "exited")
    lines = [line.decode() async for line in target.logs(replica, follow=True, tail=100)]
    found = dict(line.split("=", 1) for line in lines)
    number = replica.address["http"].rpartition(":")[2]
    assert replica.address["admin-ui"] == "127.0.0.1:18999"
    assert (found["PORT"], found["PORT_HTTP"], found["PORT_ADMIN_UI"]) == (number, number, "18999")
    directory = arena.base / arena.cluster / NAME
    assert (found["MODE"], found["PASSWORD_FILE"]) == ("prod", str(directory / "secrets" / "PASSWORD"))
    assert (found["MODE_OF"], found["TEXT"]) == ("600", "hunter2")
    assert "AUTOSCALER_SECRET" not in found
    assert not [name for name, value in found.items() if "hunter2" in value and name != "TEXT"]
    assert "hunter2" not in (directory / "record.json").read_text()
    await target.remove(Remove("web", "local", replica.id, NAME))
    assert not directory.exists()


async def test_a_secret_that_changed_since_it_was_accepted_is_not_run(arena: ProcessArena, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    target = arena.target()
    spec = replace(SLEEPS, secrets=(("PASSWORD", str(file)),))
    accepted = await target.resolve(Resolve("web", spec))
    assert [name for name, _ in accepted.secret_marks] == ["PASSWORD"]
    created = await target.create(a_create(replace(spec, secret_marks=accepted.secret_marks)))
    file.write_text("hunter3\n")
    outcome = await target.start(Start("web", "local", created.id, NAME))
    assert (outcome.result, outcome.blame) == ("refused", "host")
    assert f"secret PASSWORD: its file {file} has changed" in outcome.text
    assert "hunter" not in outcome.text
    file.write_text("hunter2\n")
    assert (await target.start(Start("web", "local", created.id, NAME))).result == "done"


async def test_a_secret_without_its_file_is_refused_before_anything_is_touched(
    arena: ProcessArena, tmp_path: Path
) -> None:
    spec = replace(SLEEPS, secrets=(("PASSWORD", str(tmp_path / "gone")),))
    outcome = await arena.target().resolve(Resolve("web", spec))
    assert outcome.result == "refused"
    assert f"secret PASSWORD: its file {tmp_path / 'gone'} cannot be read" in outcome.text


async def test_a_taken_fixed_port_refuses_the_start_and_blames_the_host(arena: ProcessArena) -> None:
    target = arena.target()
    first = await started(target, arena.serves())
    number = int(first.address["http"].rpartition(":")[2])
    await seen(target, NAME, lambda replica: replica.condition == "running")
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", number)
                writer.close()
                break
            await asyncio.sleep(0.02)
    spec = RevisionSpec(command=("sleep", "600"), ports=(("http", Port(80, host=number)),))
    created = await target.create(a_create(spec, "web.s1.r1.2"))
    (listing,) = await target.list_replicas()
    assert listing.host.ports_taken == {number}
    outcome = await target.start(Start("web", "local", created.id, "web.s1.r1.2"))
    assert (outcome.result, outcome.blame) == ("refused", "host")
    assert str(number) in outcome.text


async def test_a_removed_replica_can_no_longer_be_started(arena: ProcessArena) -> None:
    target = arena.target()
    created = await target.create(a_create(SLEEPS))
    assert (await target.remove(Remove("web", "local", created.id, NAME))).result == "done"
    assert (await target.start(Start("web", "local", created.id, NAME))).result == "refused"
    again = await target.create(a_create(SLEEPS))
    assert again.id != created.id
    assert (await target.start(Start("web", "local", created.id, NAME))).result == "refused"
    assert (await target.remove(Remove("web", "local", created.id, NAME))).result == "done"
    (listing,) = await target.list_replicas()
    assert [replica.id for replica in listing.replicas] == [again.id]


async def test_usage_counts_the_whole_process_tree(arena: ProcessArena) -> None:
    target = arena.target()
    spins = python("while True: pass")
    await started(target, RevisionSpec(command=("/bin/sh", "-c", '"$@" & wait', "sh", *spins.command)))
    await target.usage()
    await asyncio.sleep(0.5)
    (usage,) = await target.usage()
    assert (usage.name, usage.service, usage.revision) == (NAME, "web", 1)
    assert 0.01 < usage.cpu_cores < 2.5  # what a busy machine leaves it; the shell alone would use nothing
    assert 1_000_000 < usage.memory_bytes < 200_000_000


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        pytest.param(RevisionSpec(), "command", id="no command"),
        pytest.param(RevisionSpec(command=("true",), user="nobody"), "user", id="user"),
        pytest.param(RevisionSpec(command=("true",), volumes=("/a:/b",)), "volumes", id="volumes"),
        pytest.param(RevisionSpec(command=("./no-such-file",)), "no such program", id="missing program"),
    ],
)
async def test_what_a_process_cannot_do_is_refused_before_anything_is_touched(
    arena: ProcessArena, spec: RevisionSpec, word: str
) -> None:
    outcome = await arena.target().resolve(Resolve("web", spec))
    assert (outcome.result, outcome.blame) == ("refused", "revision")
    assert word in outcome.text
