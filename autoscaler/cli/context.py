"""What every command needs first: the configuration, the plugins' word on its options, and where messages go.

Data goes to stdout, talk to stderr. An error of our tree becomes its exit code: 0 done, 1 failed or not found, 2 wrong
usage or configuration, 3 refused.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from autoscaler.configuration.block import locate
from autoscaler.configuration.complaints import what_and_remedy
from autoscaler.configuration.loading import Loaded, Unfinished, load, with_options
from autoscaler.configuration.option_check import Complaint, ValidateOptions
from autoscaler.configuration.settings import Configuration
from autoscaler.configuration.vocabulary import nearest
from autoscaler.errors import AutoscalerError, ConfigurationError, EventRejected, Problem, Refused, StreamError, ended

if TYPE_CHECKING:
    from autoscaler.plugin_host import PluginHost

DEFAULT_FILE = "autoscaler.yaml"

DIGITS_MAX = 19
"""As many as a 64-bit number has."""

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED = 0, 1, 2, 3

STREAM_REMEDY = "Check `stream:` in the configuration, and that the stream is up."


class CommandError(AutoscalerError):
    """A command cannot do what it was asked: what is wrong, where (a path or a name), what to do, and the exit code."""

    def __init__(self, what: str, remedy: str = "", path: str = "", code: int = EXIT_FAILED) -> None:
        self.what = what
        self.remedy = remedy
        self.path = path
        self.code = code
        place = f"{path}: " if path else ""
        super().__init__(f"{place}{ended(what)}{' ' + remedy if remedy else ''}")


def wrong_usage(what: str, remedy: str = "", path: str = "") -> CommandError:
    """The error of an argument that means nothing; exit 2."""
    return CommandError(what, remedy, path, EXIT_USAGE)


def unknown_service(name: str, known: Iterable[str]) -> CommandError:
    """The error of a service that nobody knows, with the nearest known name; exit 1."""
    names = sorted(known)
    match = nearest(name, names)
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")  # noqa: PLR2004 - as many as fit a line
    remedy = f'Did you mean "{match}"?' if match else f"Configured: {shown}." if shown else "No service is configured."
    return CommandError("no such service", remedy, name)


@dataclass(frozen=True, slots=True)
class Opened:
    """A usable configuration with its plugins loaded."""

    loaded: Loaded
    plugins: PluginHost

    @property
    def configuration(self) -> Configuration:
        """The configuration itself."""
        return self.loaded.configuration


def configuration_path(given: Path | None) -> Path:
    """The file to read: the option, else `AUTOSCALER_CONFIG`, else ``./autoscaler.yaml``."""
    return given or Path(os.environ.get("AUTOSCALER_CONFIG") or DEFAULT_FILE)


def read_configuration(given: Path | None) -> Configuration:
    """The configuration alone, for commands that look; options of policies are taken as they are."""
    return load(configuration_path(given), os.environ).configuration


def configured_service(configuration: Configuration, name: str) -> str:
    """``name`` where it is configured. Raises `CommandError` with the nearest one that is."""
    if name not in configuration.services:
        raise unknown_service(name, configuration.services)
    return name


def open_configuration(given: Path | None, cache_dir: Path | None = None, *, in_process: bool = False) -> Opened:
    """Configuration and plugins, checked against each other. Raises `ConfigurationError` with every problem.

    ``in_process``: also foreign plugins are loaded into this process, for a replay that asks them all the time.
    """
    try:
        loaded = load(configuration_path(given), os.environ, cache_dir=cache_dir)
    except Unfinished as error:
        _, plugins, problems = _with_plugins(error.rest, in_process=in_process)
        plugins.kill()
        raise ConfigurationError(list(dict.fromkeys([*error.problems, *problems]))) from error
    loaded, plugins, problems = _with_plugins(loaded, in_process=in_process)
    if problems:
        plugins.kill()
        raise ConfigurationError(problems)
    return Opened(loaded, plugins)


def _with_plugins(loaded: Loaded, *, in_process: bool) -> tuple[Loaded, PluginHost, list[Problem]]:
    plugins = load_plugins(loaded.configuration, in_process=in_process)
    problems = _plugin_problems(loaded, plugins)
    try:
        loaded = with_options(loaded, _validator_of(plugins))
    except ConfigurationError as error:
        problems += error.problems
    return loaded, plugins, problems


def _plugin_problems(loaded: Loaded, plugins: PluginHost) -> list[Problem]:
    """What is wrong with the plugins, with the place of the line that names each."""
    found = []
    named = loaded.configuration.plugins
    for problem in plugins.problems:
        name = problem.path.removeprefix("plugins.")
        index = next((i for i, use in enumerate(named) if name in {use, Path(use).stem}), None)
        if problem.severity == "error" and index is not None:
            origin = locate(loaded.root, ("plugins", index))
            what, remedy = what_and_remedy(problem.what)
            found.append(replace(problem, what=what, remedy=remedy, file=origin.file, line=origin.line))
    return found


def _validator_of(plugins: PluginHost) -> ValidateOptions:
    """What `load` asks about each ``with:``."""

    def validate(use: str, given: Mapping[str, object], hook: str) -> tuple[Mapping[str, object], list[Complaint]]:
        options, problems = plugins.validate_options(use, given, hook)
        usable = any(plugin.name == use and not plugin.error and hook in plugin.hooks for plugin in plugins.plugins)
        return options, [(problem.path if usable else None, problem.what) for problem in problems]

    return validate


def load_plugins(configuration: Configuration, *, in_process: bool = False) -> PluginHost:
    """The plugins that the configuration names and the policies that its services use."""
    uses = {
        use.use
        for settings in _distinct_settings(configuration)
        for use in (
            *settings.listed,
            *settings.guards.plugins,
            *(use for use, _ in settings.placement.scorers),
        )
    }
    from autoscaler.plugin_host import PluginHost

    trusted = frozenset({*configuration.plugins, *uses}) if in_process else configuration.trusted_plugins
    return PluginHost.load(configuration.plugins, configuration.directory, sorted(uses), trusted, os.environ)


def _distinct_settings(configuration: Configuration) -> list[Any]:
    """Each distinct settings object once; services by template share one."""
    return list({id(settings): settings for settings in configuration.services.values()}.values())


def print_json(document: Mapping[str, Any] | list[Any], indent: int | None = None) -> None:
    """One document on stdout, on one line unless people read it as well."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=indent) + "\n")
    sys.stdout.flush()


