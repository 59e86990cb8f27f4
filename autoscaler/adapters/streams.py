"""Chooses the stream adapter that the configuration names; `cli` is the only caller.

Adapters are imported on demand, so that the embedded stream does not pay for loading a Kafka client.
"""

from __future__ import annotations

from autoscaler.configuration.settings import StreamSettings
from autoscaler.ports.stream import StreamClient, StreamMember, TopicAdmin


def member_for(settings: StreamSettings, cluster: str) -> StreamMember:
    """An unopened member of the cluster's group; `StreamMember.open` connects it."""
    if settings.kind == "kafka":
        from autoscaler.adapters.kafka.member import KafkaMember  # noqa: PLC0415

        return KafkaMember(settings, cluster)
    from autoscaler.adapters.embedded.member import EmbeddedMember  # noqa: PLC0415

    return EmbeddedMember(settings, cluster)


def refuse_second_owner(settings: StreamSettings) -> None:
    """Raise `StreamError` that names the process which owns an embedded stream already; a Kafka has room for many."""
    if settings.kind == "embedded" and settings.path is not None:
        from autoscaler.adapters.embedded.owner import OwnerLock  # noqa: PLC0415

        OwnerLock(settings.path, settings.prefix).refuse_second()


def client_for(settings: StreamSettings, cluster: str) -> StreamClient:
    """An unopened client, which publishes inputs and reads anything."""
    if settings.kind == "kafka":
        from autoscaler.adapters.kafka.client import KafkaClient  # noqa: PLC0415

        return KafkaClient(settings, cluster)
    from autoscaler.adapters.embedded.client import EmbeddedClient  # noqa: PLC0415

    return EmbeddedClient(settings, cluster)


def admin_for(settings: StreamSettings, cluster: str) -> TopicAdmin:
    """What makes the topics."""
    if settings.kind == "kafka":
        from autoscaler.adapters.kafka.admin import KafkaAdmin  # noqa: PLC0415

        return KafkaAdmin(settings, cluster)
    from autoscaler.adapters.embedded.admin import EmbeddedAdmin  # noqa: PLC0415

    return EmbeddedAdmin(settings, cluster)
