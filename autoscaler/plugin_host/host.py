"""`PluginHost`: loads what the configuration names, asks it, bounds its time and isolates what it does wrong.

What ships with the product, and what the configuration trusts, is called here; everything else in the worker process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from autoscaler import hookspecs
from autoscaler.core.facts import EventRef
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.proposals import Refuse, Scale
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.settings import PolicyUse
from autoscaler.core.stimuli import GuardNote, PolicyVote
from autoscaler.errors import PolicyFailed, Problem
from autoscaler.plugin_host.answers import describe_error
from autoscaler.plugin_host.binding import Binding, HookCall, bind, elsewhere
from autoscaler.plugin_host.evaluation import EvaluationRequest
from autoscaler.plugin_host.foreign import ForeignPlugins
from autoscaler.plugin_host.loading import (
    Description,
    Origin,
    check_options,
    describe,
    find,
    implementations,
    is_switched_off,
    load_plugin,
    options_model,
    register,
    thawed,
)
from autoscaler.plugin_host.notices import Notices
from autoscaler.plugin_host.scoring import ScoreRequest, Scores, host_scores
from autoscaler.plugin_host.standing import Standing
from autoscaler.plugin_host.voting import ask_guard, ask_policy, conclude_guard, skip_reason

SLOW_DEADLINE_S = 10.0
"""For `verify_revision` and `notify`, which may do I/O."""
BOUND_MAX = 4096


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin that the configuration names, usable or not.

    ``distribution``: name and version, or the file as configured. ``error``: why it is unusable, "" where it is not.
    """

    name: str
    distribution: str
    in_process: bool
    hooks: tuple[str, ...]
    proposes: frozenset[str]
    error: str = ""
    shipped: bool = False


