"""`Stepper`: one policy on virtual time, asked and arbitrated as a member does it.

An outside simulator calls `Stepper.step` with what the metric shows; or `simulation` does. The policy is called by the
plugin host, its vote goes through the guards of the core with the state that production would have, and what comes back
is the demand. Only the replicas are somebody else's: how many are ready and starting is told, never assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from numbers import Real
from pathlib import Path
from typing import Any

from autoscaler.configuration.complaints import what_and_remedy
from autoscaler.core.draft import Draft
from autoscaler.core.grants import UNLIMITED
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.proposals import Hold, Scale
from autoscaler.core.records import Record
from autoscaler.core.scaling import evaluate
from autoscaler.core.settings import Bounds, PolicyUse, Scaling, ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import PolicyVote
from autoscaler.engine.evaluation import readings_of, request_for, stimulus_for
from autoscaler.engine.volatile import Volatile
from autoscaler.errors import ConfigurationError, Problem
from autoscaler.lab.setting import LOAD, LOAD_EACH, SCALING, USUAL, Setting, finite, options_for
from autoscaler.plugin_host import PluginHost

SERVICE = "lab"
SOURCE = "/lab"
PERIODS_KNOWN = 3
"""A sample counts as known for at least so many periods."""
NAMES_MAX = 5
"""Times that a policy may ask for names it has not asked for before, within its first look."""


class Stepper:
    """One policy at work. ``demand``: replicas wanted now. ``record``: the last decision, with its reason and clamps;
    None before the first. ``wake_at``: when the policy wants to be asked again without a sample, or None."""

    def __init__(self, policy: str | Path, options: Mapping[str, Any], setting: Setting, scaling: Scaling) -> None:
        self.setting = setting
        name, self._host = loaded(policy)
        if not isinstance(options, Mapping):
            raise ConfigurationError([Problem(name, f"its options are no mapping, but {options!r}")])
        filled = options_for(name, options, setting, self._host.option_names(name))
        plain, problems = self._host.validate_options(name, filled)
        if problems:
            raise ConfigurationError(
                [Problem(f"{name}.{p.path}".rstrip("."), *what_and_remedy(p.what)) for p in problems]
            )
        self.options: Mapping[str, Any] = plain
        self.policy = name
        self.settings = ServiceSettings(
            "lab", "docker", Bounds(setting.minimum, setting.maximum), (PolicyUse(name, plain),), scaling
        )
        self.record: Record | None = None
        self.vote: PolicyVote | None = None
        self.wake_at: float | None = None
        self._volatile = Volatile(self.settings)
        self._state = ServiceState(SERVICE, revision=1, initialised=True)
        self._names: tuple[str, ...] = ()
        self._begun = False
        self._now = 0.0
        self._ahead = 0.0

    @property
    def demand(self) -> int:
        """Replicas wanted now."""
        return self._state.demand

    def step(self, t: float, load: float | None, ready: int, starting: int) -> int:
        """Take what the metric shows at ``t`` (seconds, never going back), and say how many replicas are wanted.

        ``load`` in requests/s, as late as the metric is; None, not a number, infinite or negative: no sample came, and
        the load is unknown. ``ready``, ``starting``: replicas that serve, and those that are on their way.
        Raises `ConfigurationError` where a caller's number is none.
        """
        now, seen, there, coming = self._taken(t, load, ready, starting)
        if not self._begun:
            self._begin(now, seen or 0.0, there, coming)
        self._now = now
        if seen is not None:
            self._fold(now, seen, there)
        (vote,) = votes = self._host.votes(self._request(now, there, coming))
        self.vote = vote
        proposal = vote.proposal
        wake_at = proposal.wake_at if isinstance(proposal, Scale | Hold) else None
        self.wake_at = None if wake_at is None else wake_at - self._ahead
        sampled = seen is not None
        stimulus = stimulus_for(self._state, self.settings, self._volatile, votes, now, sampled=sampled)
        if stimulus is not None:
            draft = Draft(self._state, now)
            evaluate(draft, self.settings, stimulus, UNLIMITED)
            if draft.records:
                self.record, self._state = draft.records[-1], draft.state
        return self._state.demand

    def _taken(self, t: Any, load: Any, ready: Any, starting: Any) -> tuple[float, float | None, int, int]:
        """A call's numbers, as plain ones, on a clock that never shows less than zero, as no real one does."""
        at, seen = finite(t), finite(load)
        if seen is None and load is not None and not isinstance(load, Real):
            raise ConfigurationError([Problem("load", f"{load!r} is no number", "Give NaN where it is unknown.")])
        if at is None:
            raise ConfigurationError([Problem("t", f"{t!r} is no moment", "Give seconds, from any beginning on.")])
        if not self._begun:
            self._ahead = max(0.0, -at)
        now = at + self._ahead
        if now < self._now:
            back = f"{at:g} is {self._now - now:g} s before the step that came last"
            raise ConfigurationError([Problem("t", back, "Time never goes back; another run takes another stepper.")])
        there, coming = (_count(name, of) for name, of in (("ready", ready), ("starting", starting)))
        return now, None if seen is None or seen < 0 else seen, there, coming

    @property
    def reason(self) -> str:
        """Why, in the words of the policy's last answer."""
        vote = self.vote
        if vote is None:
            return ""
        return vote.unknown or (vote.proposal.reason if vote.proposal is not None else "no opinion")

    @property
    def bound(self) -> float | None:
        """The load that the policy reckons with: what it keeps as ``bound`` in its memory, None where it does not."""
        bound = self._volatile.memory.get(self.policy, {}).get("bound")
        return float(bound) if isinstance(bound, int | float) else None

    @property
    def inputs(self) -> dict[str, float | None]:
        """The signals that the last answer looked at, and their newest values."""
        if self.vote is None:
            return {}
        read = readings_of(self._volatile, (self.vote,), self._volatile.judged_at)
        return {reading.signal: reading.value for reading in read}

    def _begin(self, t: float, load: float, ready: int, starting: int) -> None:
        """Start from what runs, and learn under which names the policy asks for the load."""
        self._begun = True
        bounds = self.settings.bounds
        demand = bounds.nearest(ready + starting)
        self._state = ServiceState(SERVICE, revision=1, initialised=True, demand=demand)
        for _ in range(NAMES_MAX):
            self._volatile = Volatile(self.settings)
            self._fold(t, load, ready)
            (vote,) = self._host.votes(self._request(t, ready, starting))
            if set(vote.metrics) <= set(self._names):
                break
            self._names = tuple(dict.fromkeys((*self._names, *vote.metrics)))
        self._volatile = Volatile(self.settings)

    def _fold(self, t: float, load: float, ready: int) -> None:
        fold = self._volatile.signals.fold
        for name in self._names or (LOAD,):
            fold(name, t, load / max(ready, 1) if name == LOAD_EACH else load, SOURCE)

    def _request(self, t: float, ready: int, starting: int) -> Any:
        bounds, demand = self.settings.bounds, self._state.demand
        facts = ServiceFacts(SERVICE, demand, bounds.min, bounds.max, ready, starting, 1, None, "idle", None)
        return request_for(self.settings, self._volatile, facts, t)


