"""``__all__`` of the public packages: complete, sorted, and nothing else is public."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

PUBLIC = ("autoscaler", "autoscaler.testing")


@pytest.mark.parametrize("name", PUBLIC)
def test_all_lists_every_public_name_in_order(name: str) -> None:
    module = importlib.import_module(name)
    public = {
        attribute
        for attribute, value in vars(module).items()
        if not attribute.startswith("_") and not isinstance(value, ModuleType) and attribute != "annotations"
    }
    assert list(module.__all__) == sorted(public)
