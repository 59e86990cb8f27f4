"""From messages to what the core understands: samples to fold, events to decide, letters to bury. Synchronous, no
clock.

Called by the shard for each batch. Order: size and form (the readers), service, partition. Nothing is lost: what
cannot be used ends as a dead letter with a record, or is forwarded to the partition that its key belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import lru_cache

from autoscaler.core.facts import EventRef, Reason
from autoscaler.core.host_marks import HOST_COMMANDS
from autoscaler.core.stimuli import ControlArrived, DeploymentArrived
from autoscaler.errors import EventRejected
from autoscaler.events.arrivals import read_control, read_deployment
from autoscaler.events.envelope import Envelope, identity_of, read_envelope
from autoscaler.events.routing import forward
from autoscaler.events.samples import SampleReading, read_samples
from autoscaler.ledger.dead_letter import Origin, dead_letter
from autoscaler.ports.stream import Batch, Message, Outgoing, Topic, partition_of


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that cannot be used: where it stood and why; ``service`` and ``ref`` as far as they could be read."""

    topic: Topic
    message: Message
    error: EventRejected
    service: str = ""
    ref: EventRef | None = None

    @property
    def reason(self) -> Reason:
        """What the record says; the place in the document, never what stood there."""
        place = f" at {self.error.place}" if self.error.place else ""
        return Reason(self.error.code, f"{self.topic.value} offset {self.message.offset}{place}: {self.error}"[:1000])

    @property
    def verdict_for(self) -> EventRef | None:
        """The event that gets its terminal verdict by this: a deployment or command whose identity could be read."""
        return None if self.topic is Topic.METRICS else self.ref

    def dead_letter(self, prefix: str, partition: int) -> Outgoing:
        """The letter as it goes to the dead-letter topic."""
        return dead_letter(self.message, Origin(f"{prefix}.{self.topic.value}", partition, "intake"), self.error)


@dataclass(slots=True)
class Intake:
    """Reads batches of one partition. ``known``: the services that are configured."""

    partition: int
    partitions: int
    known: Container[str]
    letters: list[Letter] = field(default_factory=list)
    forwards: list[Outgoing] = field(default_factory=list)
    strangers: list[DeploymentArrived | ControlArrived] = field(default_factory=list)
    host_commands: list[ControlArrived] = field(default_factory=list)
    unknown_service_samples: int = 0

    def samples(
        self, batch: Batch, fold: Callable[[SampleReading, Message], None], seen: Container[str] = frozenset()
    ) -> None:
        """Hand every readable metric event of a known service of this partition to ``fold``; those in ``seen`` are."""
        known, letters = self.known, self.letters
        for message in batch.messages:
            try:
                reading = read_samples(message)
            except EventRejected as error:
                letters.append(Letter(Topic.METRICS, message, error, self._service_in(message)))
                continue
            if reading.service in seen:
                fold(reading, message)
                continue
            if reading.service not in known:
                self.unknown_service_samples += len(reading.samples)
                continue
            if home_partition(reading.service, self.partitions) != self.partition:
                self._forward(Topic.METRICS, message, reading.service)
                continue
            fold(reading, message)

    def events(self, batch: Batch, now: float) -> list[tuple[str, DeploymentArrived | ControlArrived]]:
        """The batch's deployments or commands with their services, in order."""
        arrived: list[tuple[str, DeploymentArrived | ControlArrived]] = []
        for message in batch.messages:
            envelope: Envelope | None = None
            try:
                envelope = read_envelope(message)
                stimulus = self._read(batch.topic, envelope, now)
            except EventRejected as error:
                ref = envelope.ref if envelope is not None else identity_of(message)
                self.letters.append(Letter(batch.topic, message, error, self._service_in(message), ref))
                continue
            if home_partition(envelope.service, self.partitions) != self.partition:
                self._forward(batch.topic, message, envelope.service, envelope.ref)
            elif isinstance(stimulus, ControlArrived) and stimulus.command in HOST_COMMANDS:
                self.host_commands.append(stimulus)
            elif envelope.service not in self.known:
                self.strangers.append(stimulus)
            else:
                arrived.append((envelope.service, stimulus))
        return arrived

    def _read(self, topic: Topic, envelope: Envelope, now: float) -> DeploymentArrived | ControlArrived:
        return read_deployment(envelope, now) if topic is Topic.DEPLOYMENTS else read_control(envelope, now)

    def _forward(self, topic: Topic, message: Message, service: str, ref: EventRef | None = None) -> None:
        try:
            self.forwards.append(forward(message, topic, service))
        except EventRejected as error:
            self.letters.append(Letter(topic, message, error, ref=ref))

    def _service_in(self, message: Message) -> str:
        """The known service of this partition that a broken message is keyed by, so that its rejection stands in that
        service's trail; else none: another partition's service has its state there alone."""
        key = (message.key or b"").decode(errors="replace")
        ours = key in self.known and home_partition(key, self.partitions) == self.partition
        return key if ours else ""


@lru_cache(maxsize=262_144)
def home_partition(service: str, partitions: int) -> int:
    """The partition that the service's events belong to."""
    return partition_of(service.encode(), partitions)
