"""The wheel holds the two packages and their entry points, and nothing that would land beside them."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The distribution, built from the tree."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = directory.glob("eventscaler-*.whl")
    with zipfile.ZipFile(built) as opened:
        yield opened


def test_wheel_holds_exactly_the_two_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    (information,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {"autoscaler", "autoscaler_plugins", information}


@pytest.mark.parametrize("package", ["autoscaler", "autoscaler_plugins"])
def test_wheel_is_typed_and_complete(wheel: zipfile.ZipFile, package: str) -> None:
    folder = ROOT if package == "autoscaler" else ROOT / "plugins"
    sources = {str(path.relative_to(folder)) for path in (folder / package).rglob("*.py")}
    assert sources | {f"{package}/py.typed"} <= set(wheel.namelist())


def test_wheel_registers_command_policies_and_fixtures(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    entries = configparser.ConfigParser()
    entries.read_string(wheel.read(name).decode())
    assert dict(entries["console_scripts"]) == {"autoscaler": "autoscaler.cli.main:main"}
    assert dict(entries["pytest11"]) == {"autoscaler": "autoscaler.testing.pytest_plugin"}
    policies = {path.stem for path in (ROOT / "plugins" / "autoscaler_plugins").glob("[a-z]*.py")}
    assert set(entries["autoscaler"]) == policies
