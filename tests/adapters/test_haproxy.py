"""What HAProxy's answers become, and what it is told: without a HAProxy; the contract suite has a real one."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from autoscaler.adapters.haproxy.changes import Wanted, astray, commands, is_ours, leaving
from autoscaler.adapters.haproxy.own_process import OwnProcess
from autoscaler.adapters.haproxy.router import resolved
from autoscaler.adapters.haproxy.runtime import ADMIN_DRAIN, Runtime, Server
from autoscaler.errors import TargetError

pytestmark = pytest.mark.timeout(30)
FIRST, SECOND = "shop.web.s0.r1.1", "shop.web.s1.r2.7"


def shown(*servers: Server) -> dict[str, Server]:
    return {server.name: server for server in servers}


def a_server(name: str = FIRST, address: str = "10.0.0.1:80", weight: int = 100, admin: int = 0) -> Server:
    return Server("web", name, address, weight, admin)


@contextlib.asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[Runtime]:
    """A stats socket that gives this answer to everything, or none at all."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        if answer is None:
            await ended.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield Runtime(f"{host}:{port}", timeout_s=0.3)
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


async def test_a_refusal_says_what_was_asked_and_why_not() -> None:
    async with answering(b"No such backend.\n\n") as runtime:
        with pytest.raises(TargetError, match=r"refuses 'enable server a/b': No such backend\.") as caught:
            await runtime.tell("enable server a/b")
    assert caught.value.outcome == "refused"


async def test_no_answer_is_unknown_and_nobody_there_is_unavailable() -> None:
    async with answering(None) as runtime:
        with pytest.raises(TargetError, match=r"does not answer within 0\.3 s") as caught:
            await runtime.info()
        assert caught.value.outcome == "unknown"
    with pytest.raises(TargetError, match="cannot be asked") as caught:
        await runtime.info()
    assert caught.value.outcome == "unavailable"


@pytest.mark.parametrize("answer", [b"1\n# be_name srv_name\nweb a\n", b"1\n# be_name srv_name srv_addr\nx y z\n"])
async def test_a_table_of_another_form_is_an_error_of_ours(answer: bytes) -> None:
    async with answering(answer) as runtime:
        with pytest.raises(TargetError, match="in a form that is not known"):
            await runtime.servers()


async def test_statistics_of_another_form_are_an_error_of_ours() -> None:
    async with answering(b"# pxname,svname,scur\nweb,a,many\n") as runtime:
        for ask in (runtime.busy(3), runtime.backends()):
            with pytest.raises(TargetError, match="in a form that is not known"):
                await ask


def test_new_servers_are_added_with_their_weight_and_put_to_use() -> None:
    assert commands("web", {FIRST: Wanted("10.0.0.1:80", 7)}, {}) == [
        f"add server web/{FIRST} 10.0.0.1:80 weight 7",
        f"enable server web/{FIRST}",
    ]


def test_what_is_right_is_not_told_again() -> None:
    assert commands("web", {FIRST: Wanted("10.0.0.1:80", 100)}, shown(a_server())) == []


def test_another_weight_and_a_drained_server_are_put_right() -> None:
    there = shown(a_server(weight=1, admin=ADMIN_DRAIN))
    assert commands("web", {FIRST: Wanted("10.0.0.1:80", 100)}, there) == [
        f"set server web/{FIRST} weight 100",
        f"set server web/{FIRST} state ready",
    ]


def test_a_name_at_another_address_goes_first() -> None:
    wanted = {"activator": Wanted("127.0.0.1:2", 100)}
    there = shown(a_server("activator", "127.0.0.1:1"))
    assert astray(wanted, there) == ["activator"]
    assert commands("web", wanted, there) == []


def test_only_servers_of_ours_leave() -> None:
    there = shown(a_server(), a_server(SECOND), a_server("theirs"), a_server("told"), a_server("activator"))
    gone = leaving("web", [FIRST], there, frozenset({"told"}))
    assert [server.name for server in gone] == [SECOND, "told", "activator"]


@pytest.mark.parametrize(
    ("name", "ours"),
    [(FIRST, True), ("web.s0.r1.1", True), ("activator", True), ("shop.api.s0.r1.1", False), ("web1", False)],
)
def test_names_tell_whose_a_server_is(name: str, ours: bool) -> None:  # noqa: FBT001 -- a table's column
    assert is_ours("web", name) is ours


async def test_names_are_resolved_as_haproxy_wants_addresses() -> None:
    assert await resolved("127.0.0.1:80") == "127.0.0.1:80"
    assert await resolved("[::1]:80") == "[::1]:80"
    with pytest.raises(TargetError, match="not an address that can be resolved"):
        await resolved("no-such-host.invalid:80")


async def test_a_program_that_is_not_there_or_a_path_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    short = Path(tempfile.mkdtemp(prefix="own-"))
    own = OwnProcess("no-such-haproxy", short / "x", {"web": "127.0.0.1:0"})
    with pytest.raises(TargetError, match="Install HAProxy, or name its program"):
        await own.ensure()
    shutil.rmtree(short)
    long = tmp_path / ("x" * 100)
    with pytest.raises(TargetError, match="Choose a shorter dir"):
        await OwnProcess("haproxy", long, {}).ensure()


async def test_other_listeners_that_were_not_told_are_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OwnProcess("haproxy", tmp_path, {"web": "127.0.0.1:1"})
    asked: list[str] = []

    async def info() -> str:
        return ""

    async def servers() -> list[Server]:
        return []

    async def ask(command: str) -> str:
        asked.append(command)
        if len(asked) == 1:
            raise TargetError("its master cannot be asked yet", "unavailable")
        return ""

    monkeypatch.setattr(own.runtime, "info", info)
    monkeypatch.setattr(own.runtime, "servers", servers)
    monkeypatch.setattr(own._master, "ask", ask)
    with pytest.raises(TargetError):
        await own.ensure()
    await own.ensure()
    await own.ensure()
    assert asked == ["reload", "reload"]
