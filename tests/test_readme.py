"""What README shows works as shown."""

import re
from pathlib import Path

import pytest

from autoscaler.configuration.loading import load
from autoscaler.core.settings import PolicyUse
from autoscaler.core.signals import ServiceSignals
from autoscaler.plugin_host import EvaluationRequest, PluginHost
from autoscaler.testing import a_service

README = (Path(__file__).parent.parent / "README.md").read_text()


def block(language: str, containing: str) -> str:
    """The one fenced block of the language that contains the text."""
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text]
    assert len(found) == 1, f"README has {len(found)} {language} blocks with {containing!r}"
    return found[0]


async def test_the_ten_line_policy_runs_as_printed(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(block("python", "queue_length"))
    host = PluginHost.load(("./mine.py",), tmp_path, ["mine"])
    assert host.problems == ()
    signals = ServiceSignals()
    signals.fold("queue_length", 1000.0, 840.0, "/test")
    request = EvaluationRequest(a_service(demand=1), (PolicyUse("mine"),), signals, 1000.0)
    try:
        ((vote,),) = await host.foreign_votes([request])
    finally:
        await host.close()
    assert (vote.proposal.to, vote.proposal.reason) == (9, "840 waiting, 100 a replica")


def test_the_policy_has_ten_lines() -> None:
    assert len(block("python", "queue_length").splitlines()) == 10


def test_the_configuration_beside_kafka_is_valid(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
    path = tmp_path / "autoscaler.yaml"
    path.write_text(block("yaml", "kind: kafka"))
    configuration = load(path, {}).configuration
    assert configuration.services["checkout"].bounds.max == 40


@pytest.mark.parametrize("name", ["demo", "test", "bench"])
def test_the_make_targets_it_names_exist(name: str) -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    assert f"make {name}" in README
    assert re.search(rf"^{name}:", makefile, re.MULTILINE)
