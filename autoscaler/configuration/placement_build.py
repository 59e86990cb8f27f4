"""The `placement:` block to `PlacementRules`, and taints as text. Called by `service_build` and `cluster_build`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from autoscaler.configuration.complaints import Complain
from autoscaler.configuration.placement_models import PlacementModel, TolerationModel
from autoscaler.core.settings import Affinity, PlacementRules, PolicyUse, Share, Toleration, Weights
from autoscaler.core.world import TaintEffect

TAINT_EFFECTS = frozenset(get_args(TaintEffect))
WHOLE = 100


def taint_parts(text: str) -> tuple[str, str, str]:
    """Key, value and effect of ``key=value:effect``, the last two empty where they are not written."""
    named, _, effect = text.partition(":")
    key, _, value = named.partition("=")
    return key.strip(), value.strip(), effect.strip()


def build_placement(model: PlacementModel, uses: Sequence[PolicyUse], complain: Complain) -> PlacementRules:
    """The rules; ``uses`` are the scorer plugins; contradictions go to ``complain(steps, what, remedy)``."""
    for key, wanted in model.shares.items():
        if sum(wanted.values()) > WHOLE:
            complain(("shares", key), "adds up to more than 100%", "Lower one of them.")
    labels = tuple((key, _values(value)) for key, value in sorted(model.labels.items()))
    affinity = [
        Affinity(key, _values(value), one.weight) for one in model.affinity for key, value in sorted(one.labels.items())
    ]
    weights = [scorer.weight for scorer in model.scorers]
    return PlacementRules(
        strategy=model.strategy,
        spread=tuple(model.spread),
        max_per_host=model.max_per_host,
        host_grace_s=model.host_grace,
        drain_report_s=model.drain_report,
        platform=model.platform or "",
        labels=labels,
        tolerations=_tolerations(model, complain),
        affinity=tuple(affinity),
        beside_none_of=tuple(model.not_beside),
        shares=tuple(Share(k, v, percent) for k, wanted in model.shares.items() for v, percent in wanted.items()),
        weights=Weights(**model.weights.model_dump()),
        scorers=tuple(zip(uses, weights, strict=True)),
        rebalance=model.rebalance,
    )


def _values(written: str | list[str]) -> tuple[str, ...]:
    return (written,) if isinstance(written, str) else tuple(written)


def _tolerations(model: PlacementModel, complain: Complain) -> tuple[Toleration, ...]:
    found = []
    for index, item in enumerate(model.tolerations):
        if isinstance(item, TolerationModel):
            found.append(Toleration(item.key, item.value, item.effect or ""))
            continue
        key, value, effect = taint_parts(item)
        if effect not in {"", *TAINT_EFFECTS}:
            complain(("tolerations", index), "not a toleration", "Write it as key, key=value or key=value:NoSchedule.")
            continue
        found.append(Toleration(key, value, effect))
    return tuple(found)
