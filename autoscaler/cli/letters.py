"""`autoscaler dlq`: the dead letters, why each is one, and putting one back on its topic."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from autoscaler.adapters.topics import topic_name
from autoscaler.cli.connecting import opened_client
from autoscaler.cli.context import CommandError, ending, print_json, read_configuration, say, whole_number, wrong_usage
from autoscaler.cli.options import Config, Json, chosen, group
from autoscaler.cli.phrases import ago, moment_of, stamp
from autoscaler.cli.tables import print_pairs, print_rows
from autoscaler.configuration.settings import Configuration
from autoscaler.errors import LedgerError
from autoscaler.events.moments import write_time
from autoscaler.events.places import printable
from autoscaler.ledger.dead_letter import DeadLetter, read_letter, redrive
from autoscaler.ports.stream import INPUTS, Message, Place, StreamClient, Topic

KEY_CHARS_MAX = 63
VALUE_CHARS_MAX = 65_536

Letter = Annotated[str, typer.Argument(metavar="LETTER", help="As `dlq list` calls it, such as 3/17.")]


@dataclass(frozen=True, slots=True)
class Found:
    """A letter and where it lies; ``letter`` is None and ``problem`` says why where it is none of ours."""

    place: Place
    at: float
    message: Message
    letter: DeadLetter | None
    problem: str = ""

    @property
    def name(self) -> str:
        """``partition/offset``."""
        return f"{self.place.partition}/{self.place.offset}"


def register(app: typer.Typer) -> None:
    """Add the family."""
    family = group("Messages that could not be read: which, why, and putting one back.")
    family.command("list")(_list)
    family.command("show", no_args_is_help=True)(_show)
    family.command("retry")(_retry)
    app.add_typer(family, name="dlq")


def _list(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="From then on, such as 1h (ago).", show_default=False)
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print the dead letters, oldest first."""
    with ending(as_json=as_json):
        from_ = moment_of(since, "--since") if since else 0.0
        configuration = read_configuration(chosen(context, config))
        found = asyncio.run(_all(configuration, from_))
        if as_json:
            print_json({"letters": [_document(one) for one in found]})
        elif found:
            print_rows(["letter", "time", "topic", "key", "reason", "tries", "text"], [_row(one) for one in found])
        else:
            say("no dead letter")


def _show(context: typer.Context, name: Letter, config: Config = None, as_json: Json = False) -> None:
    """Print one dead letter whole: where it came from, why it is one, and what it says."""
    with ending(as_json=as_json):
        import time

        place = _place(name)
        configuration = read_configuration(chosen(context, config))
        found = asyncio.run(_one(configuration, place))
        if as_json:
            print_json(_document(found, whole=True))
            return
        letter = found.letter
        pairs = [("letter", found.name), ("buried", f"{stamp(found.at)}, {ago(found.at, time.time())}")]
        if letter is None:
            pairs.append(("problem", found.problem))
        else:
            pairs += [
                ("from", f"{letter.topic} partition {letter.partition} offset {letter.offset}"),
                ("reason", f"{letter.reason}{f' at {letter.place}' if letter.place else ''}: {letter.text}"),
                ("stage", letter.stage),
                ("tries", str(letter.attempts)),
                ("key", _key(letter)),
                ("headers", ", ".join(f"{k}={printable(v.decode(errors='replace'))}" for k, v in letter.headers)),
            ]
        print_pairs(pairs)
        typer.echo()
        typer.echo(printable((found.message.value or b"").decode(errors="replace"), VALUE_CHARS_MAX))


