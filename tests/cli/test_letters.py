"""`dlq` lists what could not be read, shows why, and puts it back on its topic."""

from __future__ import annotations

import asyncio
import json

import pytest

from autoscaler.adapters.embedded.client import EmbeddedClient
from autoscaler.configuration.settings import StreamSettings
from autoscaler.ports.stream import Topic
from tests.cli.instance import Project, eventually


def publish(project: Project, topic: Topic, key: bytes, value: bytes) -> None:
    async def send() -> None:
        client = EmbeddedClient(StreamSettings(path=project.directory / "stream.db", partitions=3), "cli")
        await client.open()
        try:
            await client.publish(topic, key, value)
        finally:
            await client.close()

    asyncio.run(send())


@pytest.fixture
def letter(live: Project) -> dict[str, object]:
    """A command that cannot be read, and its letter."""
    value = (
        b'{"specversion":"1.0","id":"x","source":"/s","type":"io.eventscaler.control.v1","data":{"command":"dance"}}'
    )
    before = len(live.json("dlq", "list")["letters"])
    publish(live, Topic.CONTROL, b"poster", value)
    letters = eventually(lambda: (found := live.json("dlq", "list")["letters"])[before:] and found)
    return dict(letters[-1])


def test_letters_are_listed_with_their_reason(live: Project, letter: dict[str, object]) -> None:
    assert (letter["topic"], letter["key"], letter["reason"]) == ("autoscaler.control", "poster", "schema")
    text = live.call("dlq", "list").stdout
    assert text.splitlines()[0].split() == ["LETTER", "TIME", "TOPIC", "KEY", "REASON", "TRIES", "TEXT"]
    assert "schema at data.command" in text


def test_letter_is_shown_whole(live: Project, letter: dict[str, object]) -> None:
    shown = live.json("dlq", "show", str(letter["letter"]))
    assert json.loads(shown["value"])["data"] == {"command": "dance"}
    text = live.call("dlq", "show", str(letter["letter"])).stdout
    assert "autoscaler.control partition" in text
    assert '"command":"dance"' in text


def test_letter_that_is_put_back_counts_its_tries(live: Project, letter: dict[str, object]) -> None:
    before = len(live.json("dlq", "list")["letters"])
    told = live.json("dlq", "retry", str(letter["letter"]))
    assert told["retried"][0]["topic"] == "control"
    again = eventually(lambda: live.json("dlq", "list")["letters"][before:])
    assert again[-1]["attempts"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["show", "0/" + "9" * 5000], 2, "9999: is no letter's name.", id="digits"),
        pytest.param(["show", "seventeen"], 2, "seventeen: is no letter's name.", id="name"),
        pytest.param(["show", "0/99999"], 1, "0/99999: there is no such letter.", id="offset"),
        pytest.param(["show", "77/0"], 1, "77/0: there is no such letter.", id="partition"),
        pytest.param(["retry"], 2, "dlq retry: name letters, or give --all.", id="none"),
    ],
)
def test_what_names_no_letter_is_said(live: Project, arguments: list[str], code: int, said: str) -> None:
    result = live.call("dlq", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_no_letter_is_no_output(project: Project) -> None:
    project.call("topics", "create")
    result = project.call("dlq", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no dead letter\n")
    assert project.json("dlq", "list") == {"letters": []}
