"""`autoscaler emit`: puts metrics and deployments on the stream as a monitor or CI would."""

from __future__ import annotations

import asyncio
import getpass
import math
import shlex
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from autoscaler.cli.context import (
    EXIT_DONE,
    configured_service,
    ending,
    print_json,
    read_configuration,
    say,
    wrong_usage,
)
from autoscaler.cli.options import Config, Json, Service, chosen, group
from autoscaler.cli.phrases import seconds_of
from autoscaler.configuration.settings import Configuration
from autoscaler.configuration.vocabulary import nearest
from autoscaler.core.facts import EventRef
from autoscaler.core.settings import ServiceSettings
from autoscaler.errors import ConfigurationError
from autoscaler.ports.stream import Place, Topic

FILE_BYTES_MAX = 65_536
TIMEOUT = "10m"

Source = Annotated[
    str | None, typer.Option("--source", help="The event's source (default: /cli/<user>).", show_default=False)
]
Identity = Annotated[
    str | None,
    typer.Option("--id", help="The event's id; the same source and id again is a repeat.", show_default=False),
]
Time = Annotated[
    str | None,
    typer.Option("--time", help="When it happened, such as 2026-11-23T10:00:00Z or 15s (ago).", show_default=False),
]


def _default_source() -> str:
    """``/cli/<user>``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"/cli/{''.join(c if c.isalnum() and c.isascii() else '-' for c in user) or 'unknown'}"


def new_ref(source: str | None, id_: str | None) -> EventRef:
    """The identity of an event to send, made where it was not given."""
    return EventRef(source or _default_source(), id_ or uuid.uuid4().hex)


def register(app: typer.Typer) -> None:
    """Add the family."""
    family = group("Put events on the stream, as CI or a monitor would.")
    family.command("metric", no_args_is_help=True)(_metric)
    family.command("deployment", no_args_is_help=True)(_deployment)
    app.add_typer(family, name="emit")


def _metric(
    context: typer.Context,
    service: Service,
    values: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="Samples, such as queue_length=250.")],
    time: Time = None,
    source: Source = None,
    identity: Identity = None,
    revision: Annotated[
        int | None, typer.Option(min=1, help="The revision whose replicas the samples speak of.", show_default=False)
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Publish samples of a service and print the event's id."""
    with ending(as_json=as_json):
        from autoscaler.cli.phrases import moment_of
        from autoscaler.events.writing import metric_event, samples_event

        configuration = read_configuration(chosen(context, config))
        configured_service(configuration, service)
        samples = _samples(values)
        at = moment_of(time, "--time") if time else None
        ref = new_ref(source, identity)
        if revision is None:
            event = metric_event(service, samples, ref.source, at, ref.id)
        else:
            listed = [{"name": name, "value": value, "revision": revision} for name, value in samples.items()]
            event = samples_event(service, listed, ref.source, at, ref.id)
        _note_misspelt(service, samples, configuration.services[service])
        place = asyncio.run(_publish(configuration, Topic.METRICS, service, ref, event))
        _print_published(ref, place, as_json=as_json)


def _samples(values: Sequence[str]) -> dict[str, float]:
    samples: dict[str, float] = {}
    for given in values:
        name, equals, number = given.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not equals or not name or not math.isfinite(value):
            raise wrong_usage("not NAME=VALUE with a number", "Write it as queue_length=250.", given[:60])
        if name in samples:
            raise wrong_usage("is given twice", "Give each name once.", name)
        samples[name] = int(value) if value.is_integer() and abs(value) < 2**53 else value
    return samples


def _note_misspelt(service: str, samples: Mapping[str, float], settings: ServiceSettings) -> None:
    """Say of each name that is nearly one which a policy's options name: a policy waits for its metric in silence."""
    named = {text for use in settings.policies for text in _texts_in(use.options)}
    for name in samples:
        match = "" if name in named else nearest(name, sorted(named))
        if match:
            say(f'note: no policy of {service} names {name}. Did you mean "{match}"?')


def _texts_in(options: object) -> Iterator[str]:
    if isinstance(options, str):
        yield options
    elif isinstance(options, Mapping):
        for value in options.values():
            yield from _texts_in(value)
    elif isinstance(options, Sequence):
        for value in options:
            yield from _texts_in(value)


async def _publish(configuration: Configuration, topic: Topic, service: str, ref: EventRef, event: bytes) -> Place:
    from autoscaler.cli.connecting import Sending, opened_client, publish

    async with opened_client(configuration, looks=False) as client:
        return await publish(client, Sending(topic, service, ref, event))


def _print_published(ref: EventRef, place: Place, *, as_json: bool) -> None:
    if as_json:
        print_json(published_document(ref, place))
    else:
        typer.echo(ref.id)


