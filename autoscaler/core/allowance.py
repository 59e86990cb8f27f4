"""What an event may set: images, commands, environment and the fields reserved to the configuration. Pure."""

from __future__ import annotations

import shlex
from dataclasses import replace
from fnmatch import fnmatchcase

from autoscaler.core.facts import Reason
from autoscaler.core.permissions import denials
from autoscaler.core.revision import ISOLATION, Resources, RevisionSpec
from autoscaler.core.settings import ServiceSettings

CONFIGURATION_ONLY = ("volumes", "networks", "secrets", "user", *ISOLATION)
CARRIED_ALONE = frozenset({"image", "command"})
"""A revision that gives only one of these is the last stable one with just that replaced."""


def repository_of(image: str) -> str:
    """The repository part of a reference: no tag, no digest. ``host:5000/shop/web:2@sha256:..`` ->
    ``host:5000/shop/web``."""
    name = image.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]


def digest_of(image: str) -> str:
    """The digest part of a reference (``sha256:...``), empty where it has none."""
    return image.partition("@")[2]


def tag_of(image: str) -> str:
    """The tag of a reference, empty where it has none."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def image_allowed(image: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern admits the image, as far as its name tells. ``shop/*`` matches one path element, ``shop/**``
    any number; ``shop/web:2.*`` wants such a tag, and ``shop/web@sha256:..`` that content, which a tag may turn out to
    be: `pin_allowed` has the last word."""
    return any(_named(image, pattern) for pattern in patterns)


def pin_allowed(image: str, pinned: str, patterns: tuple[str, ...]) -> bool:
    """Whether what the image turned out to be is admitted: a digest, or the engine's id of an image that has none."""
    content = digest_of(pinned) or pinned
    return any(_named(image, pattern) and digest_of(pattern) in ("", content) for pattern in patterns)


def _named(image: str, pattern: str) -> bool:
    digest, tag = digest_of(pattern), tag_of(pattern)
    if digest and digest_of(image) not in ("", digest):
        return False
    if tag and not fnmatchcase(tag_of(image) or "latest", tag):
        return False
    return _path_matches(repository_of(image), repository_of(pattern))


def _path_matches(repository: str, pattern: str) -> bool:
    if pattern == "**":
        return True
    parts, wanted = repository.split("/"), pattern.split("/")
    if wanted[-1] == "**":
        return len(parts) >= len(wanted) and all(map(fnmatchcase, parts, wanted[:-1]))
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def command_allowed(argv: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    """Whether an argv pattern admits the command: element by element with ``*`` and ``?``; a last ``**`` admits any
    rest."""
    for pattern in patterns:
        wanted = shlex.split(pattern)
        if wanted and wanted[-1] == "**":
            if len(argv) >= len(wanted) - 1 and all(map(fnmatchcase, argv, wanted[:-1])):
                return True
        elif len(argv) == len(wanted) and all(map(fnmatchcase, argv, wanted)):
            return True
    return False


def refusal_of(spec: RevisionSpec, fields: frozenset[str], settings: ServiceSettings) -> Reason | None:
    """Why an event may not bring this revision, or None where it may."""
    if settings.target_kind == "process" and spec.image:
        return Reason("target", "a process target runs a command, not an image. Give command instead of image")
    if settings.target_kind == "docker" and not spec.image:
        return Reason("target", "a docker target needs an image. Give image")
    if settings.target_kind == "process" and not spec.command:
        return Reason("target", "a process target needs a command. Give command")
    reserved = sorted(fields & set(CONFIGURATION_ONLY))
    if reserved:
        return Reason("field", f"{', '.join(reserved)} may only come from the configuration. Leave it out of the event")
    return (
        _image_refusal(spec, settings)
        or _command_refusal(spec, fields, settings)
        or _environment_refusal(spec, fields, settings)
        or _resources_refusal(spec, fields, settings)
        or _isolation_refusal(spec, settings)
    )


def _image_refusal(spec: RevisionSpec, settings: ServiceSettings) -> Reason | None:
    if not spec.image or image_allowed(spec.image, settings.events.images):
        return None
    listed = ", ".join(settings.events.images) or "none"
    return Reason(
        "image", f"repository {repository_of(spec.image)} is not in images ({listed}). Add it to the service's images"
    )


def _command_refusal(spec: RevisionSpec, fields: frozenset[str], settings: ServiceSettings) -> Reason | None:
    for name, argv in (("command", spec.command), ("entrypoint", spec.entrypoint)):
        configured = getattr(settings.revision, name) if settings.revision else ()
        if name in fields and argv != configured and not command_allowed(argv, settings.events.commands):
            return Reason(
                "command", f"this {name} is not admitted by commands. Add a pattern to the service's commands"
            )
    return None


def _environment_refusal(spec: RevisionSpec, fields: frozenset[str], settings: ServiceSettings) -> Reason | None:
    if "env" not in fields:
        return None
    configured = {name for name, _ in settings.revision.env} if settings.revision else set()
    foreign = sorted({name for name, _ in spec.env} - configured - set(settings.events.event_env))
    if foreign:
        return Reason("env", f"environment {', '.join(foreign)} is not in event_env. Add the name there")
    return None


def _resources_refusal(spec: RevisionSpec, fields: frozenset[str], settings: ServiceSettings) -> Reason | None:
    if "resources" not in fields:
        return None
    limit = settings.revision.resources if settings.revision else None
    if limit is None:
        return Reason("resources", "resources may only come from the configuration. Leave them out of the event")
    if spec.resources.cpu_millis > limit.cpu_millis or spec.resources.memory_bytes > limit.memory_bytes:
        return Reason(
            "resources", "more resources than the configuration's revision has. Ask for less or raise them there"
        )
    return None


def _isolation_refusal(spec: RevisionSpec, settings: ServiceSettings) -> Reason | None:
    """What the spec got from an earlier configuration may not be allowed any more."""
    found = denials(spec, settings.allow) if settings.target_kind == "docker" else ()
    return Reason("allow", f"revision.{found[0].text}") if found else None


def complete_spec(
    spec: RevisionSpec, fields: frozenset[str], stable: RevisionSpec | None, settings: ServiceSettings
) -> RevisionSpec:
    """The whole revision that an event means: alone an image (or command) is put into the last stable revision; a
    complete one gets from the configuration what only the configuration may set."""
    if len(fields) == 1 and fields <= CARRIED_ALONE and stable is not None:
        return (
            replace(stable.unresolved, image=spec.image)
            if "image" in fields
            else replace(stable.unresolved, command=spec.command)
        )
    configured = settings.revision
    if configured is None:
        # Nobody else says what a replica may use: the ceilings do.
        most = Resources(settings.allow.cpu_millis, settings.allow.memory_bytes)
        return spec if "resources" in fields else replace(spec, resources=most)
    resources = spec.resources if "resources" in fields else configured.resources
    return replace(spec, resources=resources, **{name: getattr(configured, name) for name in CONFIGURATION_ONLY})
