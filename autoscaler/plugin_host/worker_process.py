"""The parent's side of the worker: starts it, asks it, and kills it at the deadline.

Everything here blocks, with a deadline; the host runs it in a thread. The worker answers call by call, so the first
call without an answer is what killed or hung it: that call failed, and the rest are asked again of a new worker.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

from autoscaler.plugin_host.loading import Description, Origin
from autoscaler.plugin_host.wire import ANSWER_BYTES_MAX, Gone, Late, from_json, receive_frame, send_frame

IMPORT_DEADLINE_S = 5.0
START_DEADLINE_S = 10.0
RESTARTS_MAX = 3
"""How often in a row the worker may die before any call is made, until the batch is given up."""
MEMORY_BYTES = 1024 * 1024 * 1024
ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
"""All that the worker inherits: nothing that could hold a secret."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a foreign plugin: ``context`` is the place of its facts in the batch; ``key`` tells the host whose
    it is."""

    key: int
    plugin: str
    hook: str
    context: int
    options: Mapping[str, Any]
    proposal: object = None
    memory: dict[str, Any] | None = None

    def message(self) -> dict[str, Any]:
        """The call as the worker reads it."""
        return {
            "plugin": self.plugin,
            "hook": self.hook,
            "context": self.context,
            "options": dict(self.options),
            "proposal": self.proposal,
            "memory": self.memory,
        }


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a call: ``answer`` as the worker sent it, or ``error``; ``late``: it was killed at the deadline."""

    answer: Mapping[str, Any]
    error: str = ""
    late: bool = False


