"""Plugins that run in the worker process: batches out, judged answers in. Used by `PluginHost` only.

Votes and decoders share one worker, whose calls are short. Hooks that may do I/O get a worker of their own, started
only where a foreign plugin has such a hook, so that a slow verifier never holds up a vote.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from autoscaler.core.facts import EventRef
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.proposals import Refuse, Scale
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.signals import SignalsView
from autoscaler.core.stimuli import GuardNote, PolicyVote
from autoscaler.plugin_host.answers import judge_events, judge_refusal
from autoscaler.plugin_host.binding import Binding, elsewhere
from autoscaler.plugin_host.evaluation import EvaluationRequest
from autoscaler.plugin_host.loading import Description, Origin
from autoscaler.plugin_host.voting import (
    DEADLINE_S,
    ask_policy,
    conclude_guard,
    conclude_vote,
    skip_reason,
    unknown_vote,
)
from autoscaler.plugin_host.wire import decode_answer
from autoscaler.plugin_host.worker_process import Answered, Call, WorkerProcess

NAMES_MAX = 64
Ask = tuple[EvaluationRequest, tuple[Binding, ...]]


class ForeignPlugins:
    """The worker processes and what they are asked."""

    def __init__(self, origins: list[Origin], environ: Mapping[str, str]) -> None:
        self._quick = WorkerProcess(origins, environ)
        self._slow = WorkerProcess(origins, environ)
        # one thread each: the protocol is one batch at a time
        self._quick_thread = ThreadPoolExecutor(1, "plugin-worker")
        self._slow_thread = ThreadPoolExecutor(1, "plugin-worker-slow")

    @property
    def worker_pid(self) -> int | None:
        """The process id of the running worker, for those who watch it."""
        return self._quick.pid

    def describe(self) -> Mapping[str, Description]:
        """What each plugin declares; starts the worker where there is a plugin."""
        return self._quick.describe()

    def check_options(self, use: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Validate options in the worker; blocks."""
        return self._quick.check_options(use, given)

    async def votes(self, batch: list[Ask], *, beside: bool = False) -> list[tuple[PolicyVote, ...]]:
        """Votes of all services of the batch: foreign ones from the worker, the others asked here.

        ``beside``: they are shadows, and asked by the worker that live votes do not wait for.
        """
        cast: list[list[PolicyVote | None]] = []
        contexts: list[bytes] = []
        calls: list[Call] = []
        asked: list[tuple[int, int]] = []
        for row, (request, bindings) in enumerate(batch):
            votes: list[PolicyVote | None] = []
            for column, binding in enumerate(bindings):
                skip = skip_reason(binding, request.now)
                if skip:
                    votes.append(unknown_vote(binding, skip))
                elif binding.call is not elsewhere:
                    votes.append(ask_policy(binding, request))
                else:
                    votes.append(None)
                    memory = request.memory.get(binding.label, {})
                    calls.append(
                        Call(len(asked), binding.use, "propose", len(contexts), binding.raw_options, None, memory)
                    )
                    asked.append((row, column))
            if None in votes:
                contexts.append(_context(request))
            cast.append(votes)
        pairs = [(batch[row][0], batch[row][1][column]) for row, column in asked]
        answers = await self._run(contexts, calls, pairs, beside=beside)
        for key, (row, column) in enumerate(asked):
            request, binding = batch[row][0], batch[row][1][column]
            answered = answers.get(key)
            cast[row][column] = (
                unknown_vote(binding, skip_reason(binding, request.now) or "not asked")
                if answered is None
                else _vote(binding, request, answered)
            )
        return [tuple(vote for vote in votes if vote is not None) for votes in cast]

    async def _run(
        self,
        contexts: list[bytes],
        calls: list[Call],
        asked: list[tuple[EvaluationRequest, Binding]],
        *,
        beside: bool = False,
    ) -> dict[int, Answered]:
        """Call -> answer; failures count at once, so that a plugin that kills the worker is not tried for ever."""
        answers: dict[int, Answered] = {}

        def may_call(call: Call) -> bool:
            request, binding = asked[call.key]
            return not binding.standing.quarantined(request.now)

        def done(call: Call, answered: Answered) -> None:
            request, binding = asked[call.key]
            answers[call.key] = answered
            binding.standing.took(_seconds(answered))
            error = answered.error or str(answered.answer.get("error", ""))
            if error:
                binding.standing.failed(request.now, error[:500], late=answered.late)

        if calls:
            loop = asyncio.get_running_loop()
            thread, worker = (self._slow_thread, self._slow) if beside else (self._quick_thread, self._quick)
            await loop.run_in_executor(thread, worker.run, contexts, calls, DEADLINE_S, may_call, done)
        return answers

    async def scores(self, asks: list[tuple[Binding, bytes]], now: float) -> list[tuple[object, str]]:
        """Foreign plugins' answers about hosts, each with "" or why there is none; in the order of the asks."""
        found: list[tuple[object, str]] = [(None, "quarantined")] * len(asks)
        calls = [Call(n, binding.use, "score_host", n, binding.raw_options) for n, (binding, _) in enumerate(asks)]

        def may_call(call: Call) -> bool:
            return not asks[call.key][0].standing.quarantined(now)

        def done(call: Call, answered: Answered) -> None:
            standing = asks[call.key][0].standing
            standing.took(_seconds(answered))
            error = answered.error or str(answered.answer.get("error", ""))[:500]
            found[call.key] = (None if error else answered.answer.get("value"), error)
            if error:
                standing.failed(now, error, late=answered.late)

        contexts, loop = [context for _, context in asks], asyncio.get_running_loop()
        await loop.run_in_executor(self._quick_thread, self._quick.run, contexts, calls, DEADLINE_S, may_call, done)
        return found

    def guard_answer(self, binding: Binding, request: EvaluationRequest, wish: int) -> tuple[object, str]:
        """A foreign guard asked from the loop's own thread, which waits: at most its deadline, plus a worker's
        restart."""
        call = Call(0, binding.use, "guard", 0, binding.raw_options, Scale(wish))
        answers: list[Answered] = []
        if not self._quick.run_soon(_context(request), call, DEADLINE_S, answers.append):
            return None, "the worker is busy"
        answered = answers[0]
        binding.standing.took(_seconds(answered))
        answer, why = _value(answered)
        if why:
            binding.standing.failed(request.now, why, late=answered.late)
        return answer, why

    async def guard_note(self, binding: Binding, request: EvaluationRequest, wish: int) -> GuardNote | None:
        """One foreign guard's note about ``wish``."""
        why, answer = skip_reason(binding, request.now), None
        if not why:
            call = Call(0, binding.use, "guard", 0, binding.raw_options, Scale(wish))
            answered = (await self._run([_context(request)], [call], [(request, binding)]))[0]
            answer, why = _value(answered)
        return conclude_guard(binding, request, answer, why, wish)

    async def verify(
        self, name: str, facts: ServiceFacts | None, spec: RevisionSpec, event: EventRef, deadline_s: float
    ) -> tuple[Refuse | None, str]:
        """A foreign verifier's refusal or None, and "" or why it failed."""
        context = {"service": facts, "revision": spec, "event": event}
        answered = await self._one_slow(name, "verify_revision", context, deadline_s)
        return self.judge_refusal(*_value(answered))

    async def notify(self, name: str, record: Mapping[str, Any], deadline_s: float) -> str:
        """Tell a foreign notifier; the error, or ""."""
        return _value(await self._one_slow(name, "notify", {"record": dict(record)}, deadline_s))[1]

    async def decode(self, name: str, message: Mapping[str, Any]) -> tuple[list[dict[str, Any]] | None, str]:
        """A foreign decoder's events or None, and "" or why it failed."""
        call = Call(0, name, "decode", 0, {})
        answered = await self._one(self._quick_thread, self._quick, call, {"message": dict(message)}, DEADLINE_S)
        error = answered.error or str(answered.answer.get("error", ""))
        return self.judge_events(answered.answer.get("value"), error)

    async def _one_slow(self, name: str, hook: str, context: Mapping[str, Any], deadline_s: float) -> Answered:
        return await self._one(self._slow_thread, self._slow, Call(0, name, hook, 0, {}), context, deadline_s)

    async def _one(
        self,
        thread: ThreadPoolExecutor,
        worker: WorkerProcess,
        call: Call,
        context: Mapping[str, Any],
        deadline_s: float,
    ) -> Answered:
        answers: list[Answered] = []
        await asyncio.get_running_loop().run_in_executor(
            thread,
            worker.run,
            [pickle.dumps(dict(context))],
            [call],
            deadline_s,
            lambda _call: True,
            lambda _call, answered: answers.append(answered),
        )
        return answers[0]

    @staticmethod
    def judge_refusal(value: object, problem: str) -> tuple[Refuse | None, str]:
        """A verifier's answer, judged."""
        return (None, problem) if problem else judge_refusal(value)

    @staticmethod
    def judge_events(value: object, problem: str) -> tuple[list[dict[str, Any]] | None, str]:
        """A decoder's answer, judged."""
        return (None, problem) if problem else judge_events(value)

    def kill(self) -> None:
        """End the workers. A batch in flight ends first, at its deadlines."""
        for worker, thread in ((self._quick, self._quick_thread), (self._slow, self._slow_thread)):
            worker.kill()
            thread.shutdown(wait=False, cancel_futures=True)


