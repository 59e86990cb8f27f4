"""What tests of the engine share."""

from __future__ import annotations

import pytest

from autoscaler.engine import member, runner


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is tried again is tried again soon."""
    monkeypatch.setattr(runner, "RETRY_S", 0.02)
    monkeypatch.setattr(member, "RETRY_S", 0.05)
    monkeypatch.setattr(member, "FENCED_FIRST_S", 0.1)
