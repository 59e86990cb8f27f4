"""Adapters that plugins register: accepted as specified, in the process only."""

from __future__ import annotations

import pytest

from autoscaler.errors import PolicyFailed
from tests.plugin_host.conftest import Loader

REGISTRIES = ("register_target", "register_stream", "register_metrics", "register_router")


@pytest.mark.parametrize("hook", REGISTRIES)
def test_the_first_adapter_for_a_configuration_is_taken(load: Loader, hook: str) -> None:
    text = "import autoscaler\n@autoscaler.hookimpl\ndef {}(config):\n    return {}\n"
    host = load(a=text.format(hook, "None"), b=text.format(hook, "('made of', config)"), trusted=True)
    assert host.adapter(hook, "this") == ("made of", "this")
    assert all(host.adapter(other, "this") is None for other in REGISTRIES if other != hook)


def test_an_adapter_that_cannot_be_made_stops_the_start(load: Loader) -> None:
    text = "import autoscaler\n@autoscaler.hookimpl\ndef register_target(config):\n    raise OSError('no such host')\n"
    host = load(a=text, trusted=True)
    with pytest.raises(PolicyFailed, match="plugin a: register_target failed: raised OSError: no such host"):
        host.adapter("register_target", None)
