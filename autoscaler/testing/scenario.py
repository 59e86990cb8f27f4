"""`Scenario`: events in, decisions out, on virtual time, through the very shard that runs in production.

scenario = Scenario(my_policy, {"metric": "queue_length"})
scenario.sample(queue_length=950)
assert scenario.demand == 10, scenario.explain()
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType, ModuleType
from typing import Any

from autoscaler.core.records import Record
from autoscaler.core.settings import Bounds, PolicyUse, ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.ports.stream import Batch, StoredMessage, Topic
from autoscaler.testing.builders import NOW
from autoscaler.testing.driving import Driven, Unsettled

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
DEFAULTS = ServiceSettings(target="lab", target_kind="docker", bounds=Bounds(min=0, max=100, initial=1))


class Scenario:
    """One service, one policy (and ``others``, and ``shadows`` that decide nothing), one obliging host.

    ``now`` begins at `NOW` and moves by `advance` only. The first revision is deployed at once and its soak is over
    when the constructor returns, unless ``deployed`` is False. ``settings`` are those of the service; its policies and
    image rules are filled in.
    """

    def __init__(
        self,
        policy: ModuleType,
        options: Mapping[str, Any] = NO_OPTIONS,
        *,
        settings: ServiceSettings = DEFAULTS,
        others: Mapping[str, tuple[ModuleType, Mapping[str, Any]]] = MappingProxyType({}),
        shadows: Mapping[str, tuple[ModuleType, Mapping[str, Any]]] = MappingProxyType({}),
        service: str = "web",
        start_s: float = 1.0,
        deployed: bool = True,
    ) -> None:
        from autoscaler.plugin_host import PluginHost  # noqa: PLC0415 - heavy: see the package

        policies = {"policy": (policy, options), **others}
        modules = {name: module for name, (module, _) in (*policies.items(), *shadows.items())}
        self.plugins = PluginHost.of_modules(**modules)
        uses = tuple(PolicyUse(name, self._checked(name, given)) for name, (_, given) in policies.items())
        self.settings = replace(
            settings,
            policies=uses,
            shadows=tuple(
                PolicyUse(name, self._checked(name, given), shadow=True) for name, (_, given) in shadows.items()
            ),
            events=replace(settings.events, images=settings.events.images or ("*",)),
        )
        self.service = service
        self._driven = Driven({service: self.settings}, self.plugins, NOW, start_s)
        self.records = self._driven.records
        self.host, self.shard = self._driven.host, self._driven.shard
        self._offsets = dict.fromkeys(Topic, 0)
        if deployed:
            self.deploy(f"{service}:1")
            self.advance(start_s + self.settings.update.min_healthy_s + self.settings.update.soak_s + 1)

    def _checked(self, name: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
        plain, problems = self.plugins.validate_options(name, options)
        assert not problems, "\n".join(str(problem) for problem in problems)  # noqa: S101 - an assertion of a test
        return plain

    @property
    def now(self) -> float:
        """The moment, in seconds since the epoch."""
        return self._driven.now

    @property
    def state(self) -> ServiceState:
        """The service's durable state."""
        return self.shard.states.get(self.service) or ServiceState(self.service)

    @property
    def demand(self) -> int:
        """How many replicas are wanted."""
        return self.state.demand

    @property
    def revision(self) -> int:
        """The wanted revision's number, 0 before the first."""
        return self.state.revision

    @property
    def ready(self) -> int:
        """How many replicas run and are healthy."""
        return sum(replica.condition == "running" and replica.healthy is True for replica in self.host.replicas)

    def sample(self, *, source: str = "/test", of_revision: int | None = None, **metrics: float) -> list[Record]:
        """Samples of now, by metric name; the records that they lead to at once."""
        return self._sample(metrics, source, of_revision)

    def _sample(
        self, metrics: Mapping[str, float], source: str = "/test", of_revision: int | None = None
    ) -> list[Record]:
        data: Mapping[str, Any] = metrics
        if of_revision is not None:
            data = {"samples": [{"name": n, "value": v, "revision": of_revision} for n, v in metrics.items()]}
        return self._send(Topic.METRICS, "metric", data, source)

    def deploy(self, image: str, **fields: Any) -> list[Record]:
        """A deployment event of an image (with other ``fields`` of a revision); the records that it leads to at
        once."""
        return self._send(Topic.DEPLOYMENTS, "deployment", {"revision": {"image": image, **fields}})

    def command(self, command: str, **fields: Any) -> list[Record]:
        """An operator's command, such as ``command("scale", replicas=3)``; the records that it leads to at once."""
        return self._send(Topic.CONTROL, "control", {"command": command, **fields})

    def break_revision(self, number: int) -> None:
        """Replicas of that revision that start from now on exit instead of becoming healthy."""
        self.host.broken.add(number)

    def kill(self, slot: int) -> list[Record]:
        """A replica ends as if it had crashed; the records that this leads to at once."""
        self.host.kill(slot)
        self.shard.observed(self.service, self.now)
        return self._driven.settle()

    def advance(self, seconds: float, every: float | None = None, **metrics: float) -> list[Record]:
        """Let time pass, deadlines and starts included; with ``every``, ``metrics`` are sampled each so many
        seconds."""
        first = len(self.records)
        until = self.now + seconds
        while every is not None and self.now + every <= until:
            self._driven.advance_to(self.now + every)
            self._sample(metrics)
        self._driven.advance_to(until)
        return self.records[first:]

    def explain(self) -> str:
        """Every record so far, a line each: for the message of an assertion."""
        return "\n".join(_line(record) for record in self.records)

    def _send(self, topic: Topic, kind: str, data: Mapping[str, Any], source: str = "/test") -> list[Record]:
        offset = self._offsets[topic]
        self._offsets[topic] = offset + 1
        event = {
            "specversion": "1.0", "id": f"{kind}-{offset}", "source": source, "type": f"io.eventscaler.{kind}.v1",
            "subject": self.service, "datacontenttype": "application/json", "data": data,
        }  # fmt: skip
        headers = (("content-type", b"application/cloudevents+json"),)
        message = StoredMessage(
            offset, round(self.now * 1000), self.service.encode(), json.dumps(event).encode(), headers
        )
        try:
            return self._driven.take(Batch(topic, 0, (message,)))
        except Unsettled as error:
            raise AssertionError(f"{error}:\n{self.explain()}") from error


def _line(record: Record) -> str:
    before, after, reason = record.before, record.after, record.reason
    what = " ".join(filter(None, (record.type, record.kind, record.verdict)))
    where = f"revision {before.revision}->{after.revision} demand {before.demand}->{after.demand}"
    return f"{record.at - NOW:8.1f}s {what}: {where}: {reason.code}: {reason.text}"
