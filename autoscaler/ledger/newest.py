"""The state topic's present content, read by anybody: the newest value under each key, and the services' states.

Called by commands that look, and by what needs to know of services that other members own.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.core.state import ServiceState
from autoscaler.ledger.partition_record import is_reserved
from autoscaler.ledger.state_codec import decode_state
from autoscaler.ports.stream import StreamClient, Topic


async def newest_values(client: StreamClient, partition: int | None = None) -> Mapping[bytes, bytes]:
    """The newest value under each key, of one partition or of all; what was tombstoned is left out."""
    newest: dict[bytes, bytes] = {}
    async for _, message in client.read(Topic.STATE, partition=partition):
        if message.key is None:
            continue
        if message.value is None:
            newest.pop(message.key, None)
        else:
            newest[message.key] = message.value
    return newest


async def newest_states(client: StreamClient) -> Mapping[str, ServiceState]:
    """Every service's newest committed state. Raises `LedgerError` where one cannot be read."""
    values = await newest_values(client)
    states = [decode_state(value).state for key, value in values.items() if not is_reserved(key)]
    return {state.service: state for state in states}
