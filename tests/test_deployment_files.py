"""The compose file and the Dockerfile say what the program understands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from autoscaler.configuration import load

ROOT = Path(__file__).parents[1]


def test_configuration_of_the_compose_file_is_accepted(tmp_path: Path) -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    file = tmp_path / "autoscaler.yaml"
    file.write_text(compose["configs"]["autoscaler"]["content"])
    assert load(file, {}).configuration.cluster == "compose"


def test_compose_file_publishes_on_loopback_only() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_image_runs_as_a_number_and_gets_its_signals() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    assert json.loads(entry) == ["autoscaler"]


def test_image_takes_everything_that_the_build_needs() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {name for line in copied for name in line.split()[:-1]}
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources == admitted
    assert [name for name in sources if not (ROOT / name).exists()] == []
