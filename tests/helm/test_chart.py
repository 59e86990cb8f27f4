"""The chart lints, renders, refuses what it does not know, and renders a configuration that the program accepts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.configuration import load

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "autoscaler"
CASES = sorted((CHART / "ci").glob("*-values.yaml"))
Helm = Callable[..., str]


@pytest.fixture
def helm(find_part: Callable[[str], str]) -> Helm:
    """Run helm; the result is what it printed."""
    program = find_part("helm")

    def run(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise subprocess.CalledProcessError(done.returncode, arguments, done.stdout, done.stderr)
        return done.stdout

    return run


def rendered(helm: Helm, *arguments: str) -> dict[tuple[str, str], Any]:
    """The objects that the chart makes, by kind and name."""
    text = helm("template", "shop", str(CHART), *arguments)
    documents = [document for document in yaml.safe_load_all(text) if document]
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


@pytest.mark.parametrize("values", CASES, ids=lambda path: path.stem)
def test_chart_passes_lint(helm: Helm, values: Path) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "--values", str(values))


def test_shipped_values_pass_their_own_schema(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    leaves = [number for number, line in enumerate(lines) if ":" in line and not line.lstrip().startswith("#")]
    sections = {number for number in leaves if lines[number].endswith(":")}
    inside_config = range(lines.index("config:"), lines.index("dockerSocket:"))
    inside_resources = range(lines.index("resources:"), lines.index("extraEnv: []"))
    bare = [
        lines[number]
        for number in leaves
        if number not in sections
        and number not in inside_config
        and number not in inside_resources
        and not lines[number - 1].lstrip().startswith("# --")
    ]
    assert bare == []


def test_missing_brokers_are_asked_for(helm: Helm) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        helm("template", "shop", str(CHART))
    assert "stream.brokers is needed" in failure.value.stderr


def test_unknown_value_is_refused(helm: Helm) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        helm("template", "shop", str(CHART), "--set", "stream.brokers={kafka:9092}", "--set", "replicsa=2")
    assert "replicsa" in failure.value.stderr


@pytest.mark.parametrize("values", CASES, ids=lambda path: path.stem)
def test_rendered_configuration_is_accepted(helm: Helm, values: Path, tmp_path: Path) -> None:
    made = rendered(helm, "--values", str(values))
    text = made["ConfigMap", "shop-autoscaler"]["data"]["autoscaler.yaml"]
    for name in ("kafka/password", "kafka-ca/ca.crt"):
        secret = tmp_path / name
        secret.parent.mkdir(parents=True)
        secret.write_text("secret")
    file = tmp_path / "autoscaler.yaml"
    file.write_text(text.replace("/run/secrets", str(tmp_path)))
    assert load(file, {}).configuration.cluster == yaml.safe_load(values.read_text()).get("cluster", "default")


def test_pod_runs_without_privilege(helm: Helm) -> None:
    made = rendered(helm, "--set", "stream.brokers={kafka:9092}")
    pod = made["StatefulSet", "shop-autoscaler"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]


@pytest.mark.parametrize(("replicas", "budgets"), [(1, 0), (2, 1)], ids=["one member", "two members"])
def test_disruption_budget_needs_a_second_member(helm: Helm, replicas: int, budgets: int) -> None:
    made = rendered(helm, "--set", "stream.brokers={kafka:9092}", "--set", f"replicas={replicas}")
    assert len([kind for kind, _ in made if kind == "PodDisruptionBudget"]) == budgets


def test_change_of_configuration_restarts_the_pods(helm: Helm) -> None:
    sums = set()
    for cluster in ("a", "b"):
        made = rendered(helm, "--set", "stream.brokers={kafka:9092}", "--set", f"cluster={cluster}")
        template = made["StatefulSet", "shop-autoscaler"]["spec"]["template"]
        sums.add(template["metadata"]["annotations"]["checksum/config"])
    assert len(sums) == 2
