"""The partition record."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import LedgerError
from autoscaler.events.routing import service_of
from autoscaler.ledger.partition_record import (
    ChainHead,
    PartitionRecord,
    decode_partition,
    encode_partition,
    is_reserved,
    partition_key,
    unrouted_chain,
)
from autoscaler.ports.stream import INPUTS, Topic

RECORD = PartitionRecord(
    3,
    7,
    {Topic.METRICS: 5, Topic.CONTROL: 0},
    released=True,
    at=3.5,
    configuration="digest",
    unrouted=ChainHead(2, "a" * 64),
)

_counts = st.integers(0, 2**62)
_hashes = st.text("0123456789abcdef", min_size=64, max_size=64)


@settings(max_examples=100, deadline=None)
@given(
    st.builds(
        PartitionRecord,
        partition=_counts,
        token=_counts,
        positions=st.dictionaries(st.sampled_from(INPUTS), _counts),
        released=st.booleans(),
        at=st.floats(0, 4e9),
        configuration=st.text("0123456789abcdef"),
        unrouted=st.builds(ChainHead, _counts, _hashes),
    )
)
def test_record_is_read_back_as_it_was(record: PartitionRecord) -> None:
    assert decode_partition(encode_partition(record).value or b"") == record


def test_record_is_written_under_a_key_that_no_service_can_have() -> None:
    outgoing = encode_partition(RECORD)
    assert (outgoing.topic, outgoing.key) == (Topic.STATE, b"~partition/3")
    assert is_reserved(partition_key(3))
    assert is_reserved(unrouted_chain(3).encode())
    assert not is_reserved(b"checkout")
    assert not is_reserved(None)
    with pytest.raises(Exception, match="lower-case letters"):
        service_of(partition_key(3), "")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        (encode_partition(RECORD).value or b"").replace(b'"schema":1', b'"schema":2'),
        (encode_partition(RECORD).value or b"").replace(b'"token":7', b'"token":"7"'),
        (encode_partition(RECORD).value or b"").replace(b'"metrics"', b'"weather"'),
    ],
)
def test_unreadable_record_is_an_error(value: bytes) -> None:
    with pytest.raises(LedgerError, match="partition record"):
        decode_partition(value)