def write_output(path: Path, content: str | bytes) -> None:
    """A file that an option names, said on stderr. Raises `CommandError` (usage) where it cannot be written."""
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise wrong_usage(f"cannot be written ({error.strerror})", "Name another file.", str(path)) from error
    say(f"written: {path}")


def whole_number(text: str) -> int | None:
    """The number that the digits stand for; None where they are none, or more than any count or offset has."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX else None


def say(text: str) -> None:
    """A line of talk on stderr."""
    sys.stderr.write(text + "\n")


def problem_text(problem: Problem) -> str:
    """A configuration problem as a line: ``file:line path: what. remedy``; a file's own problem needs no path."""
    if problem.line:
        return str(problem)
    remedy = f" {problem.remedy}" if problem.remedy else ""
    place = ": ".join(part for part in (problem.file, problem.path if problem.path != "file" else "") if part)
    return f"{place or problem.path}: {ended(problem.what)}{remedy}"


def problem_document(problem: Problem) -> dict[str, Any]:
    """A configuration problem as JSON."""
    return {
        "path": problem.path,
        "error": problem.what,
        "remedy": problem.remedy,
        "line": problem.line,
        "file": problem.file,
        "severity": problem.severity,
    }


def _error_document(error: AutoscalerError) -> dict[str, Any]:
    """An error as JSON: what is wrong, where, what to do; of a configuration the first problem, and all of them."""
    if isinstance(error, ConfigurationError) and error.problems:
        documents = [problem_document(problem) for problem in error.problems]
        return {**{key: documents[0][key] for key in ("error", "path", "remedy")}, "problems": documents}
    if isinstance(error, CommandError):
        return {"error": error.what, "path": error.path, "remedy": error.remedy}
    if isinstance(error, EventRejected):
        return {"error": str(error), "path": error.place, "remedy": ""}
    what, remedy = what_and_remedy(str(error))
    return {"error": what, "path": "", "remedy": remedy or (STREAM_REMEDY if isinstance(error, StreamError) else "")}


def exit_code(error: AutoscalerError) -> int:
    """The exit code that an error stands for."""
    match error:
        case CommandError(code=code):
            return code
        case ConfigurationError() | EventRejected():
            return EXIT_USAGE
        case Refused():
            return EXIT_REFUSED
        case _:
            return EXIT_FAILED


def fail(error: AutoscalerError, *, as_json: bool) -> NoReturn:
    """End with the error's words and its exit code."""
    if as_json:
        say(json.dumps(_error_document(error), ensure_ascii=False))
    elif isinstance(error, ConfigurationError):
        for problem in error.problems:
            say(f"autoscaler: {problem_text(problem)}")
    elif isinstance(error, EventRejected) and error.place:
        say(f"autoscaler: {error.place}: {error}")
    elif isinstance(error, StreamError):
        say(f"autoscaler: {ended(str(error))} {STREAM_REMEDY}")
    else:
        say(f"autoscaler: {error}")
    raise SystemExit(exit_code(error))


@contextmanager
def ending(*, as_json: bool) -> Iterator[None]:
    """The body of a command: an error of ours ends it with its words, a reader that went away ends it quietly."""
    try:
        yield
        sys.stdout.flush()
    except AutoscalerError as error:
        fail(error, as_json=as_json)
    except BrokenPipeError:
        # What is still buffered has no reader, and the interpreter flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_DONE) from None
