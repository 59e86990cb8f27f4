"""Which service a message is for, and whether it is on that service's partition."""

from __future__ import annotations

import re
from functools import lru_cache

from autoscaler.events.forms import SERVICE, words_of
from autoscaler.events.places import printable
from autoscaler.events.rejection import Rejection, rejected
from autoscaler.ports.stream import Headers, Message, Outgoing, Topic, partition_of

FORWARDED_HEADER = "eventscaler-forwarded"
"""Put on a message that was moved to its right partition, so that it is moved once only."""

_SERVICE = re.compile(SERVICE.removeprefix("^").removesuffix("$"), re.ASCII)


def service_of(key: bytes | None, subject: str, partitionkey: str = "") -> str:
    """The one service that key, subject and partitionkey agree on; an empty key counts as none.

    Raises `EventRejected`: ``key_mismatch`` naming both, ``no_service``, ``service_name``.
    """
    named = subject or partitionkey
    if not key:
        if not named:
            raise rejected(Rejection.NO_SERVICE, place="subject")
        return checked_service(named)
    keyed = key.decode(errors="replace")
    if named and keyed != named:
        text = f"the key says {printable(keyed)} and the subject says {printable(named)}; make them the same"
        raise rejected(Rejection.KEY_MISMATCH, text, "subject")
    return checked_service(keyed)


@lru_cache(maxsize=32768)
def checked_service(name: str) -> str:
    """``name``, always the same object for an equal one. Raises `EventRejected` (service_name)."""
    if not _SERVICE.fullmatch(name):
        raise rejected(Rejection.SERVICE_NAME, words_of(SERVICE), "subject")
    return name


def right_partition(key: bytes, partitions: int, partition: int) -> bool:
    """Whether ``partition`` is where Kafka's default partitioner puts ``key``."""
    return partition_of(key, partitions) == partition


def was_forwarded(headers: Headers) -> bool:
    """Whether the message was moved to another partition before."""
    return any(name == FORWARDED_HEADER for name, _ in headers)


def forward(message: Message, topic: Topic, service: str) -> Outgoing:
    """The same message to write again under ``service`` as its key.

    Raises `EventRejected` (wrong_partition) where it was forwarded before: its producer, not its place, is wrong then.
    """
    if was_forwarded(message.headers):
        raise rejected(Rejection.WRONG_PARTITION)
    return Outgoing(topic, service.encode(), message.value, (*message.headers, (FORWARDED_HEADER, b"1")))