class WorkerProcess:
    """One worker process with the given plugins, restarted whenever it had to be killed. Its methods may block."""

    def __init__(self, origins: Iterable[Origin], environ: Mapping[str, str], memory_bytes: int = MEMORY_BYTES) -> None:
        self._origins = {origin.name: origin for origin in origins}
        self._environ = {name: environ[name] for name in ENVIRONMENT if name in environ}
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._loaded: set[str] = set()
        self._lock = Lock()
        self.descriptions: dict[str, Description] = {}
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """The process id of the running worker."""
        return self._process.pid if self._process is not None else None

    def describe(self) -> Mapping[str, Description]:
        """What each plugin declares, or the error of one that could not be imported, in time and alive."""
        with self._lock:
            for name in self._origins:
                if name not in self.descriptions:
                    self._load(name)
        return self.descriptions

    def check_options(self, plugin: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """The validated options as JSON values, and the (place, text) of what is wrong with them."""
        with self._lock:
            error = self._load(plugin)
            if error:
                return {}, [("", error)]
            answered = self._ask({"ask": "options", "plugin": plugin, "given": dict(given)}, IMPORT_DEADLINE_S)
            if answered.error:
                self._kill()
                return {}, [("", f"its options could not be checked: {answered.error}")]
            problems = [(str(place), str(text)) for place, text in answered.answer.get("problems", [])]
            return dict(answered.answer.get("options", {})), problems

    def run(
        self,
        contexts: list[bytes],
        calls: Iterable[Call],
        deadline_s: float,
        may_call: Callable[[Call], bool],
        done: Callable[[Call, Answered], None],
    ) -> None:
        """Make the calls in order; tells ``done`` of each that was made. ``may_call`` is asked again after every
        death."""
        with self._lock:
            left, barren = list(calls), 0
            while left:
                before = left = [call for call in left if may_call(call)]
                left = self._run_some(contexts, left, deadline_s, done)
                barren = barren + 1 if left == before else 0
                if barren > RESTARTS_MAX:
                    for call in left:
                        done(call, Answered({}, "the worker does not stay alive"))
                    return

    def run_soon(self, context: bytes, call: Call, deadline_s: float, done: Callable[[Answered], None]) -> bool:
        """Make one call; False where another batch holds the worker for longer than ``deadline_s``."""
        if not self._lock.acquire(timeout=deadline_s):
            return False
        try:
            for _ in range(RESTARTS_MAX):
                if not self._run_some([context], [call], deadline_s, lambda _call, answered: done(answered)):
                    return True
            done(Answered({}, "the worker does not stay alive"))
            return True
        finally:
            self._lock.release()

    def _run_some(
        self, contexts: list[bytes], calls: list[Call], deadline_s: float, done: Callable[[Call, Answered], None]
    ) -> list[Call]:
        """Make calls until the worker has to be replaced; those still to be made."""
        ready = []
        for call in calls:
            error = self._load(call.plugin)
            if error:
                done(call, Answered({}, error))
            else:
                ready.append(call)
        if not ready:
            return []
        message = {"ask": "calls", "contexts": contexts, "calls": [call.message() for call in ready]}
        if self._ask(message, START_DEADLINE_S).error:  # it died since its last answer; no call is to blame
            self._kill()
            return ready
        for place, call in enumerate(ready):
            answered = self._receive(deadline_s)
            done(call, answered)
            if answered.error or answered.answer.get("spent"):
                self._kill()
                return ready[place + 1 :]
        return []

    def _load(self, name: str) -> str:
        """Load a plugin into the running worker, started where there is none; the error, "" where it is loaded.

        A plugin that never loaded is not tried again; one that did once is, as the fault may be the machine's.
        """
        known = self.descriptions.get(name)
        if known is not None and known.error:
            return known.error
        started = self._start()
        if started:
            return started
        if name in self._loaded:
            return ""
        answered = self._ask({"ask": "load", "origin": self._origins[name]}, IMPORT_DEADLINE_S)
        error = str(answered.answer.get("error", ""))
        if answered.error:
            self._kill()
            error = f"its import failed: {answered.error}"
        if error:
            if known is None:
                self.descriptions[name] = Description({}, error=error)
            return error
        hooks = {str(hook): tuple(names) for hook, names in answered.answer["hooks"].items()}
        proposes = frozenset(answered.answer["proposes"])
        self.descriptions[name] = Description(hooks, proposes, bool(answered.answer["validates"]))
        self._loaded.add(name)
        return ""

    def _start(self) -> str:
        """Have a running worker; the error, "" where there is one."""
        if self._process is not None and self._process.poll() is None:
            return ""
        self._kill()
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "autoscaler.plugin_host.worker"]
        environ = self._environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONUNBUFFERED": "1"}
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(self._memory_bytes)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environ,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # killed as a group, and no Ctrl-C of the terminal
            )
        self._channel = ours
        self.starts += 1
        hello = self._receive(START_DEADLINE_S)
        if hello.error:
            self._kill()
            return f"the worker did not start: {hello.error}"
        return ""

    def _ask(self, message: Mapping[str, Any], deadline_s: float) -> Answered:
        if self._channel is None:
            return Answered({}, "the worker did not start")
        try:
            self._channel.settimeout(START_DEADLINE_S)
            send_frame(self._channel, pickle.dumps(message))
        except OSError as error:
            return Answered({}, f"the worker is gone: {type(error).__name__}")
        return self._receive(deadline_s)

    def _receive(self, deadline_s: float) -> Answered:
        if self._channel is None:
            return Answered({}, "the worker did not start")
        self._channel.settimeout(None)
        try:
            return Answered(from_json(receive_frame(self._channel, deadline_s, ANSWER_BYTES_MAX)))
        except Late:
            return Answered({}, f"no answer within {deadline_s:g} s; killed", late=True)
        except Gone as gone:
            return Answered({}, f"the worker died: {self._cause(gone)}")

    def _cause(self, gone: Gone) -> str:
        if self._process is None:
            return str(gone)
        try:
            code = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            return str(gone)
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End the worker and what it started in its process group."""
        with self._lock:
            self._kill()

    def _kill(self) -> None:
        process, self._process = self._process, None
        channel, self._channel = self._channel, None
        self._loaded.clear()
        if channel is not None:
            channel.close()
        if process is not None:
            with suppress(ProcessLookupError):  # the whole group ended by itself
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
