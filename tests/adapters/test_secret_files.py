"""Secrets are read byte for byte, known again by a mark, and stand in no error."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.adapters.secret_files import SIZE_MAX, SecretRefused, marks_of, read_secrets, told_paths

CANARY = b"canary-5d1f\xff\n"


def a_file(folder: Path, content: bytes = CANARY) -> tuple[tuple[str, str], ...]:
    (folder / "key").write_bytes(content)
    return (("KEY", str(folder / "key")),)


def test_content_is_delivered_byte_for_byte(tmp_path: Path) -> None:
    files = a_file(tmp_path)
    assert read_secrets(files, marks_of(files, "shop/web"), "shop/web") == {"KEY": CANARY}


def test_a_mark_tells_another_content_and_nothing_of_what_it_was(tmp_path: Path) -> None:
    ((_, mark),) = marks_of(a_file(tmp_path), "shop/web")
    ((_, other),) = marks_of(a_file(tmp_path, b"canary-5d1g"), "shop/web")
    ((_, elsewhere),) = marks_of(a_file(tmp_path), "shop/api")
    assert len({mark, other, elsewhere}) == 3
    assert len(mark) == 6


def test_changed_content_is_refused_and_the_old_one_taken_again(tmp_path: Path) -> None:
    files = a_file(tmp_path)
    marks = marks_of(files, "shop/web")
    a_file(tmp_path, b"canary-new")
    with pytest.raises(SecretRefused, match=r"secret KEY: its file .*key has changed.*Deploy again") as refused:
        read_secrets(files, marks, "shop/web")
    assert "canary" not in str(refused.value)
    a_file(tmp_path)
    assert read_secrets(files, marks, "shop/web")


def test_what_was_accepted_without_a_mark_runs_as_before(tmp_path: Path) -> None:
    assert read_secrets(a_file(tmp_path), (), "shop/web") == {"KEY": CANARY}


@pytest.mark.parametrize("content", [None, b"x" * (SIZE_MAX + 1)], ids=["missing", "too large"])
def test_a_file_that_cannot_be_had_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        a_file(tmp_path, content)
    path = tmp_path / "key"
    with pytest.raises(SecretRefused, match=f"secret KEY: its file {path}"):
        marks_of((("KEY", str(path)),), "shop/web")


def test_no_environment_leads_to_another_file() -> None:
    assert told_paths({"KEY": "/run/secrets/KEY"}, {"KEY_FILE": "/tmp/mine", "A": "1"}) == {
        "KEY_FILE": "/run/secrets/KEY",
        "A": "1",
    }