def published_document(ref: EventRef, place: Place) -> dict[str, Any]:
    """An event that is on the stream, as JSON."""
    return {
        "id": ref.id,
        "source": ref.source,
        "topic": place.topic.value,
        "partition": place.partition,
        "offset": place.offset,
    }


def _deployment(
    context: typer.Context,
    service: Service,
    argv: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND", help="The command to run, for a process target."),
    ] = None,
    image: Annotated[str | None, typer.Option(help="The image to run.", show_default=False)] = None,
    file: Annotated[
        Path | None, typer.Option(help="A YAML file with the whole revision, or - for stdin.", show_default=False)
    ] = None,
    command: Annotated[
        list[str] | None,
        typer.Option(help="The command to run, in one piece or word by word.", show_default=False),
    ] = None,
    version: Annotated[str, typer.Option(help="What people call it, such as 2.4.1.", show_default=False)] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its verdict.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait for the verdict.")] = TIMEOUT,
    time: Time = None,
    source: Source = None,
    identity: Identity = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Publish a new revision of a service and print the event's id.

    Give one of --image, --file, or a command after --:

      autoscaler emit deployment web --image shop/web:2.4.1 --wait

      autoscaler emit deployment worker -- python3 worker.py
    """
    with ending(as_json=as_json):
        from autoscaler.cli.phrases import moment_of
        from autoscaler.events.writing import deployment_event

        configuration = read_configuration(chosen(context, config))
        configured_service(configuration, service)
        revision, version = _revision(image, file, [*(command or ()), *(argv or ())], version)
        at = moment_of(time, "--time") if time else None
        timeout_s = seconds_of(timeout, "--timeout")
        ref = new_ref(source, identity)
        event = deployment_event(service, revision, ref.source, version, at, ref.id)
        if not wait:
            place = asyncio.run(_publish(configuration, Topic.DEPLOYMENTS, service, ref, event))
            _print_published(ref, place, as_json=as_json)
            return
        code = asyncio.run(_follow(configuration, service, ref, event, timeout_s, as_json=as_json))
    if code != EXIT_DONE:
        raise SystemExit(code)


def _revision(image: str | None, file: Path | None, argv: list[str], version: str) -> tuple[Mapping[str, Any], str]:
    if argv and argv[0] == "--":
        argv = argv[1:]
    given = [name for name, there in (("--image", image), ("--file", file), ("a command", argv)) if there]
    if len(given) != 1:
        what = f"{' and '.join(given)} are given" if given else "nothing to deploy is given"
        raise wrong_usage(what, "Give one of --image IMAGE, --file REVISION.yaml, or -- COMMAND.")
    if image:
        return {"image": image}, version
    if file:
        return _revision_in(file, version)
    return {"command": shlex.split(argv[0]) if len(argv) == 1 else argv}, version


def _revision_in(file: Path, version: str) -> tuple[Mapping[str, Any], str]:
    """The revision in a file: the block itself, or with ``version`` and ``revision`` as in an event's data."""
    from autoscaler.configuration.document import read_document

    try:
        if str(file) == "-":
            text = typer.get_text_stream("stdin").read(FILE_BYTES_MAX + 1)
        else:
            with file.open(encoding="utf-8") as opened:
                text = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise wrong_usage(f"cannot be read ({error.strerror})", "Name a YAML file.", str(file)) from error
    except UnicodeDecodeError as error:
        raise wrong_usage("is not UTF-8", "Name a YAML file.", str(file)) from error
    if len(text) > FILE_BYTES_MAX:
        raise wrong_usage("is larger than an event may be (64 KiB)", "Name the file of one revision.", str(file))
    root, problems = read_document(text, str(file))
    if problems:
        raise ConfigurationError(problems)
    if "revision" not in root:
        return root, version
    strange = sorted(set(root) - {"revision", "version"})
    if strange or not isinstance(root["revision"], dict):
        raise wrong_usage("beside `revision`, a mapping, there may only be `version`", "Correct the file.", str(file))
    return root["revision"], version or str(root.get("version", ""))


async def _follow(
    configuration: Configuration, service: str, ref: EventRef, event: bytes, timeout_s: float, *, as_json: bool
) -> int:
    from autoscaler.cli.commands import print_settled, progress_line, settled_document
    from autoscaler.cli.connecting import Sending, opened_client
    from autoscaler.cli.waiting import publish_and_wait

    async with opened_client(configuration, looks=False) as client:
        if not as_json:
            typer.echo(ref.id)
        sending = Sending(Topic.DEPLOYMENTS, service, ref, event)
        place, settled = await publish_and_wait(client, sending, timeout_s, progress_line)
    if as_json:
        print_json(published_document(ref, place) | settled_document(settled))
    else:
        print_settled(settled)
    return settled.exit_code
