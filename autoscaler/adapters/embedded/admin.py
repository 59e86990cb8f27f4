"""Makes the topics of an embedded stream; members and clients do so by themselves, this says what is there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from autoscaler.adapters.embedded import log
from autoscaler.adapters.embedded.database import Database, database_path
from autoscaler.adapters.topics import topic_name
from autoscaler.configuration.settings import StreamSettings
from autoscaler.ports.stream import Topic

CLOSE_S = 2.0


class EmbeddedAdmin:
    """A `TopicAdmin` on SQLite."""

    def __init__(self, settings: StreamSettings, cluster: str) -> None:
        self._settings = settings
        self._cluster = cluster
        self._names = {topic: topic_name(settings.prefix, topic) for topic in Topic}
        self._database: Database | None = None

    async def create_topics(self) -> Sequence[str]:
        """Create what is missing; one line per topic. Raises `ConfigurationError` where the partitions differ."""
        path = database_path(self._settings)
        if self._database is None:
            self._database = Database(path, f"{self._cluster}-admin")
        prepare = partial(log.prepare, names=self._names, partitions=self._settings.partitions, exact=True)
        _, partitions, made = await self._database.run(prepare, f"open {path}")
        return [
            f"{name}: {'created' if topic in made else 'exists'}, {partitions} partitions in {path.name}"
            for topic, name in self._names.items()
        ]

    async def close(self) -> None:
        """Let go."""
        database, self._database = self._database, None
        if database is not None:
            await database.close(CLOSE_S)