def _context(request: EvaluationRequest) -> bytes:
    """A service's facts for the worker, pickled once for all its policies; the worker unpickles a copy for each
    call."""
    facts = {
        "service": request.facts,
        "signals": request.signals,
        "now": request.now,
        "max_age_s": request.max_age_s,
    }
    return pickle.dumps(facts)


def _seconds(answered: Answered) -> float:
    seconds = answered.answer.get("seconds", DEADLINE_S if answered.late else 0.0)
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _value(answered: Answered) -> tuple[object, str]:
    error = answered.error or str(answered.answer.get("error", ""))[:500]
    return (None, error) if error else decode_answer(answered.answer.get("value"))


def _vote(binding: Binding, request: EvaluationRequest, answered: Answered) -> PolicyVote:
    view = SignalsView(request.signals, request.now, request.max_age_s)
    looked_at = answered.answer.get("looked_at", [])
    names = looked_at if isinstance(looked_at, list) else []
    view.looked_at.extend(str(name)[:200] for name in names[:NAMES_MAX])
    error = answered.error or str(answered.answer.get("error", ""))[:500]
    if error:  # counted when it came
        return unknown_vote(binding, error, tuple(view.looked_at))
    answer, problem = decode_answer(answered.answer.get("value"))
    if problem:
        binding.standing.failed(request.now, problem)
        return unknown_vote(binding, problem, tuple(view.looked_at))
    memory = answered.answer.get("memory")
    return conclude_vote(binding, request, answer, view, memory if isinstance(memory, dict) else None)
