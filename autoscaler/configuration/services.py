"""Services from `defaults`, `templates` and `services`: merged, validated once a distinct body, shared where equal.

Called by `loading`. Ten thousand services of one template cost one validation and one `ServiceSettings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

from pydantic import ValidationError

from autoscaler.configuration.block import Block, Items, Origin, merged, without
from autoscaler.configuration.complaints import problem_at, validation_problems, what_and_remedy
from autoscaler.configuration.fields import NAME_REMEDY, is_name
from autoscaler.configuration.models import SERVICES_MAX, ServiceModel
from autoscaler.configuration.salvage import news, salvage
from autoscaler.configuration.vocabulary import suggestion
from autoscaler.core.settings import ServiceSettings
from autoscaler.errors import Problem
from autoscaler.events.places import printable

_RANGE = re.compile(r"\[([0-9]{1,9})-([0-9]{1,9})\]")
PATTERN_CHARS_MAX = 200

Built = tuple[ServiceSettings, Block]
Build = Callable[[ServiceModel, Block], tuple[ServiceSettings, list[Problem]]]


@dataclass(slots=True)
class Services:
    """Every valid service's settings, and the merged body that they came from; both shared where equal.

    ``declared`` names the invalid ones too.
    """

    settings: dict[str, ServiceSettings] = field(default_factory=dict)
    bodies: dict[str, Block] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    salvaged: list[Built] = field(default_factory=list)
    """What is valid of bodies that are not; in `settings` there is nothing of them."""


def build_services(root: Block, build: Build) -> Services:
    """The services of the tree. ``build`` turns one valid body into settings, or says why it cannot."""
    return _Builder(root, build).run()


class _Builder:
    def __init__(self, root: Block, build: Build) -> None:
        self._build = build
        self._result = Services()
        self._root = root
        self._defaults = self._section("defaults")
        self._templates: dict[str, Block] = {}
        self._named: dict[str, str] = {}
        self._known: dict[str, Built] = {}
        self._plain: dict[str, Built | None] = {}

    def run(self) -> Services:
        self._check_alone(self._defaults)
        self._read_templates()
        services = self._section("services")
        self._result.declared = {*services, *self._named}
        for name in services:
            self._service(name, services)
        for name, template in self._named.items():
            if name not in services:
                self._add_plain(name, template)
        return self._result

    def _complain(self, origin: Origin, what: str, remedy: str) -> None:
        self._result.problems.append(problem_at(origin, what, remedy))

    def _section(self, key: str) -> Block:
        value = self._root.get(key)
        if isinstance(value, Block):
            return value
        origin = self._root.origin(key)
        if value is not None:
            self._complain(origin, "must be a mapping", "Write `key: value` lines below it.")
        return Block(Origin(origin.file, origin.line, key))

    def _check_alone(self, body: Block) -> None:
        """A body that nobody may use yet is held to the same keys and types."""
        try:
            ServiceModel.model_validate(body)
        except ValidationError as error:
            self._result.problems.extend(validation_problems(error, body, ServiceModel))

    def _read_templates(self) -> None:
        section = self._section("templates")
        for name, written in section.items():
            origin = section.origin(name)
            if not is_name(name):
                self._complain(origin, "not a usable name for a template", NAME_REMEDY)
            if not isinstance(written, Block):
                self._complain(origin, "must be a mapping", "Write the service's body below it.")
                continue
            body = without(written, "names")
            self._check_alone(body)
            self._templates[name] = merged(self._defaults, body)
            if "names" in written:
                self._names(name, written)

    def _names(self, template: str, written: Block) -> None:
        names = written["names"]
        if not isinstance(names, Items):
            self._complain(written.origin("names"), "must be a list", 'Write it as ["web-[0-99]", "api"].')
            return
        for index, pattern in enumerate(names):
            origin = names.origin(index)
            for name in self._expanded(pattern, origin):
                other = self._named.setdefault(name, template)
                if other != template:
                    self._complain(origin, f"{name} is named by template {other} too", "Keep it in one of them.")
                    break
                if len(self._named) > SERVICES_MAX:
                    self._complain(origin, f"more than {SERVICES_MAX} services", "Split the cluster.")
                    return

    def _expanded(self, pattern: object, origin: Origin) -> Iterator[str]:
        if not isinstance(pattern, str) or len(pattern) > PATTERN_CHARS_MAX:
            self._complain(origin, "must be text", "Put it in quotes.")
            return
        try:
            names = list(expand(pattern))
        except ValueError as error:
            self._complain(origin, *what_and_remedy(str(error)))
            return
        for name in names:
            if not is_name(name):
                self._complain(origin, f"gives {printable(name)}, which is not a usable name", NAME_REMEDY)
                return
            yield name

    def _service(self, name: str, services: Block) -> None:
        written, origin = services[name], services.origin(name)
        if not is_name(name):
            self._complain(origin, "not a usable name for a service", NAME_REMEDY)
        if written is None:
            written = Block(origin)
        if not isinstance(written, Block):
            self._complain(origin, "must be a mapping", "Write the service's body below it.")
            return
        template = self._template_of(name, written)
        if template is None:
            self._add(name, merged(self._defaults, written) if self._defaults else written)
        elif template in self._templates:
            own = without(written, "template")
            if own:
                self._add(name, merged(self._templates[template], own))
            else:
                self._add_plain(name, template)
        else:
            self._check_alone(without(written, "template"))

    def _template_of(self, name: str, written: Block) -> str | None:
        named = self._named.get(name)
        if "template" not in written:
            return named
        template, origin = written["template"], written.origin("template")
        if not isinstance(template, str):
            self._complain(origin, "must be text", "Write the name of a template.")
            return ""
        if template not in self._templates and template not in self._section("templates"):
            self._complain(origin, "names no template", suggestion(template, self._templates))
        elif named is not None and named != template:
            self._complain(
                origin, f"{name} is named by template {named}", "Say that template, or take the name out of it."
            )
        return template

    def _add(self, name: str, body: Block) -> None:
        fingerprint = repr(body)
        built = self._known.get(fingerprint) or self._validated(body)
        if built is not None:
            self._known[fingerprint] = built
        self._keep(name, built)

    def _add_plain(self, name: str, template: str) -> None:
        """A service that overrides nothing: its template is validated and built once."""
        if template not in self._plain:
            self._plain[template] = self._validated(self._templates[template])
        self._keep(name, self._plain[template])

    def _keep(self, name: str, built: Built | None) -> None:
        if built is not None:
            self._result.settings[name], self._result.bodies[name] = built

    def _validated(self, body: Block) -> Built | None:
        try:
            model = ServiceModel.model_validate(body)
        except ValidationError as error:
            found = validation_problems(error, body, ServiceModel)
            self._result.problems.extend(found)
            rest = salvage(ServiceModel, body)
            if rest is not None:
                settings, problems = self._build(rest, body)
                self._result.problems.extend(news(found, problems))
                self._result.salvaged.append((settings, body))
            return None
        settings, problems = self._build(model, body)
        self._result.problems.extend(problems)
        if not settings.target:
            self._result.salvaged.append((settings, body))
            return None
        return settings, body


def expand(pattern: str) -> Iterator[str]:
    """The names of ``web-[0000-9999]``: each range counts up, as wide as its first number is written.

    Raises ValueError where a range runs backwards, the brackets don't pair or the names are too many.
    """
    literals = _RANGE.split(pattern)
    texts, firsts, lasts = literals[0::3], literals[1::3], literals[2::3]
    if any(bracket in text for text in texts for bracket in "[]"):
        raise ValueError("brackets that are no range; write a range as web-[0000-9999]")
    total, ranges = 1, []
    for first, last in zip(firsts, lasts, strict=True):
        if int(last) < int(first):
            raise ValueError("a range that runs backwards; write the smaller number first")
        total *= int(last) - int(first) + 1
        if total > SERVICES_MAX:
            raise ValueError(f"more than {SERVICES_MAX} names; make the range smaller")
        ranges.append([str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)])
    for chosen in product(*ranges):
        yield texts[0] + "".join(number + text for number, text in zip(chosen, texts[1:], strict=True))
