"""Finding, importing and checking plugin modules, in the main process or in the worker alike.

The bulk loader of pluggy stops at the first plugin that fails to import and checks hook names late; here each plugin
has its own try, and a misspelt argument or hook name is told at registration with the nearest right one.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from autoscaler import hookspecs
from autoscaler.plugin_host.answers import describe_error
from autoscaler.plugin_host.binding import OFFERED, wanted

GROUP = "autoscaler"
PRODUCT = "eventscaler"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a plugin comes from: an installed entry point ``value`` of ``distribution``, or a file."""

    name: str
    distribution: str
    value: str = ""
    file: str = ""
    shipped: bool = False


@dataclass(frozen=True, slots=True)
class Description:
    """What a plugin module declares: hook -> wanted arguments, what it proposes, whether it validates options.

    ``error``: why it is unusable, "" where it is not.
    """

    hooks: Mapping[str, tuple[str, ...]]
    proposes: frozenset[str] = frozenset({"scale"})
    validates: bool = False
    error: str = ""


def installed() -> dict[str, list[EntryPoint]]:
    """Entry points of the group by name, nothing imported; several distributions may claim one name."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        claimed = found.setdefault(point.name, [])
        if all(_distribution(point) != _distribution(other) or point.value != other.value for other in claimed):
            claimed.append(point)
    return found


def find(names: Iterable[str], base: Path) -> tuple[dict[str, Origin], dict[str, str]]:
    """The origins of the named plugins (``./mine.py`` is called ``mine``), and name -> error of those not to be had."""
    points = installed()
    origins: dict[str, Origin] = {}
    errors: dict[str, str] = {}
    for name in dict.fromkeys(names):
        is_file = name.endswith(".py") or "/" in name
        origin = _file(name, base) if is_file else _point(name, points)
        if isinstance(origin, str):
            errors[Path(name).stem if is_file else name] = origin
        elif origin.name in origins and origins[origin.name] != origin:
            first = origins[origin.name]
            errors[origin.name] = (
                f"two plugins are named {origin.name}: {first.distribution} and {origin.distribution}. Rename one"
            )
        else:
            origins[origin.name] = origin
    return {name: origin for name, origin in origins.items() if name not in errors}, errors


def _file(name: str, base: Path) -> Origin | str:
    path = (base / name).resolve()
    if not path.is_file():
        return f"no such file: {name}. Write the path relative to the configuration file"
    return Origin(path.stem, name, file=str(path))


def _point(name: str, points: Mapping[str, list[EntryPoint]]) -> Origin | str:
    claimed = points.get(name, [])
    if not claimed:
        near = get_close_matches(name, points, 1)
        remedy = f"Did you mean {near[0]}?" if near else "Install its distribution, or list its file under plugins"
        return f"no plugin named {name} is installed. {remedy}"
    if len(claimed) > 1:
        return f"two distributions bring a plugin {name}: {', '.join(map(_distribution, claimed))}. Uninstall one"
    point = claimed[0]
    shipped = point.dist is not None and point.dist.name == PRODUCT
    return Origin(name, _distribution(point), value=point.value, shipped=shipped)


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "unknown distribution"


def import_plugin(origin: Origin) -> ModuleType:
    """The imported module; raises whatever its import raises."""
    if not origin.file:
        return importlib.import_module(origin.value)
    module_name = f"autoscaler_plugin_file_{origin.name}"
    spec = importlib.util.spec_from_file_location(module_name, origin.file)
    if spec is None or spec.loader is None:
        raise ImportError(f"not importable: {origin.distribution}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # pydantic and pickle look a class's module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def load_plugin(origin: Origin) -> tuple[ModuleType | None, Description]:
    """Import and check one plugin; never raises what the plugin raised."""
    try:
        module = import_plugin(origin)
        description = describe(module)
    except KeyboardInterrupt:  # the operator's, not the plugin's
        raise
    except BaseException as error:  # noqa: BLE001 - the import runs foreign code, which may raise SystemExit
        return None, Description({}, error=f"its import failed: {describe_error(error)}")
    return (None if description.error else module), description


def describe(module: ModuleType) -> Description:
    """What the module declares; ``error`` set where one of its hooks could never be called rightly."""
    hooks: dict[str, tuple[str, ...]] = {}
    for hook, function, marks in implementations(module):
        error = _fault(hook, function, marks, hooks)
        if error:
            return Description({}, error=error)
        hooks[hook] = wanted(function)
    if not hooks:
        return Description({}, error="it implements no hook. Mark its functions with @autoscaler.hookimpl")
    proposes = getattr(module, "PROPOSES", frozenset({"scale"}))
    known = {"scale", "update", "rollback", "hold"}
    if not isinstance(proposes, set | frozenset | tuple | list) or not set(proposes) <= known:
        return Description({}, error=f"PROPOSES must be a set of {', '.join(sorted(known))}")
    return Description(hooks, frozenset(proposes), validates=options_model(module) is not None)


def implementations(module: ModuleType) -> list[tuple[str, Any, Mapping[str, Any]]]:
    """(hook, function, marks) of everything that `hookimpl` marked in the module."""
    found: list[tuple[str, Any, Mapping[str, Any]]] = []
    for name in sorted(vars(module)):
        function = vars(module)[name]
        marks = getattr(function, f"{hookspecs.PROJECT}_impl", None)
        if inspect.isroutine(function) and isinstance(marks, dict):
            found.append((marks.get("specname") or name, function, marks))
    return found


def _fault(hook: str, function: Any, marks: Mapping[str, Any], seen: Mapping[str, object]) -> str:
    if hook not in OFFERED:
        near = get_close_matches(hook, OFFERED, 1, 0.4)
        return f"there is no hook {hook}. " + (
            f"Did you mean {near[0]}?" if near else f"Hooks are {', '.join(sorted(OFFERED))}"
        )
    if hook in seen:
        return f"it implements {hook} twice. Keep one"
    if marks.get("wrapper") or marks.get("hookwrapper"):
        return f"{hook} is a wrapper, which the decision path does not have. Write a plain implementation"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return f"{hook} is async; hooks are plain functions. Drop async"
    if inspect.isgeneratorfunction(function):
        return f"{hook} is a generator; return a value instead of yielding it"
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            return f"{hook} takes *{name}; name the arguments that it wants"
        if name not in OFFERED[hook]:
            near = get_close_matches(name, OFFERED[hook], 1)
            offer = f"Did you mean {near[0]}?" if near else f"On offer are {', '.join(OFFERED[hook])}"
            return f"{hook} has no argument {name}. {offer}"
    return ""


def register(manager: pluggy.PluginManager, name: str, module: ModuleType) -> str:
    """Register with pluggy, the last word on validity; the error, or ""."""
    try:
        manager.register(module, name)
    except (pluggy.PluginValidationError, ValueError) as error:
        return describe_error(error)
    return ""


def options_model(module: ModuleType) -> Any | None:
    """The module's pydantic `Options`, or None; told by its methods, so that pydantic is loaded only where it is
    used."""
    model = getattr(module, "Options", None)
    return model if isinstance(model, type) and hasattr(model, "model_validate") else None


def thawed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as plain dicts and lists: the configuration's are read-only all the way down, which a strict model of a
    plugin does not take for JSON, nor a pipe to its process."""
    return {key: _thawed(value) for key, value in options.items()}


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return thawed(value)
    if isinstance(value, list | tuple):
        return [_thawed(item) for item in value]
    return value


