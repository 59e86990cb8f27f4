"""Chooses the stream adapter that the configuration names; `cli` is the only caller.

Adapters are imported on demand, so that the embedded stream does not pay for loading a Kafka client.
"""

from __future__ import annotations

from autoscaler.configuration.settings import StreamSettings
from autoscaler.ports.stream import StreamClient, StreamMember, TopicAdmin


def member_for(settings: StreamSettings, cluster: str) -> StreamMember:
    """An unopened member of the cluster's group; `StreamMember.open` connects it."""
    if settings.kind == "kafka":
        from autoscaler.adapters.kafka.member import KafkaMember

        return KafkaMember(settings, cluster)
    from autoscaler.adapters.embedded.member import EmbeddedMember

    return EmbeddedMember(settings, cluster)


def client_for(settings: StreamSettings, cluster: str) -> StreamClient:
    """An unopened client, which publishes inputs and reads anything."""
    if settings.kind == "kafka":
        from autoscaler.adapters.kafka.client import KafkaClient

        return KafkaClient(settings, cluster)
    from autoscaler.adapters.embedded.client import EmbeddedClient

    return EmbeddedClient(settings, cluster)


def admin_for(settings: StreamSettings, cluster: str) -> TopicAdmin:
    """What makes the topics."""
    if settings.kind == "kafka":
        from autoscaler.adapters.kafka.admin import KafkaAdmin

        return KafkaAdmin(settings, cluster)
    from autoscaler.adapters.embedded.admin import EmbeddedAdmin

    return EmbeddedAdmin(settings, cluster)
