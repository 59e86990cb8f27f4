"""What a replica is given and what is seen of it: ports, environment, secrets, its log and its usage."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.adapters.process import ProcessTarget
from autoscaler.core.actions import Remove, Resolve, Start
from autoscaler.core.revision import Port, RevisionSpec
from tests.adapters.process.replicas import NAME, SLEEPS, a_create, seen, started
from tests.contract.arena_process import ProcessArena, python

pytestmark = pytest.mark.timeout(60)


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