def check_options(module: ModuleType, given: Mapping[str, Any]) -> tuple[Any, dict[str, Any], list[tuple[str, str]]]:
    """The options as the plugin gets them, as JSON values, and the (place, text) of what is wrong with them.

    What a module without `Options` gets is the mapping itself; one that never asks for options takes none.
    """
    model = options_model(module)
    if model is None:
        takes = any("options" in wanted(function) for _, function, _ in implementations(module))
        problems = [] if takes or not given else [(min(given), "the plugin takes no options")]
        return thawed(given), thawed(given), problems
    try:
        options = model.model_validate(thawed(given))
        return options, options.model_dump(mode="json", by_alias=True, exclude_none=True), []
    except KeyboardInterrupt:  # the operator's, not the plugin's
        raise
    except BaseException as error:  # noqa: BLE001 - validators are the plugin's code
        return None, {}, _option_problems(error, model)


def _option_problems(error: BaseException, model: Any) -> list[tuple[str, str]]:
    details = getattr(error, "errors", None)
    if not callable(details):
        return [("", describe_error(error))]
    problems = []
    fields = [field.alias or name for name, field in model.model_fields.items()]
    for detail in details(include_url=False, include_input=False, include_context=False):
        place = ".".join(str(part) for part in detail["loc"])
        text = str(detail["msg"]).removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            near = get_close_matches(place, fields, 1)
            text = f"no such option. Did you mean {near[0]}?" if near else f"no such option; known: {', '.join(fields)}"
        problems.append((place, text))
    return problems


def is_switched_off(name: str, environ: Mapping[str, str]) -> bool:
    """The switches: only those listed in AUTOSCALER_LOAD_PLUGINS (empty: none), never those in
    AUTOSCALER_DISABLE_PLUGINS."""
    disabled = {part.strip() for part in environ.get("AUTOSCALER_DISABLE_PLUGINS", "").split(",")}
    only = environ.get("AUTOSCALER_LOAD_PLUGINS")
    return name in disabled or (only is not None and name not in {part.strip() for part in only.split(",")})
