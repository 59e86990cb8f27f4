"""The revision block as an event or the configuration file writes it, to the core's `RevisionSpec`.

Called by the deployment reader and by `autoscaler.configuration`. Strict: a number is no text, an unknown field is an
error, every length is bounded. The model lives only until `to_spec`; its lists and dicts never travel further.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StringConstraints,
    Tag,
    model_validator,
)

from autoscaler.core.quantities import parse_bytes, parse_cpu, parse_duration
from autoscaler.core.revision import Health, Port, Resources, RevisionSpec, Stop
from autoscaler.events.forms import (
    ENV_NAME,
    HEALTH_PATH,
    IMAGE,
    LABEL_NAME,
    NETWORK,
    NO_CONTROL,
    NO_NUL,
    PORT_NAME,
    SIGNAL,
    USER,
    VOLUME,
)
from autoscaler.events.places import branch

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, allow_inf_nan=False)
"""What every model of the wire is: pydantic's defaults take ``"0.7"``, ``true`` and NaN for a number."""

MEMORY_BYTES_MAX = 2**50
CPU_MILLIS_MAX = 1_024_000
RESERVED_LABEL = "io.eventscaler."

_QUANTITY_CHARS_MAX = 32


def _quantity(parse: Callable[[Any], float], low: float, high: float, text: str) -> Callable[[object], Any]:
    def read(value: object) -> Any:
        readable = (
            isinstance(value, str | int | float)
            and not isinstance(value, bool)
            and len(str(value)) <= _QUANTITY_CHARS_MAX
        )
        if not readable:
            raise ValueError(f"write it as {text}")
        number = parse(value)
        if not low <= number <= high:
            raise ValueError(f"out of range; write it as {text}")
        return number

    return read


def _duration_field(low: float, high: float, shown: str) -> PlainValidator:
    return PlainValidator(_quantity(parse_duration, low, high, shown), json_schema_input_type=_DurationText)


_DurationText = Annotated[str, StringConstraints(min_length=1, max_length=32)] | Literal[0]
_Cpu = Annotated[
    int,
    PlainValidator(
        _quantity(parse_cpu, 0, CPU_MILLIS_MAX, "500m, 2 or 0.5, at most 1024 cores"),
        json_schema_input_type=Annotated[str, StringConstraints(max_length=32)] | float,
    ),
]
_Memory = Annotated[
    int,
    PlainValidator(
        _quantity(parse_bytes, 0, MEMORY_BYTES_MAX, "256Mi, 1Gi or a number of bytes, at most 1024Ti"),
        json_schema_input_type=Annotated[str, StringConstraints(max_length=32)] | int,
    ),
]
_PortNumber = Annotated[int, Field(ge=1, le=65535)]
_PortName = Annotated[str, StringConstraints(pattern=PORT_NAME, max_length=32)]
_EnvName = Annotated[str, StringConstraints(pattern=ENV_NAME, max_length=128)]
_Text = Annotated[str, StringConstraints(pattern=NO_NUL, max_length=8192)]
_Argument = Annotated[str, StringConstraints(pattern=NO_NUL, max_length=4096)]
_LabelName = Annotated[str, StringConstraints(pattern=LABEL_NAME, max_length=128)]
_Path = Annotated[str, StringConstraints(pattern=NO_CONTROL, min_length=1, max_length=1024)]
_Volume = Annotated[str, StringConstraints(pattern=VOLUME, max_length=1024)]
_Network = Annotated[str, StringConstraints(pattern=NETWORK, max_length=128)]
_User = Annotated[str, StringConstraints(pattern=USER)]
_Image = Annotated[str, StringConstraints(pattern=IMAGE, max_length=512)]
_Argv = Annotated[list[_Argument], Field(max_length=128)]


def _no_reserved(labels: dict[str, str]) -> dict[str, str]:
    if any(name.startswith(RESERVED_LABEL) for name in labels):
        raise ValueError(f"names that begin with {RESERVED_LABEL} are reserved; choose another")
    return labels


class PortModel(BaseModel):
    """A container port with an optional fixed host port."""

    model_config = STRICT
    container: _PortNumber
    host: _PortNumber | None = None


def _port_branch(value: object) -> str:
    return branch("mapping") if isinstance(value, dict | PortModel) else branch("number")


_PortEntry = Annotated[
    Annotated[_PortNumber, Tag(branch("number"))] | Annotated[PortModel, Tag(branch("mapping"))],
    Discriminator(_port_branch),
]


class ResourcesModel(BaseModel):
    """What one replica reserves: ``cpu`` in millicores and ``memory`` in bytes once read."""

    model_config = STRICT
    cpu: _Cpu = 0
    memory: _Memory = 0


class HealthModel(BaseModel):
    """How a replica is asked for its health; durations in seconds once read."""

    model_config = STRICT
    http: Annotated[str, StringConstraints(pattern=HEALTH_PATH, max_length=1024)] = ""
    tcp: bool = False
    port: Annotated[str, StringConstraints(max_length=32)] = ""
    every: Annotated[float, _duration_field(0.1, 3600, "1s, between 100ms and 1h")] = 1.0
    timeout: Annotated[float, _duration_field(0.05, 300, "1s, between 50ms and 5m")] = 1.0
    failures: Annotated[int, Field(ge=1, le=1000)] = 3
    start: Annotated[float, _duration_field(0, 86400, "10s, at most 1d")] = 10.0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.http and self.tcp:
            raise ValueError("http and tcp exclude each other; keep one")
        if self.port and not (self.http or self.tcp):
            raise ValueError("port needs http or tcp beside it")
        return self


