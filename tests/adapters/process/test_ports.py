"""Ports for listeners that open at once: different ones, free, and out of the way of outgoing connections."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from autoscaler.adapters.process import ports

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_free_numbers_are_different_and_can_be_listened_on() -> None:
    numbers = ports.free_numbers(20)
    assert len(set(numbers)) == 20
    assert all(ports.FIRST <= number <= ports.LAST for number in numbers)
    for number in numbers:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", number))


@pytest.mark.skipif(not EPHEMERAL.exists(), reason="ip_local_port_range: this kernel does not tell its range")
def test_no_number_is_one_that_an_outgoing_connection_may_take() -> None:
    assert int(EPHEMERAL.read_text().split()[0]) > ports.LAST


def test_a_range_without_a_free_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        number = taken.getsockname()[1]
        monkeypatch.setattr(ports, "FIRST", number)
        monkeypatch.setattr(ports, "LAST", number)
        with pytest.raises(OSError, match=f"fewer than 1 free ports found between {number} and {number}"):
            ports.free_numbers(1)
