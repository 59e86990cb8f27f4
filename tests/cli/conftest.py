"""One running instance for the whole suite; each test that changes something uses a service of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.instance import SERVICES, Project, eventually, new_project


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with an instance; every service runs its first revision."""
    project = new_project(tmp_path_factory.mktemp("live"))
    project.start()
    try:
        eventually((project.directory / "stream.db").exists)
        for service in SERVICES:
            eventually(partial(project.settled, service))
        yield project
    finally:
        project.stop()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project on which nothing has run."""
    return new_project(tmp_path)


@pytest.fixture
def at_rest(live: Project, tmp_path: Path) -> Project:
    """The stream of the running instance as it is now, where none runs."""
    return live.copy(tmp_path / "rest")
