"""The worker process: imports foreign plugins and calls them, one call after the other.

Started as ``python -m autoscaler.plugin_host.worker FD BYTES`` by `WorkerProcess`, which ends it at a deadline. It
limits its own memory, answers each call before it begins the next, so that the parent knows which one a death is due
to, and gives every call its own copy of the facts, as a plugin may change what it gets.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import resource
import socket
import sys
import threading
from collections.abc import Callable
from time import perf_counter
from types import ModuleType
from typing import Any

from autoscaler.core.signals import SignalsView
from autoscaler.plugin_host.answers import describe_error
from autoscaler.plugin_host.binding import bind
from autoscaler.plugin_host.loading import Origin, check_options, implementations, load_plugin
from autoscaler.plugin_host.memories import made_plain
from autoscaler.plugin_host.wire import Gone, encode_answer, receive_frame, send_frame, to_json

OPTIONS_KEPT_MAX = 1024


class Worker:
    """The plugins of this process and what they have been asked so far."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self._modules: dict[str, ModuleType] = {}
        self._calls: dict[tuple[str, str], Callable[[tuple[Any, ...]], Any]] = {}
        self._options: dict[tuple[str, str], Any] = {}

    def serve(self) -> None:
        """Say hello, then answer frames until the parent is gone."""
        self._answer({"ready": True})
        while True:
            try:
                request = pickle.loads(receive_frame(self._channel))  # noqa: S301 - from the parent alone
            except Gone:
                return
            match request["ask"]:
                case "load":
                    self._answer(self._load(request["origin"]))
                case "options":
                    self._answer(self._check(request["plugin"], request["given"]))
                case "calls":
                    self._answer({"begun": True})  # from here on a death is due to a call
                    for call in request["calls"]:
                        self._answer(self._call(call, request["contexts"]))

    def _answer(self, answer: dict[str, Any]) -> None:
        if os.getpid() != self._pid:  # a plugin forked: its child must not speak on the parent's channel
            os._exit(0)
        send_frame(self._channel, to_json(answer))

    def _load(self, origin: Origin) -> dict[str, Any]:
        module, description = load_plugin(origin)
        if module is None:
            return {"error": description.error}
        self._modules[origin.name] = module
        for hook, function, _ in implementations(module):
            self._calls[origin.name, hook] = bind(function, hook)
        return {
            "hooks": {hook: list(names) for hook, names in description.hooks.items()},
            "proposes": sorted(description.proposes),
            "validates": description.validates,
        }

    def _check(self, plugin: str, given: dict[str, Any]) -> dict[str, Any]:
        _, plain, problems = check_options(self._modules[plugin], given)
        return {"options": plain, "problems": problems}

    def _call(self, call: dict[str, Any], contexts: list[bytes]) -> dict[str, Any]:
        view: SignalsView | None = None
        memory: dict[str, Any] | None = call.get("memory")
        before = json.dumps(memory)
        started = perf_counter()
        try:
            given = pickle.loads(contexts[call["context"]])  # noqa: S301 - from the parent alone
            options = self._options_of(call["plugin"], call["options"]) if call["hook"] in WITH_OPTIONS else None
            if "signals" in given:
                view = SignalsView(given["signals"], given["now"], given["max_age_s"])
            arguments = ARGUMENTS[call["hook"]](given, view, call, options, memory)
            value = self._calls[call["plugin"], call["hook"]](arguments)
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit included
            answer: dict[str, Any] = {"error": f"raised {describe_error(error)}"}
            if isinstance(error, MemoryError):
                answer["spent"] = True
        else:
            answer = {"value": value if call["hook"] in PLAIN else encode_answer(value)}
            kept, problem = made_plain(memory) if memory is not None else (None, "")
            if problem:
                answer = {"error": problem}
            elif kept is not None and json.dumps(kept) != before:
                answer["memory"] = kept
        answer["seconds"] = perf_counter() - started
        answer["looked_at"] = view.looked_at[:64] if view is not None else []
        return answer

    def _options_of(self, plugin: str, given: dict[str, Any]) -> Any:
        """Validated once per spelling, copied for each call."""
        key = (plugin, json.dumps(given, sort_keys=True))
        if key not in self._options:
            options, _, problems = check_options(self._modules[plugin], given)
            if problems:
                raise ValueError(f"option {problems[0][0]}: {problems[0][1]}")
            if len(self._options) >= OPTIONS_KEPT_MAX:
                self._options.clear()
            self._options[key] = options
        return copy.deepcopy(self._options[key])


Arguments = Callable[[dict[str, Any], SignalsView | None, dict[str, Any], Any, dict[str, Any] | None], tuple[Any, ...]]
ARGUMENTS: dict[str, Arguments] = {
    "propose": lambda given, view, _, options, memory: (given["service"], view, given["now"], options, memory),
    "guard": lambda given, view, call, options, _: (given["service"], view, call["proposal"], given["now"], options),
    "decode": lambda given, _view, _, options, _m: (given["message"], options),
    "verify_revision": lambda given, _view, _, _o, _m: (given["service"], given["revision"], given["event"]),
    "score_host": lambda given, _view, _, options, _m: (given["service"], given["revision"], given["host"], options),
    "notify": lambda given, _view, _, _o, _m: (given["record"],),
}
"""Hook -> its arguments in the order of `OFFERED`."""
WITH_OPTIONS = frozenset({"propose", "guard", "decode", "score_host"})
PLAIN = frozenset({"decode", "score_host"})
"""Hooks whose answers are JSON values as they are."""


def _watch_parent(parent: int) -> None:
    """End with the parent, even inside a plugin that never returns."""
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(1.0)
    os._exit(0)


def main() -> None:
    """Serve the channel whose descriptor is the first argument; the second is the memory limit in bytes."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    memory_bytes = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    os.dup2(2, 1)  # what plugins print is talk, never data
    Worker(channel).serve()
    os._exit(0)  # threads and exit handlers of plugins are not waited for


if __name__ == "__main__":
    main()
