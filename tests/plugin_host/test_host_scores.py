"""`score_host` plugins are asked about each host; what is no score counts as none, and as the plugin's failure."""

from __future__ import annotations

import pytest

from autoscaler.core.revision import RevisionSpec
from autoscaler.core.settings import PolicyUse
from autoscaler.core.world import HostView, Taint
from autoscaler.plugin_host import PluginHost, ScoreRequest
from autoscaler.testing import NOW, a_service
from tests.plugin_host.conftest import Loader

HEAD = "import autoscaler\n@autoscaler.hookimpl\ndef score_host(service, revision, host, options):\n    "
HOSTS = (
    HostView("h1", labels={"rack": "a"}, images={"sha256:1": 5}),
    HostView("h2", labels={"rack": "b"}, taints=(Taint("old"),)),
)


async def scores(host: PluginHost, *uses: PolicyUse) -> dict[str, dict[str, int]]:
    return await host.host_scores(ScoreRequest(a_service(demand=2), RevisionSpec(image="shop/web:1"), HOSTS, uses, NOW))


@pytest.mark.parametrize("trusted", [True, False], ids=["in_process", "in_the_worker"])
async def test_each_host_is_scored_by_what_it_shows(load: Loader, *, trusted: bool) -> None:
    text = HEAD + "return 0.75 if host.labels['rack'] == options['rack'] and revision.image else None\n"
    host = load(near=text, trusted=trusted)
    found = await scores(host, PolicyUse("near", {"rack": "a"}), PolicyUse("near", {"rack": "b"}, "far"))
    assert found == {"near": {"h1": 750_000}, "far": {"h2": 750_000}}


@pytest.mark.parametrize("trusted", [True, False], ids=["in_process", "in_the_worker"])
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("1.5", "not from 0 to 1"),
        ("'good'", "returned str"),
        ("float('nan')", "not from 0 to 1"),
        ("1 / 0", "raised ZeroDivisionError"),
    ],
)
async def test_what_is_no_score_is_none_and_counted(load: Loader, answer: str, why: str, *, trusted: bool) -> None:
    host = load(near=HEAD + f"return {answer}\n", trusted=trusted)
    assert await scores(host, PolicyUse("near")) == {"near": {}}
    standing = host.stats()["near"]
    assert standing.failures == len(HOSTS)
    assert why in standing.last_error


async def test_plugin_that_hangs_is_killed_and_scores_nothing(load: Loader) -> None:
    host = load(near=HEAD + "import time; time.sleep(60)\n")
    assert await scores(host, PolicyUse("near")) == {"near": {}}
    assert host.stats()["near"].failures >= 1