def _count(name: str, value: Any) -> int:
    number = finite(value)
    if number is None or number < 0:
        raise ConfigurationError([Problem(name, f"{value!r} is no number of replicas")])
    return int(number)


def stepper(  # noqa: PLR0913 - the names are the interface
    policy: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    capacity: float = USUAL.capacity,
    startup: float = USUAL.startup,
    period: float = USUAL.period,
    lag: float = USUAL.lag,
    window: float = USUAL.window,
    target: float = USUAL.target,
    minimum: int = USUAL.minimum,
    maximum: int = USUAL.maximum,
) -> Stepper:
    """A policy, by its name or as the path of a file, in a service whose ``scaling:`` is what `scaling_of` says.

    ``options`` are those under ``with:``; what they leave out comes from the other arguments, which `Setting` explains.
    The load stands under every name of a metric that the policy asks for. Raises `ConfigurationError` where there is no
    such policy or its options are wrong.
    """
    setting = Setting(capacity, startup, period, lag, window, target, minimum, maximum)
    return Stepper(policy, {} if options is None else options, setting, scaling_of(policy, setting))


def scaling_of(policy: str | Path, setting: Setting) -> Scaling:
    """The defaults of a service; for a policy that counts as another product, those that its page tells to set, so that
    its numbers are that product's. Where looks are rarer than usual, a sample is known for longer."""
    usual = SCALING.get(str(policy), Scaling())
    return Scaling(**{**asdict(usual), "max_age_s": max(usual.max_age_s, PERIODS_KNOWN * setting.period)})


def loaded(policy: Any) -> tuple[str, PluginHost]:
    """The policy's name and a host that runs it in this process, as a laboratory asks it more often than a worker
    could answer. Raises `ConfigurationError`."""
    if not isinstance(policy, str | Path) or not str(policy):
        raise ConfigurationError([Problem("policy", f"{policy!r} is no policy", "Give its name, or a file's path.")])
    policy = str(policy)
    is_file = policy.endswith(".py") or "/" in policy
    name = Path(policy).stem if is_file else policy
    host = PluginHost.load((policy,), Path.cwd(), trusted=frozenset({policy}))
    problems = [plugin for plugin in host.plugins if plugin.error]
    if problems:
        raise ConfigurationError([Problem(policy, *what_and_remedy(plugin.error)) for plugin in problems])
    return name, host
