"""The pages for those who come from another autoscaler, and the one on policies: every option that they name exists,
every example is valid."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from autoscaler.configuration.budget_models import BudgetModel
from autoscaler.configuration.models import KafkaLagModel, ServiceModel

PAGES = sorted((Path(__file__).parents[2] / "docs" / "coming-from").glob("*.md"))
POLICIES = Path(__file__).parents[2] / "docs" / "policies.md"
PART = re.compile(r"(?P<of>[a-z0-9_.]+): (?P<names>`[^`]+`(?:, `[^`]+`)*)")


BLOCKS: dict[str, type[BaseModel]] = {"service": ServiceModel, "metrics.kafka": KafkaLagModel, "budgets": BudgetModel}
"""What a row may name beside a policy: a block of the configuration."""


def plugin(name: str) -> ModuleType:
    return importlib.import_module(f"autoscaler_plugins.{name}")


def mapped(page: Path) -> list[tuple[str, str]]:
    """(Policy or block, option) of the middle column; nothing else may stand there but "none"."""
    found: list[tuple[str, str]] = []
    rows = [line for line in page.read_text().splitlines() if line.startswith("|")][2:]
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 3, row
        if cells[1] == "none":
            assert cells[2], row
            continue
        match = PART.fullmatch(cells[1])
        assert match, row
        found += [(match["of"], name) for name in re.findall(r"`([^`]+)`", match["names"])]
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models of a field's type, whatever they are wrapped in."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is None and not isinstance(annotation, UnionType):
        return []
    arguments = get_args(annotation)
    return [model for argument in arguments for model in models_in(argument)]


def has(model: type[BaseModel], path: list[str]) -> bool:
    """Whether the model has a field of that dotted name, by its alias where it has one."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    if path[0] not in fields:
        return False
    return len(path) == 1 or any(has(inner, path[1:]) for inner in models_in(fields[path[0]].annotation))


def test_there_is_a_page_for_each() -> None:
    assert [page.stem for page in PAGES] == ["hpa", "keda", "knative", "nomad", "swarm"]


@pytest.mark.parametrize(
    ("of", "option"),
    [pytest.param(*pair, id=f"{page.stem}-{'.'.join(pair)}") for page in PAGES for pair in mapped(page)],
)
def test_what_is_named_exists(of: str, option: str) -> None:
    model = BLOCKS[of] if of in BLOCKS else plugin(of).Options
    assert has(model, option.split("."))


def examples(page: Path) -> list[str]:
    """The YAML of a page that stands in a service."""
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return [block for block in blocks if not block.startswith("budgets:")]


def service_of(block: str) -> ServiceModel:
    """The body of the service, the options of its policies checked as well."""
    body = ServiceModel.model_validate(yaml.safe_load(block))
    for use in body.policies:
        plugin(use.use).Options.model_validate(use.options)
    return body


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_example_is_valid(page: Path) -> None:
    (block,) = examples(page)
    assert service_of(block).policies


@pytest.mark.parametrize("block", examples(POLICIES))
def test_the_examples_of_the_page_on_policies_are_valid(block: str) -> None:
    service_of(block)


@pytest.mark.parametrize(("policy", "page"), [("hpa_v2", "hpa"), ("keda", "keda"), ("kpa", "knative"),
                                              ("nomad_target_value", "nomad")])  # fmt: skip
def test_no_option_of_the_policy_is_left_out(policy: str, page: str) -> None:
    named = {
        option.partition(".")[0] for of, option in mapped(PAGES[[p.stem for p in PAGES].index(page)]) if of == policy
    }
    assert set(plugin(policy).Options.model_fields) - named == set()


FIELDS = {
    "hpa": (
        "scaleTargetRef minReplicas maxReplicas metrics[].type resource.name pods.metric.name external.metric.name"
        " metric.selector target.type target.averageUtilization target.averageValue target.value ContainerResource"
        " container Object describedObject behavior scaleUp.stabilizationWindowSeconds selectPolicy"
        " scaleDown.stabilizationWindowSeconds scaleUp.policies[].type scaleDown.policies[].type .value .periodSeconds"
        " behavior.*.tolerance HPAScaleToZero currentReplicas desiredReplicas currentMetrics lastScaleTime conditions"
    ),
    "kube-controller-manager": (
        "sync-period downscale-stabilization tolerance cpu-initialization-period initial-readiness-delay"
    ),
    "keda": (
        "scaleTargetRef pollingInterval cooldownPeriod initialCooldownPeriod idleReplicaCount minReplicaCount"
        " maxReplicaCount fallback.failureThreshold fallback.replicas fallback.behavior restoreToOriginalReplicaCount"
        " horizontalPodAutoscalerConfig.name horizontalPodAutoscalerConfig.behavior scalingModifiers triggers[].type"
        " triggers[].name triggers[].metadata triggers[].useCachedMetrics triggers[].authenticationRef"
        " triggers[].metricType activationThreshold autoscaling.keda.sh/paused autoscaling.keda.sh/paused-replicas"
        " paused-scale-in paused-scale-out force-activation transfer-hpa-ownership desiredReplicas timezone"
        " bootstrapServers consumerGroup topic lagThreshold activationLagThreshold offsetResetPolicy allowIdleConsumers"
        " scaleToZeroOnInvalidOffset excludePersistentLag limitToPartitionsWithLag ensureEvenDistributionOfPartitions"
        " version partitionLimitation sasl tls ScaledJob TriggerAuthentication"
    ),
    "knative": (
        "class metric metric-aggregation-algorithm target target-utilization-percentage min-scale max-scale"
        " initial-scale activation-scale scale-down-delay window panic-window-percentage panic-threshold-percentage"
        " scale-to-zero-pod-retention-period target-burst-capacity"
    ),
    "config-autoscaler": (
        "containerConcurrency container-concurrency-target-percentage container-concurrency-target-default"
        " requests-per-second-target-default stable-window max-scale-up-rate max-scale-down-rate enable-scale-to-zero"
        " scale-to-zero-grace-period scale-to-zero-pod-retention-period target-burst-capacity pod-autoscaler-class"
        " activator-capacity allow-zero-initial-scale max-scale-limit tick-interval min-scale max-scale initial-scale"
        " scale-down-delay panic-window-percentage panic-threshold-percentage"
    ),
    "nomad": (
        "enabled type min max cooldown cooldown_on_scale_up evaluation_interval on_check_error check.source check.query"
        " check.query_window check.query_window_offset check.group check.on_error target-value target threshold"
        " max_scale_up max_scale_down lower_bound upper_bound within_bounds_trigger delta percentage value fixed-value"
        " pass-through schedule.start schedule.end schedule.duration dry-run"
    ),
}
"""What each product lets its users write, from its reference."""
PREFIX = {"knative": "autoscaling.knative.dev/", "kube-controller-manager": "--horizontal-pod-autoscaler-"}
PAGE = {"config-autoscaler": "knative", "kube-controller-manager": "hpa"}


@pytest.mark.parametrize("product", FIELDS)
def test_every_field_of_the_product_is_mapped_or_said_not_to_be(product: str) -> None:
    page = next(page for page in PAGES if page.stem == PAGE.get(product, product))
    rows = [line.strip("|").split("|") for line in page.read_text().splitlines() if line.startswith("|")]
    told = " ".join(re.findall(r"`([^`]+)`", " ".join(cell for row in rows for cell in (row[0], row[2]))))
    names = [PREFIX.get(product, "") + name for name in FIELDS[product].split()]
    assert [name for name in names if not re.search(rf"(?<!\w){re.escape(name)}(?![\w-])", told)] == []