class StopModel(BaseModel):
    """How a replica is asked to end."""

    model_config = STRICT
    signal: Annotated[
        str, StringConstraints(pattern=SIGNAL, max_length=16), AfterValidator(lambda name: name.removeprefix("SIG"))
    ] = "TERM"
    grace: Annotated[float, _duration_field(0, 3600, "10s, at most 1h")] = 10.0


class RevisionModel(BaseModel):
    """The revision block: what to run, never how many. Needs an ``image``, or a ``command`` on the process target."""

    model_config = STRICT
    image: _Image = ""
    command: _Argv = []
    entrypoint: _Argv = []
    env: Annotated[dict[_EnvName, _Text], Field(max_length=256)] = {}
    ports: Annotated[dict[_PortName, _PortEntry], Field(max_length=32)] = {}
    resources: ResourcesModel = ResourcesModel()
    health: HealthModel | None = None
    stop: StopModel = StopModel()
    user: _User = ""
    volumes: Annotated[list[_Volume], Field(max_length=64)] = []
    networks: Annotated[list[_Network], Field(max_length=16)] = []
    secrets: Annotated[dict[_EnvName, _Path], Field(max_length=64)] = {}
    labels: Annotated[dict[_LabelName, _Text], Field(max_length=64), AfterValidator(_no_reserved)] = {}
    pull: Literal["missing", "always", "never"] | None = None

    @model_validator(mode="after")
    def _runs_something(self) -> Self:
        if not self.image and not self.command:
            raise ValueError("says nothing to run; give image, or command on the process target")
        return self

    @model_validator(mode="after")
    def _names_hold_together(self) -> Self:
        both = sorted(self.env.keys() & self.secrets.keys())
        if both:
            raise ValueError(f"{both[0]} is both in env and in secrets; keep one")
        told = sorted(self.env.keys() & {f"{name}_FILE" for name in self.secrets})
        if told:
            raise ValueError(f"{told[0]} is in env, and will hold the path of a secret; remove it")
        checked_health(self._health(), tuple(self.ports), in_container=bool(self.image))
        return self

    @property
    def fields_set(self) -> frozenset[str]:
        """The fields that the document gave, under the names that `RevisionSpec` has for them."""
        return frozenset(self.model_fields_set)

    def to_spec(self) -> RevisionSpec:
        """The spec of this block alone; mappings sorted by name, so that equal blocks make equal specs."""
        return RevisionSpec(
            image=self.image,
            command=tuple(self.command),
            entrypoint=tuple(self.entrypoint),
            env=tuple(sorted(self.env.items())),
            ports=tuple(sorted((name, _port(entry)) for name, entry in self.ports.items())),
            resources=Resources(cpu_millis=self.resources.cpu, memory_bytes=self.resources.memory),
            health=checked_health(self._health(), tuple(self.ports), in_container=bool(self.image)),
            stop=Stop(signal=self.stop.signal, grace_s=self.stop.grace),
            user=self.user,
            volumes=tuple(self.volumes),
            networks=tuple(self.networks),
            secrets=tuple(sorted(self.secrets.items())),
            labels=tuple(sorted(self.labels.items())),
            pull=self.pull or "",
        )

    def _health(self) -> Health | None:
        asked = self.health
        if asked is None:
            return None
        return Health(
            http=asked.http,
            tcp=asked.tcp,
            port=asked.port,
            every_s=asked.every,
            timeout_s=asked.timeout,
            failures=asked.failures,
            start_s=asked.start,
        )


def _port(entry: int | PortModel) -> Port:
    return Port(entry) if isinstance(entry, int) else Port(entry.container, entry.host)


def checked_health(health: Health | None, ports: tuple[str, ...], *, in_container: bool) -> Health | None:
    """``health`` with its port named: the only port where none is given.

    Raises ValueError where the port is no port of the revision or cannot be told. A process without ports is asked at
    the port that it gets in PORT.
    """
    if health is None or not (health.http or health.tcp):
        return health
    if health.port:
        if health.port not in ports:
            known = f"one of {', '.join(ports)}" if ports else "a port, and there is none"
            raise ValueError(f"health.port names no port of the revision; it must be {known}")
        return health
    if len(ports) == 1:
        return replace(health, port=ports[0])
    if not ports and not in_container:
        return health
    remedy = "give health.port" if ports else "add one under ports"
    raise ValueError(f"health is asked on a port, and the revision has {len(ports) or 'none'}; {remedy}")


def merge(base: RevisionSpec, model: RevisionModel) -> RevisionSpec:
    """``base`` with every field that the document gave, whole fields at a time; an image alone changes just that.

    Raises ValueError where the result's health asks a port that is no longer there.
    """
    given = model.to_spec()
    changes: dict[str, Any] = {name: getattr(given, name) for name in model.fields_set}
    merged = replace(base.unresolved if "image" in changes else base, **changes)
    names = tuple(name for name, _ in merged.ports)
    return replace(merged, health=checked_health(merged.health, names, in_container=bool(merged.image)))
