"""The real parts that the figures need: a broker and an engine, given or started here, and a scratch directory."""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.parts import dockerd, kafka
from tests.parts.images import import_server

REPEATS = 5


@dataclass
class Stage:
    """What the figures run on. ``quick``: as little as shows that they work; the numbers mean nothing then."""

    directory: Path
    quick: bool
    closing: ExitStack
    token: str = field(default_factory=lambda: secrets.token_hex(3))
    traces: Path | None = None
    """A directory of loads for the policies; None: those that ship."""

    @cached_property
    def brokers(self) -> str:
        """The broker: ``AUTOSCALER_TEST_KAFKA``, or one started now."""
        given = os.environ.get("AUTOSCALER_TEST_KAFKA")
        if given:
            return given
        return self.closing.enter_context(kafka.start(self.directory / "kafka", heap="1g")).bootstrap

    @cached_property
    def docker(self) -> str:
        """An engine that has the image `IMAGE`: ``DOCKER_HOST``, or one started now."""
        url = os.environ.get("DOCKER_HOST") or ""
        if not url or not dockerd.answers(url):
            url = self.closing.enter_context(dockerd.start(self.directory / "docker")).url
        import_server(url, "1")
        return url

    @property
    def repeats(self) -> int:
        """How many times ours and the control take turns."""
        return 1 if self.quick else REPEATS


IMAGE = "t/httpd:1"
