"""What every command needs first: the configuration, the plugins' word on its options, and where messages go.

Data goes to stdout, talk to stderr. An error of our tree becomes its exit code: 0 done, 1 failed or not found, 2 wrong usage or
configuration, 3 refused.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from autoscaler.configuration.loading import Loaded, load
from autoscaler.configuration.option_check import ValidateOptions
from autoscaler.configuration.settings import Configuration
from autoscaler.errors import AutoscalerError, ConfigurationError, Problem, Refused
from autoscaler.plugin_host import PluginHost

DEFAULT_FILE = "autoscaler.yaml"

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED = 0, 1, 2, 3


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


def open_configuration(given: Path | None, cache_dir: Path | None = None) -> Opened:
    """Configuration and plugins, checked against each other. Raises `ConfigurationError` with every problem."""
    path = configuration_path(given)
    first = load(path, os.environ, cache_dir=cache_dir)
    plugins = load_plugins(first.configuration)
    problems = [problem for problem in plugins.problems if problem.severity == "error"]
    checked = load(path, os.environ, cache_dir=cache_dir, validate_options=validator_of(plugins))
    if problems:
        raise ConfigurationError(problems)
    return Opened(checked, plugins)


def validator_of(plugins: PluginHost) -> ValidateOptions:
    """What `load` asks about each ``with:``."""

    def validate(use: str, given: Mapping[str, object]) -> tuple[Mapping[str, object], list[str]]:
        options, problems = plugins.validate_options(use, given)
        return options, [f"{problem.path}: {problem.what}" if problem.path else problem.what for problem in problems]

    return validate


def load_plugins(configuration: Configuration) -> PluginHost:
    """The plugins that the configuration names and the policies that its services use."""
    uses = {
        use.use for settings in set_of_settings(configuration) for use in (*settings.policies, *settings.guards.plugins)
    }
    return PluginHost.load(
        configuration.plugins, configuration.directory, sorted(uses), configuration.trusted_plugins, os.environ
    )


def set_of_settings(configuration: Configuration) -> list[Any]:
    """Each distinct settings object once; services by template share one."""
    return list({id(settings): settings for settings in configuration.services.values()}.values())


def print_json(document: Mapping[str, Any] | list[Any]) -> None:
    """One document on stdout."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A line of talk on stderr."""
    sys.stderr.write(text + "\n")


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


def fail(error: AutoscalerError, *, as_json: bool) -> NoReturn:
    """End with the error's words and its exit code."""
    code = EXIT_FAILED
    if isinstance(error, ConfigurationError):
        code = EXIT_USAGE
    elif isinstance(error, Refused):
        code = EXIT_REFUSED
    if as_json and isinstance(error, ConfigurationError):
        say(json.dumps({"errors": [problem_document(problem) for problem in error.problems]}))
    elif as_json:
        say(json.dumps({"error": str(error)}))
    else:
        say(f"autoscaler: {error}")
    raise SystemExit(code)
