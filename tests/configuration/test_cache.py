"""A kept result is used for the very same content only, and only where nobody else could have written it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from autoscaler.configuration import Loaded, load
from autoscaler.configuration.sources import Gathered, gather
from autoscaler.errors import ConfigurationError
from tests.configuration.builders import SMALL, written


class Loads:
    """Counts how often a file was really read into a tree."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache_dir = directory / "cache"
        self.count = 0

        def counted(*args: Any) -> Gathered:
            self.count += 1
            return gather(*args)

        monkeypatch.setattr("autoscaler.configuration.loading.gather", counted)

    def __call__(self, path: Path, environ: dict[str, str] | None = None) -> Loaded:
        return load(path, environ or {}, cache_dir=self.cache_dir)

    def files(self) -> list[Path]:
        return sorted(self.cache_dir.iterdir())


@pytest.fixture
def loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loads:
    return Loads(tmp_path, monkeypatch)


def test_the_second_load_is_the_kept_one_and_equal(loads: Loads, tmp_path: Path) -> None:
    path = written(tmp_path, SMALL + "templates: {t: {target: local, names: ['a-[0-9]']}}\n")
    first, second = loads(path), loads(path)
    assert loads.count == 1
    assert second.configuration == first.configuration
    assert second.warnings == first.warnings
    assert second.configuration.services["a-1"] is second.configuration.services["a-2"]


def test_the_kept_file_is_private(loads: Loads, tmp_path: Path) -> None:
    loads(written(tmp_path, SMALL))
    assert loads.cache_dir.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in loads.files()] == [0o600]


def test_another_content_environment_or_included_file_is_loaded_afresh(loads: Loads, tmp_path: Path) -> None:
    path = written(tmp_path, SMALL + "include: ['*.inc']\n")
    loads(path)
    written(tmp_path, SMALL + "include: ['*.inc']\n# changed\n")
    loads(path)
    loads(path, {"AUTOSCALER_CLUSTER": "b"})
    written(tmp_path, "services: {b: {target: local}}\n", "b.inc")
    assert "b" in loads(path).configuration.services
    written(tmp_path, "services: {c: {target: local}}\n", "b.inc")
    assert "c" in loads(path).configuration.services
    assert loads.count == 5


def test_a_file_that_has_gone_since_is_noticed(loads: Loads, tmp_path: Path) -> None:
    written(tmp_path, "secret", "pw")
    path = written(tmp_path, SMALL + "registries: [{host: r, username: u, password_file: pw}]\n")
    loads(path)
    (tmp_path / "pw").unlink()
    with pytest.raises(ConfigurationError):
        loads(path)


class Trap:
    """Fails the test where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a foreign pickle was read",)


@pytest.mark.parametrize("damage", ["garbage", "empty", "cut", "trap", "trap behind the true header"])
def test_a_damaged_cache_is_ignored_and_written_again(damage: str, loads: Loads, tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    loads(path)
    kept = loads.files()[0]
    content = kept.read_bytes()
    trap = pickle.dumps(Trap())
    kept.write_bytes(
        {
            "garbage": b"\x00" * 100,
            "empty": b"",
            "cut": content[:-10],
            "trap": trap,
            "trap behind the true header": content.partition(b"\n")[0] + b"\n" + trap,
        }[damage]
    )
    assert loads(path).configuration.cluster == "shop"
    assert loads.count == 2
    loads(path)
    assert loads.count == 2


def test_a_cache_that_others_may_write_is_not_read(loads: Loads, tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    loads(path)
    loads.files()[0].chmod(0o660)
    loads(path)
    assert loads.count == 2
    loads.cache_dir.chmod(0o777)
    loads(path)
    assert loads.count == 3


def test_a_link_in_the_place_of_the_cache_is_not_followed(loads: Loads, tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    loads(path)
    kept = loads.files()[0]
    kept.replace(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")
    loads(path)
    assert loads.count == 2
    assert not kept.is_symlink()


def test_a_directory_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    blocker = written(tmp_path, "", "blocker")
    assert load(written(tmp_path, SMALL), {}, cache_dir=blocker / "cache").configuration.cluster == "shop"
