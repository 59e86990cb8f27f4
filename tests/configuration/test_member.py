"""The member's id: the lowest free number of the machine, the same after a restart."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.configuration.member import hold_member, lock_directory
from autoscaler.errors import ConfigurationError
from tests.configuration.builders import SMALL, loaded, written


def test_members_of_one_machine_get_different_numbers_and_a_restart_the_same(tmp_path: Path) -> None:
    configuration = loaded(tmp_path, SMALL).configuration
    locks = tmp_path / "locks"
    first, second = (hold_member(configuration, locks, "box") for _ in range(2))
    assert (first.id, second.id) == ("box-0", "box-1")
    first.release()
    first.release()
    again = hold_member(configuration, locks, "box")
    assert again.id == "box-0"
    again.release()
    second.release()


def test_clusters_do_not_share_numbers(tmp_path: Path) -> None:
    configuration = loaded(tmp_path, SMALL).configuration
    held = [hold_member(replace(configuration, cluster=name), tmp_path, "box") for name in ("a", "b")]
    assert [member.id for member in held] == ["box-0", "box-0"]
    for member in held:
        member.release()


def test_a_killed_process_leaves_its_number_free(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    program = (
        "import os, sys; from pathlib import Path; from autoscaler.configuration import load;"
        "from autoscaler.configuration.member import hold_member;"
        f"print(hold_member(load(Path({str(path)!r}), {{}}).configuration, Path({str(tmp_path)!r}), 'box').id);"
        "sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stdout == "box-0\n"
    member = hold_member(loaded(tmp_path, SMALL).configuration, tmp_path, "box")
    assert member.id == "box-0"
    member.release()


def test_a_member_knows_whether_others_of_its_cluster_are_on_the_machine(tmp_path: Path) -> None:
    configuration = loaded(tmp_path, SMALL).configuration
    first = hold_member(configuration, tmp_path, "box")
    stranger = hold_member(replace(configuration, cluster=f"{configuration.cluster}-x"), tmp_path, "box")
    assert not first.others()
    second = hold_member(configuration, tmp_path, "box")
    assert first.others()
    assert second.others()
    first.release()
    assert not second.others()
    for member in (second, stranger):
        member.release()


def test_a_configured_id_is_held_once(tmp_path: Path) -> None:
    configuration = loaded(tmp_path, SMALL + "stream: {member: mine}\n").configuration
    member = hold_member(configuration, tmp_path)
    assert member.id == "mine"
    with pytest.raises(ConfigurationError) as caught:
        hold_member(configuration, tmp_path)
    expected = "stream.member: is held by another process on this machine. Give each member its own, or use auto."
    assert str(caught.value) == expected
    member.release()


def test_a_host_name_of_odd_characters_is_made_usable(tmp_path: Path) -> None:
    member = hold_member(loaded(tmp_path, SMALL).configuration, tmp_path, "böx/../1")
    assert member.id == "b-x-..-1-0"
    member.release()


def test_the_locks_lie_in_the_process_target_s_directory(tmp_path: Path) -> None:
    configuration = loaded(tmp_path, SMALL).configuration
    assert lock_directory(configuration, {}) == tmp_path / ".autoscaler" / "members"
    without = replace(configuration, targets={})
    assert lock_directory(without, {"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "autoscaler"
