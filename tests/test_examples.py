"""Every example is valid as it lies there."""

import os
from pathlib import Path

import pytest

from autoscaler.cli.context import open_configuration

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
async def test_an_example_configuration_is_valid_with_its_plugins(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AUTOSCALER_")]:
        monkeypatch.delenv(name)
    opened = open_configuration(path)
    try:
        assert opened.configuration.services
    finally:
        await opened.plugins.close()
