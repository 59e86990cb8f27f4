"""One use of a plugin's hook, made ready once: what the hot path calls without looking anything up."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from autoscaler.plugin_host.standing import Standing

OFFERED = {
    "propose": ("service", "signals", "now", "options", "memory"),
    "guard": ("service", "signals", "proposal", "now", "options"),
    "decode": ("message", "options"),
    "score_host": ("service", "revision", "host", "options"),
    "verify_revision": ("service", "revision", "event"),
    "notify": ("record",),
    "register_target": ("config",),
    "register_stream": ("config",),
    "register_metrics": ("config",),
    "register_router": ("config",),
}
"""Hook -> its arguments in the order of `autoscaler.hookspecs`; a test holds the two equal."""

HookCall = Callable[[tuple[Any, ...]], Any]


def wanted(function: Callable[..., Any]) -> tuple[str, ...]:
    """The argument names of an implementation."""
    return tuple(inspect.signature(function).parameters)


def bind(function: Callable[..., Any], hook: str) -> HookCall:
    """A callable that takes all arguments on offer as one tuple and hands over the wanted ones."""
    offered = OFFERED[hook]
    parameters = inspect.signature(function).parameters
    places = [offered.index(name) for name in parameters]
    if any(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters.values()):
        names = tuple(parameters)
        return lambda given: function(**{name: given[place] for name, place in zip(names, places, strict=True)})
    if len(places) > 1:
        pick = itemgetter(*places)
        return lambda given: function(*pick(given))
    if places:
        only = places[0]
        return lambda given: function(given[only])
    return lambda _given: function()


def elsewhere(_given: tuple[Any, ...]) -> Any:
    """The call of a binding that has nothing to call in this process; to get here is the host's own mistake."""
    raise RuntimeError("this plugin does not run in this process")


@dataclass(frozen=True, slots=True)
class Binding:
    """A policy or guard of one service as it is called.

    ``problem``: why it cannot be called at all; its vote is then always unknown. ``call`` takes the hook's arguments as
    one tuple; where the plugin runs in the worker it is `elsewhere`. ``rollback``: it votes on revisions. ``scales``:
    it may also wish replicas.
    """

    label: str
    use: str
    problem: str
    call: HookCall
    options: Any
    raw_options: dict[str, Any]
    standing: Standing
    rollback: bool = False
    scales: bool = True
    remembers: bool = False
    shipped: bool = False