class PluginHost:
    """All plugins of one member. Its synchronous calls are made from one thread, that of the engine's loop."""

    def __init__(
        self, origins: Mapping[str, Origin], modules: Mapping[str, ModuleType], plugins: Mapping[str, Plugin],
        foreign: ForeignPlugins,
    ) -> None:  # fmt: skip
        self._origins = origins
        self._modules = modules
        self._plugins = dict(plugins)
        self._foreign = foreign
        self._calls = {
            (name, hook): bind(function, hook)
            for name, module in modules.items()
            for hook, function, _ in implementations(module)
        }
        self._standings = {name: Standing() for name in plugins}
        self._bound: dict[tuple[int, str], tuple[tuple[PolicyUse, ...], tuple[Binding, ...], bool]] = {}
        self._notices = Notices(self._deliver)
        self._threads: ThreadPoolExecutor | None = None

    @classmethod
    def load(
        cls,
        plugins: tuple[str, ...] = (),
        base: Path = Path(),
        uses: Iterable[str] = (),
        trusted: frozenset[str] = frozenset(),
        environ: Mapping[str, str] | None = None,
    ) -> PluginHost:
        """Load the plugins and the used policies. May block for seconds where foreign ones are imported.

        Nothing else is imported. Failures are kept, in `plugins` and `problems`. ``trusted`` ones are loaded into
        this process.
        """
        environ = environ or {}
        origins, errors = find(plugins, base)
        more, more_errors = find((use for use in uses if use not in origins and use not in errors), base)
        origins, errors = {**more, **origins}, {**more_errors, **errors}
        for name in [name for name in origins if is_switched_off(name, environ)]:
            errors[name] = "switched off by AUTOSCALER_DISABLE_PLUGINS or AUTOSCALER_LOAD_PLUGINS"
        wanted = {name: origin for name, origin in origins.items() if name not in errors}
        trusted_names = {Path(name).stem if name.endswith(".py") else name for name in trusted}
        inside = {name: o for name, o in wanted.items() if o.shipped or name in trusted_names}
        foreign = ForeignPlugins([o for name, o in wanted.items() if name not in inside], environ)
        modules: dict[str, ModuleType] = {}
        descriptions: dict[str, Description] = dict(foreign.describe())
        for name, origin in inside.items():
            module, descriptions[name] = load_plugin(origin)
            if module is not None:
                modules[name] = module
        return cls._of(origins, modules, descriptions, errors, foreign)

    @classmethod
    def of_modules(cls, **modules: ModuleType) -> PluginHost:
        """A host of modules that are imported already, all in this process: for tests and simulations."""
        origins = {name: Origin(name, "given", shipped=True) for name in modules}
        return cls._of(origins, modules, {n: describe(m) for n, m in modules.items()}, {}, ForeignPlugins([], {}))

    @classmethod
    def _of(
        cls, origins: Mapping[str, Origin], modules: Mapping[str, ModuleType], descriptions: Mapping[str, Description],
        errors: Mapping[str, str], foreign: ForeignPlugins,
    ) -> PluginHost:  # fmt: skip
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        usable = dict(modules)
        known: dict[str, Plugin] = {}
        for name in sorted({*origins, *errors}):
            origin = origins.get(name, Origin(name, "not found"))
            description = descriptions.get(name, Description({}))
            error = errors.get(name) or description.error
            if not error and name in modules:
                error = register(manager, name, modules[name])
            elif not error and any(hook.startswith("register_") for hook in description.hooks):
                error = "it registers an adapter, which runs in the process: set trusted: true for it"
            if error:
                usable.pop(name, None)
            known[name] = Plugin(
                name, origin.distribution, name in modules or origin.shipped, tuple(sorted(description.hooks)),
                description.proposes, error, origin.shipped,
            )  # fmt: skip
        return cls(origins, usable, known, foreign)

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Every plugin that the configuration names, by name, those that failed to load included."""
        return tuple(self._plugins[name] for name in sorted(self._plugins))

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker, None where none runs."""
        return self._foreign.worker_pid

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the plugins, with paths as in the configuration."""
        return tuple(
            Problem(f"plugins.{p.name}", p.error if p.distribution == "not found" else f"{p.distribution}: {p.error}")
            for p in self.plugins
            if p.error
        )

    def validate_options(
        self, use: str, given: Mapping[str, Any], hook: str = "propose"
    ) -> tuple[dict[str, Any], tuple[Problem, ...]]:
        """The options as JSON values, and what is wrong with them; paths are relative to ``with:``, "" for the use
        itself."""
        plugin = self._plugins.get(use)
        if plugin is None or plugin.error:
            return {}, (Problem("", plugin.error if plugin else f"the plugin {use} is not loaded"),)
        if hook not in plugin.hooks:
            return {}, (Problem("", f"the plugin {use} has no {hook}; it has {', '.join(plugin.hooks)}"),)
        if use in self._modules:
            _, plain, found = check_options(self._modules[use], given)
        else:
            plain, found = self._foreign.check_options(use, thawed(given))
        return plain, tuple(Problem(place, text) for place, text in found)

    def option_names(self, use: str) -> frozenset[str]:
        """What the policy's `Options` know, of one that runs in this process; empty where it has none."""
        model = options_model(self._modules[use]) if use in self._modules else None
        return frozenset(model.model_fields) if model is not None else frozenset()

    def runs_in_process(self, uses: tuple[PolicyUse, ...], hook: str = "propose") -> bool:
        """Whether `votes` (or, for ``guard``, `guard_notes`) may be asked; else `foreign_votes` must be."""
        bound = self._bound.get((id(uses), hook))
        if bound is not None and bound[0] is uses:
            return bound[2]
        return self._bind(uses, hook)[2]

    def votes(self, request: EvaluationRequest) -> tuple[PolicyVote, ...]:
        """The votes of a service whose policies all run in this process, in the order of its uses."""
        bound = self._bound.get((id(request.uses), "propose"))
        if bound is None or bound[0] is not request.uses:
            bound = self._bind(request.uses, "propose")
        return tuple([ask_policy(binding, request) for binding in bound[1]])

    async def foreign_votes(
        self, requests: list[EvaluationRequest], *, beside: bool = False
    ) -> list[tuple[PolicyVote, ...]]:
        """The votes of services with a foreign policy, in one batch, in order; shadows ``beside`` live ones."""
        batch = [(request, self._bind(request.uses, "propose")[1]) for request in requests]
        if not batch:
            return []
        return await self._foreign.votes(batch, beside=beside)

    def guard_notes(self, request: EvaluationRequest, wish: int) -> tuple[GuardNote, ...]:
        """What the guards (``request.uses``) say about ``wish``; none for what passes.

        Each guard sees what the one before made of the wish; after a veto the rest is not asked. A foreign one makes
        the caller wait for the worker: `foreign_guard_notes` does not.
        """
        notes: list[GuardNote] = []
        for binding in self._bind(request.uses, "guard")[1]:
            why = skip_reason(binding, request.now)
            answer = None
            if not why and binding.call is elsewhere:
                answer, why = self._foreign.guard_answer(binding, request, wish)
            elif not why:
                answer, why = ask_guard(binding, request, Scale(wish))
            note = conclude_guard(binding, request, answer, why, wish)
            if note is not None:
                notes.append(note)
                if note.to is None:
                    break
                wish = note.to
        return tuple(notes)

    async def foreign_guard_notes(self, request: EvaluationRequest, wish: int) -> tuple[GuardNote, ...]:
        """`guard_notes` where one of the guards is foreign."""
        notes: list[GuardNote] = []
        for binding in self._bind(request.uses, "guard")[1]:
            note = await self._foreign.guard_note(binding, request, wish)
            if note is not None:
                notes.append(note)
                if note.to is None:
                    break
                wish = note.to
        return tuple(notes)

    async def host_scores(self, request: ScoreRequest) -> Scores:
        """What `score_host` plugins say of the hosts; one that has nothing to say of a host has no entry for it."""
        return await host_scores(self._bind(request.uses, "score_host")[1], request, self._foreign)

    def _bind(self, uses: tuple[PolicyUse, ...], hook: str) -> tuple[tuple[PolicyUse, ...], tuple[Binding, ...], bool]:
        """The bindings of a tuple of uses, made once: options are a mapping, so the tuple's identity is the key."""
        key = (id(uses), hook)
        found = self._bound.get(key)
        if found is None or found[0] is not uses:
            if len(self._bound) >= BOUND_MAX:
                self._bound.clear()
            bindings = tuple(self._binding(use, hook) for use in uses)
            inside = all(binding.problem or binding.call is not elsewhere for binding in bindings)
            found = self._bound[key] = (uses, bindings, inside)
        return found

    def _binding(self, use: PolicyUse, hook: str) -> Binding:
        plugin = self._plugins.get(use.use)
        problem = plugin.error if plugin is not None else f"the plugin {use.use} is not loaded"
        if plugin is not None and not problem and hook not in plugin.hooks:
            problem = f"the plugin {use.use} has no {hook}"
        call: HookCall = elsewhere
        options, remembers = None, False
        if not problem and use.use in self._modules:
            call = self._calls[use.use, hook]
            options, _, found = check_options(self._modules[use.use], use.options)
            problem = f"option {found[0][0]}: {found[0][1]}" if found else ""
            remembers = "memory" in self._wanted(use.use, hook)
        proposes = plugin.proposes if plugin is not None else frozenset()
        return Binding(
            label=use.label, use=use.use, problem=problem, call=call, options=options, raw_options=thawed(use.options),
            # What a shadow does wrong is not held against the live use of the same plugin.
            standing=self._standings.setdefault(f"{use.use} (shadow)" if use.shadow else use.use, Standing()),
            rollback=bool(proposes) and proposes <= {"rollback"}, scales="scale" in proposes,
            remembers=remembers, shipped=plugin is not None and plugin.shipped,
        )  # fmt: skip

    def _wanted(self, name: str, hook: str) -> tuple[str, ...]:
        return describe(self._modules[name]).hooks.get(hook, ())

    def _with_hook(self, hook: str) -> list[str]:
        return [p.name for p in self.plugins if hook in p.hooks and not p.error]

    async def verify_revision(self, facts: ServiceFacts | None, spec: RevisionSpec, event: EventRef) -> Refuse | None:
        """The first refusal of a loaded verifier, or None. A verifier that fails or is late refuses."""
        for name in self._with_hook("verify_revision"):
            if name in self._modules:
                refusal, problem = await self._in_thread(name, "verify_revision", (facts, spec, event))
                verdict, problem = self._foreign.judge_refusal(refusal, problem)
            else:
                verdict, problem = await self._foreign.verify(name, facts, spec, event, SLOW_DEADLINE_S)
            self._count(name, problem)
            if problem:
                return Refuse(f"verifier {name} failed: {problem}")
            if verdict is not None:
                return verdict
        return None

    @property
    def verifies(self) -> bool:
        """Whether any loaded plugin verifies revisions."""
        return bool(self._with_hook("verify_revision"))

    @property
    def decodes(self) -> bool:
        """Whether any loaded plugin decodes foreign messages."""
        return bool(self._with_hook("decode"))

    async def decode(self, message: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """The events of the first decoder that takes the message as its own; None where none does. A failing one is
        counted."""
        for name in self._with_hook("decode"):
            if name in self._modules:
                options, _, _ = check_options(self._modules[name], {})
                value, problem = self._inside(name, "decode", (message, options))
                events, problem = self._foreign.judge_events(value, problem)
            else:
                events, problem = await self._foreign.decode(name, message)
            self._count(name, problem)
            if events is not None:
                return events
        return None

    def notify(self, record: Mapping[str, Any]) -> None:
        """Queue a durable record for every plugin that wants to be told; needs a running event loop."""
        for name in self._with_hook("notify"):
            self._notices.put(name, record)

    async def _deliver(self, name: str, record: Mapping[str, Any]) -> str:
        if name in self._modules:
            _, problem = await self._in_thread(name, "notify", (record,))
        else:
            problem = await self._foreign.notify(name, record, SLOW_DEADLINE_S)
        self._count(name, problem)
        return problem

    def adapter(self, hook: str, config: object) -> Any:
        """The first adapter that a `register_*` hook makes of ``config``, or None; raises PolicyFailed where one
        raises."""
        for name in self._with_hook(hook):
            made, problem = self._inside(name, hook, (config,))
            if problem:
                raise PolicyFailed(name, hook, problem)
            if made is not None:
                return made
        return None

    def _inside(self, name: str, hook: str, arguments: tuple[Any, ...]) -> tuple[Any, str]:
        try:
            return self._calls[name, hook](arguments), ""
        except KeyboardInterrupt:  # the operator's, not the plugin's
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit included
            return None, f"raised {describe_error(error)}"

    async def _in_thread(self, name: str, hook: str, arguments: tuple[Any, ...]) -> tuple[Any, str]:
        """Call a slow hook beside the loop; a late one is left to itself, as a thread cannot be ended."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(4, "plugin")
        call = asyncio.get_running_loop().run_in_executor(self._threads, self._inside, name, hook, arguments)
        try:
            return await asyncio.wait_for(call, SLOW_DEADLINE_S)
        except TimeoutError:
            return None, f"no answer within {SLOW_DEADLINE_S:g} s"

    def _count(self, name: str, problem: str) -> None:
        standing = self._standings[name]
        standing.calls += 1
        if problem:
            standing.failures += 1
            standing.last_error = problem

    def stats(self) -> dict[str, Standing]:
        """How each plugin has been doing, by name: counts, seconds, quarantine. Live objects, to be read only."""
        return dict(self._standings)

    @property
    def notices_dropped(self) -> int:
        """Records that some notifier was never told of."""
        return self._notices.dropped

    async def close(self, deadline_s: float = 2.0) -> None:
        """Drain the notices for ``deadline_s`` seconds, then end the worker."""
        await self._notices.drain(deadline_s)
        self.kill()

    def kill(self) -> None:
        """End the worker at once."""
        self._foreign.kill()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