def _retry(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="LETTER...", help="As `dlq list` calls them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that were not put back before.")] = False,
    key: Annotated[
        str | None, typer.Option(metavar="SERVICE", help="The service, where the message had no key.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Put dead letters back on the topics they came from: the same message, its tries counted."""
    with ending(as_json=as_json):
        if bool(names) == every:
            raise wrong_usage("name letters, or give --all", "`autoscaler dlq list` shows them.", "dlq retry")
        places = [_place(name) for name in names or ()]
        configuration = read_configuration(chosen(context, config))
        done = asyncio.run(_put_back(configuration, places, key))
        if as_json:
            print_json({"retried": done})
        else:
            for one in done:
                typer.echo(
                    f"{one['letter']}: back on {one['topic']}, partition {one['partition']} offset {one['offset']}"
                )


async def _put_back(
    configuration: Configuration, places: list[tuple[int, int]], key: str | None
) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = []
    async with opened_client(configuration) as client:
        if places:
            found = [await _letter_at(client, *place) for place in places]
        else:
            found = [one async for one in _letters(client) if one.letter is not None and not one.letter.stub]
            found = _newest_tries(found)
        for one in found:
            topic, home = _origin(configuration, one, key)
            outgoing = redrive(_readable(one), topic, home)
            place = await client.publish(topic, outgoing.key, outgoing.value or b"", outgoing.headers)
            done.append(
                {"letter": one.name, "topic": topic.value, "partition": place.partition, "offset": place.offset}
            )
    return done


def _newest_tries(found: list[Found]) -> list[Found]:
    """Of letters with the same content the last one alone: the others are its earlier tries."""
    return list({(one.message.key, one.message.value): one for one in found}.values())


def _readable(found: Found) -> DeadLetter:
    if found.letter is None:
        remedy = f"Read it with `autoscaler dlq show {found.name}`; it cannot be put back."
        raise CommandError(found.problem, remedy, found.name)
    return found.letter


def _origin(configuration: Configuration, found: Found, key: str | None) -> tuple[Topic, bytes]:
    letter = _readable(found)
    topic = next((t for t in INPUTS if topic_name(configuration.stream.prefix, t) == letter.topic), None)
    if topic is None:
        what = f"it came from {letter.topic}, which is no input topic here"
        raise CommandError(what, "Correct stream.prefix, or name that installation's file with -c.", found.name)
    home = key.encode() if key else letter.key
    if not home:
        raise CommandError("the message had no key", "Name its service with --key SERVICE.", found.name)
    return topic, home


async def _all(configuration: Configuration, since: float) -> list[Found]:
    async with opened_client(configuration) as client:
        found = [one async for one in _letters(client) if one.at >= since]
    return sorted(found, key=lambda one: one.at)


async def _one(configuration: Configuration, place: tuple[int, int]) -> Found:
    async with opened_client(configuration) as client:
        return await _letter_at(client, *place)


async def _letters(client: StreamClient) -> AsyncIterator[Found]:
    async for place, message in client.read(Topic.DLQ):
        yield _found(place, message)


async def _letter_at(client: StreamClient, partition: int, offset: int) -> Found:
    if partition < client.partitions:
        async for place, message in client.read(Topic.DLQ, partition=partition, start={partition: offset}):
            if place.offset == offset:
                return _found(place, message)
            break
    raise CommandError("there is no such letter", "`autoscaler dlq list` shows them.", f"{partition}/{offset}")


def _found(place: Place, message: Message) -> Found:
    at = message.timestamp / 1000
    try:
        return Found(place, at, message, read_letter(message))
    except LedgerError as error:
        return Found(place, at, message, None, str(error))


def _place(name: str) -> tuple[int, int]:
    before, _, after = name.partition("/")
    partition, offset = whole_number(before), whole_number(after)
    if partition is None or offset is None:
        raise wrong_usage("is no letter's name", "Write it as `dlq list` does, such as 3/17.", name[:40])
    return partition, offset


def _key(letter: DeadLetter) -> str:
    return "" if letter.key is None else printable(letter.key.decode(errors="replace"), KEY_CHARS_MAX)


def _row(found: Found) -> list[str]:
    letter = found.letter
    if letter is None:
        return [found.name, stamp(found.at), "?", "?", "?", "?", found.problem]
    reason = f"{letter.reason} at {letter.place}" if letter.place else letter.reason
    tries = str(letter.attempts)
    return [found.name, stamp(found.at), letter.topic, _key(letter) or "-", reason, tries, letter.text]


def _document(found: Found, *, whole: bool = False) -> dict[str, Any]:
    document: dict[str, Any] = {"letter": found.name, "time": write_time(found.at)}
    letter = found.letter
    if letter is None:
        document["problem"] = found.problem
    else:
        document |= {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "reason": letter.reason,
            "place": letter.place,
            "text": letter.text,
            "stage": letter.stage,
            "attempts": letter.attempts,
            "key": None if letter.key is None else letter.key.decode(errors="replace"),
            "stub": letter.stub,
        }
    if whole:
        headers = letter.headers if letter is not None else tuple(found.message.headers)
        document["headers"] = {name: content.decode(errors="replace") for name, content in headers}
        document |= _value_document(found.message.value or b"")
    return document


def _value_document(value: bytes) -> dict[str, str]:
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(value).decode()}
