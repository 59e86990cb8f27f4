"""A distribution of somebody else, built and installed for real, is found by its entry point and runs in the worker."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autoscaler.core.proposals import Scale
from autoscaler.core.settings import PolicyUse
from autoscaler.core.signals import ServiceSignals
from autoscaler.plugin_host import EvaluationRequest, PluginHost
from autoscaler.testing import NOW, a_service

SOURCE = Path(__file__).parents[1] / "third_party_plugin"


def install(tmp_path: Path) -> Path:
    """Build the distribution and install it; skips where the build backend is not to be had."""
    source = shutil.copytree(SOURCE, tmp_path / "source")
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*pip, "--target", str(site), str(source)], capture_output=True, text=True, check=False)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("the build backend hatchling cannot be fetched from the package registry")
    assert done.returncode == 0, done.stderr
    return site


async def test_an_installed_distribution_is_found_and_votes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path)))
    host = PluginHost.load(uses=["queue_length"])
    try:
        (plugin,) = host.plugins
        assert (plugin.distribution, plugin.error, plugin.in_process) == ("eventscaler-queue-length 0.1.0", "", False)
        signals = ServiceSignals()
        signals.fold("queue_length", NOW, 950.0, "/test")
        request = EvaluationRequest(a_service(), (PolicyUse("queue_length"),), signals, NOW)
        ((vote,),) = await host.foreign_votes([request])
        assert vote.proposal == Scale(10, "950 waiting, 100 a replica")
        assert "eventscaler_queue_length" not in sys.modules
    finally:
        host.kill()
