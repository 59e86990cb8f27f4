"""One service's valid body to its frozen `ServiceSettings`, with what its keys say against each other.

Called by `loading` once a distinct body. Paths of problems are those that the user wrote, in `services`, `templates` or
`defaults`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar, cast

from autoscaler.configuration.block import Block, locate
from autoscaler.configuration.complaints import problem_at, what_and_remedy
from autoscaler.configuration.files import FileCheck
from autoscaler.configuration.freeze_windows import parse_freeze
from autoscaler.configuration.models import (
    AllowModel,
    GuardsModel,
    ReplicasModel,
    ScalingModel,
    ServiceModel,
    StepModel,
)
from autoscaler.configuration.placement_build import build_placement
from autoscaler.configuration.planned_models import build_planned
from autoscaler.configuration.route_build import build_route
from autoscaler.configuration.settings import RouterSettings, TargetSettings
from autoscaler.configuration.signal_models import build_signals
from autoscaler.configuration.strict import UseModel
from autoscaler.configuration.update_build import build_update
from autoscaler.configuration.vocabulary import Step, suggestion
from autoscaler.core.allowance import image_allowed, repository_of
from autoscaler.core.permissions import denials, source_of
from autoscaler.core.revision import ISOLATION, RevisionSpec
from autoscaler.core.settings import (
    Bounds,
    EventRules,
    FreezeWindow,
    Guards,
    Permissions,
    PolicyUse,
    Route,
    Scaling,
    ServiceSettings,
    StepLimit,
)
from autoscaler.errors import Problem

SHADOWS_MAX = 8
T = TypeVar("T")


def frozen_options(options: Mapping[str, object]) -> Mapping[str, object]:
    """JSON values that nobody can change: mapping proxies and tuples all the way down."""
    return MappingProxyType({str(key): _frozen(item) for key, item in options.items()})


def _frozen(value: object) -> object:
    if isinstance(value, Mapping):
        return frozen_options(value)
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    return value


def _permissions(model: AllowModel) -> Permissions:
    return Permissions(
        privileged=model.privileged,
        engine_socket=model.engine_socket,
        namespaces=tuple(model.namespaces),
        mounts=tuple(model.mounts),
        capabilities=tuple(model.capabilities),
        devices=tuple(source_of(device) for device in model.devices),
        cpu_millis=model.cpu,
        memory_bytes=model.memory,
    )


@dataclass(slots=True)
class ServiceBuilder:
    """Builds services against the targets of one file."""

    targets: Mapping[str, TargetSettings]
    unusable_targets: frozenset[str]
    files: FileCheck
    routers: Mapping[str, RouterSettings] = field(default_factory=dict)
    _body: Block = field(init=False)
    _problems: list[Problem] = field(default_factory=list)
    _parts: dict[str, Any] = field(default_factory=dict)

    def build(self, model: ServiceModel, body: Block) -> tuple[ServiceSettings, list[Problem]]:
        """The settings, of no use where their target is empty, and everything that contradicts."""
        self._body, self._problems = body, []
        target = self._target(model)
        revision = self._revision(model, target)
        uses = self._uses(model.placement.scorers, ("placement", "scorers"))
        placement = build_placement(model.placement, uses, self._placement_complaint)
        health = revision.health if revision else None
        policies = self._policies(model)
        bounds = self._bounds(model.replicas)
        settings = ServiceSettings(
            target=target.name if target else "",
            target_kind=target.kind if target else "docker",
            bounds=self._shared(bounds),
            policies=self._shared(tuple(use for use in policies if not use.shadow)),
            scaling=self._shared(self._scaling(model)),
            guards=self._shared(self._guards(model.guards)),
            update=self._shared(build_update(model.update, health, self._update_complaint)),
            placement=self._shared(placement),
            events=self._shared(self._events(model)),
            allow=self._shared(_permissions(model.allow)),
            revision=self._shared(revision),
            route=self._route(model, revision),
            priority=model.priority,
            cost_per_hour=model.cost_per_hour,
            shadows=self._shared(tuple(use for use in policies if use.shadow)),
            signals=self._shared(build_signals(model.signals, model.scaling.max_age, bounds.max, self._complain)),
            overrides=self._shared(build_planned(model.overrides, bounds, self._complain)),
        )
        return settings, self._problems

    def _shared(self, part: T) -> T:
        """The first part that is equal: thousands of services differ in a number or two, and share the rest."""
        known = self._parts.setdefault(f"{part!r}", part)
        return cast(T, known)

    def _complain(self, steps: Sequence[Step], what: str, remedy: str) -> None:
        self._problems.append(problem_at(locate(self._body, steps), what, remedy))

    def _placement_complaint(self, steps: tuple[Step, ...], what: str, remedy: str) -> None:
        self._complain(("placement", *steps), what, remedy)

    def _update_complaint(self, key: str | tuple[str | int, ...], what: str, remedy: str) -> None:
        self._complain(("update", *(key if isinstance(key, tuple) else (key,))), what, remedy)

    def _target(self, model: ServiceModel) -> TargetSettings | None:
        if model.target is None:
            known = ", ".join(self.targets) or "none yet"
            self._complain(("target",), "is missing", f"Name one of the targets: {known}.")
            return None
        if model.target not in self.targets:
            if model.target not in self.unusable_targets:
                remedy = suggestion(model.target, self.targets) if self.targets else "Add it to targets:."
                self._complain(("target",), "names no target of this file", remedy)
            return None
        return self.targets[model.target]

    def _bounds(self, model: ReplicasModel) -> Bounds:
        given = model.model_fields_set
        low, high, initial = model.min, model.max, model.initial
        if "max" not in given:
            high = max(high, low, initial or 0)
        if low > high:
            self._complain(("replicas", "max"), f"{high} is below min {low}", "Raise max or lower min.")
        elif initial is not None and not low <= initial <= high:
            self._complain(
                ("replicas", "initial"),
                f"{initial} is not within min {low} and max {high}",
                "Change initial or a bound.",
            )
        if high < 1:
            self._complain(("replicas", "max"), "is 0, so nothing could ever run", "Raise max.")
        return Bounds(min=low, max=high, initial=low if initial is None else initial)

    def _uses(self, models: Sequence[UseModel], steps: tuple[Step, ...]) -> tuple[PolicyUse, ...]:
        found: list[PolicyUse] = []
        labels: dict[str, int] = {}
        for index, model in enumerate(models):
            use = PolicyUse(use=model.use, options=frozen_options(model.options), name=model.name or "")
            first = labels.setdefault(use.label, index)
            if first != index:
                what = f"has the same label as {steps[-1]}[{first}], {use.label}"
                self._complain((*steps, index), what, "Give one of them a name: of its own.")
            found.append(use)
        return tuple(found)

    def _policies(self, model: ServiceModel) -> tuple[PolicyUse, ...]:
        """All policies in order, shadows too: their labels are one set of names."""
        uses = self._uses(model.policies, ("policies",))
        shadows = [index for index, policy in enumerate(model.policies) if policy.shadow]
        for index in shadows[SHADOWS_MAX:]:
            what = f"is shadow {shadows.index(index) + 1} of a service, and {SHADOWS_MAX} are allowed"
            self._complain(("policies", index, "shadow"), what, "Remove one.")
        return tuple(
            replace(use, shadow=True, place=place) if policy.shadow else use
            for place, (use, policy) in enumerate(zip(uses, model.policies, strict=True))
        )

    def _scaling(self, model: ServiceModel) -> Scaling:
        scaling = model.scaling
        if scaling.quorum is not None:
            self._quorum(scaling, sum(1 for policy in model.policies if not policy.shadow))
        return Scaling(
            down_window_s=scaling.down_window,
            up_window_s=scaling.up_window,
            up_cooldown_s=scaling.up_cooldown,
            down_cooldown_s=scaling.down_cooldown,
            idle_s=scaling.idle,
            max_age_s=scaling.max_age,
            combine=scaling.combine,
            quorum=scaling.quorum or 0,
            down_while_unproven=scaling.down_while_unproven,
        )

    def _quorum(self, scaling: ScalingModel, policies: int) -> None:
        at = ("scaling", "quorum")
        if scaling.combine != "quorum":
            self._complain(at, f"has no meaning with combine: {scaling.combine}", "Write combine: quorum or remove it.")
        elif (scaling.quorum or 0) > policies:
            self._complain(at, f"{scaling.quorum} of {policies} policies can never agree", "Lower it or add policies.")

    def _guards(self, model: GuardsModel) -> Guards:
        windows: list[FreezeWindow] = []
        for index, text in enumerate(model.freeze):
            try:
                windows.append(parse_freeze(text))
            except ValueError as error:
                self._complain(("guards", "freeze", index), *what_and_remedy(str(error)))
        return Guards(
            max_step_up=self._step("max_step_up", model.max_step_up),
            max_step_down=self._step("max_step_down", model.max_step_down),
            freeze=tuple(windows),
            plugins=self._uses(model.plugins, ("guards", "plugins")),
        )

    def _step(self, key: str, model: StepModel | None) -> StepLimit | None:
        if model is None:
            return None
        if model.by.is_zero:
            self._complain(
                ("guards", key, "by"), "is 0, so no step could be made", "Raise it, or use freeze or replicas."
            )
        return StepLimit(by=model.by, per_s=model.per)

    def _events(self, model: ServiceModel) -> EventRules:
        for index, pattern in enumerate(model.commands):
            try:
                words = shlex.split(pattern)
            except ValueError:
                words = []
            if not words:
                self._complain(("commands", index), "not a command line", "Write it as a shell would, such as serve *.")
        for key, given in (("images", model.images), ("event_env", model.event_env)):
            for index, text in enumerate(given):
                if not text.strip():
                    self._complain((key, index), "is empty", "Give it a value or remove it.")
        return EventRules(tuple(model.images), tuple(model.commands), tuple(model.event_env))

    def _revision(self, model: ServiceModel, target: TargetSettings | None) -> RevisionSpec | None:
        if model.revision is None:
            return None
        spec = model.revision.to_spec()
        if target is not None and target.kind == "process":
            self._process_revision(spec)
        elif target is not None:
            self._docker_revision(spec, model)
        secrets = []
        for name, written in spec.secrets:
            path = self.files.readable(written, locate(self._body, ("revision", "secrets", name)), self._problems)
            secrets.append((name, str(path)))
        return replace(spec, secrets=tuple(secrets))

    def _process_revision(self, spec: RevisionSpec) -> None:
        if not spec.command:
            self._complain(("revision", "command"), "is missing", "The process target runs a command: [...], no image.")
        for key in ("image", "entrypoint", "volumes", "networks", "user", "pull", *ISOLATION):
            if getattr(spec, key):
                self._complain(("revision", key), "has no meaning on the process target", "Remove it.")

    def _docker_revision(self, spec: RevisionSpec, model: ServiceModel) -> None:
        for denial in denials(spec, _permissions(model.allow)):
            self._complain(("revision", *denial.steps), denial.what, f"{denial.remedy}.")
        self._host_network(spec)
        if not spec.image:
            self._complain(("revision", "image"), "is missing", "The docker target runs an image.")
            return
        if not image_allowed(spec.image, tuple(model.images)):
            repository = repository_of(spec.image)
            remedy = f'Add "{repository}" to images.'
            self._complain(("revision", "image"), f"{repository} matches no pattern of images", remedy)

    def _host_network(self, spec: RevisionSpec) -> None:
        """On the host's network nothing is published: a port is the host's own."""
        if "host" not in spec.networks:
            return
        if len(spec.networks) > 1:
            self._complain(("revision", "networks"), "joins others beside the host's", "Keep host alone.")
        for name, port in spec.ports:
            if port.host != port.container:
                remedy = f"Write {{container: {port.container}, host: {port.container}}}."
                self._complain(("revision", "ports", name), "is the host's own on the host's network", remedy)

    def _route(self, model: ServiceModel, revision: RevisionSpec | None) -> Route | None:
        if model.route is None:
            return None

        def complain(key: str, what: str, remedy: str) -> None:
            self._complain(("route", key), what, remedy)

        return build_route(model.route, revision, self.routers, complain)
