"""The effective configuration with the origin of each value, for `check --show`. Holds no secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autoscaler.configuration.block import Block, Items, entry
from autoscaler.configuration.effective import effective_cluster, effective_service
from autoscaler.configuration.loading import Loaded
from autoscaler.configuration.vocabulary import Step

DEFAULT = "default"
Row = dict[str, Any]
# Keys that say the same in other words: what the effective value is called -> what may have been written.
_ALSO_WRITTEN: dict[tuple[Step, ...], tuple[Step, ...]] = {("update", "on_failure"): ("update", "rollback")}


def show(loaded: Loaded) -> dict[str, Any]:
    """``digest``, ``settings`` and ``services``.

    ``settings`` and each service's ``settings`` are rows of ``path``, ``value`` and ``origin`` (``default``,
    ``file:line`` or ``environment NAME``), in the file's order of keys. Services that share all settings share one
    entry, its ``names`` sorted.
    """
    configuration = loaded.configuration
    groups: dict[int, list[str]] = {}
    for name, settings in configuration.services.items():
        groups.setdefault(id(settings), []).append(name)
    return {
        "digest": configuration.digest,
        "settings": list(_rows(effective_cluster(configuration), loaded.root, ())),
        "services": [
            {
                "names": sorted(names),
                "settings": list(
                    _rows(effective_service(configuration.services[names[0]]), loaded.bodies[names[0]], ())
                ),
            }
            for names in groups.values()
        ],
    }


def _rows(value: object, root: Block, steps: tuple[Step, ...]) -> Iterator[Row]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _rows(item, root, (*steps, key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _rows(item, root, (*steps, index))
    else:
        yield {"path": _dotted(steps), "value": value, "origin": _origin(root, steps)}


def _dotted(steps: tuple[Step, ...]) -> str:
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _origin(root: Block, steps: tuple[Step, ...]) -> str:
    node: object = root
    origin = DEFAULT
    for step in steps:
        found = entry(node, step)
        if found is None:
            # A short form, such as `ports: {http: 8080}`, stands for the whole entry; a mapping leaves its default.
            if isinstance(node, Block | Items):
                other = _ALSO_WRITTEN.get(steps)
                return _origin(root, other) if other else DEFAULT
            return origin
        node, origin = found[0], str(found[1])
    return origin
