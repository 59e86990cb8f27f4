"""A Docker engine's block in the configuration file. Used by `models`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from autoscaler.configuration.fields import ByteSize, Cpu, EngineUrl, FileName, Name, Overcommit, Text
from autoscaler.configuration.strict import BY_FORM, AsMapping, AsText, Strict


class TlsModel(Strict):
    """Client certificate for a tcp engine."""

    ca_file: FileName
    cert_file: FileName
    key_file: FileName


class CapacityModel(Strict):
    """What a host offers; unset = what its engine reports."""

    cpu: Cpu = 0
    memory: ByteSize = 0


class OvercommitModel(Strict):
    """How much of the capacity may be reserved."""

    cpu: Overcommit = 100
    memory: Overcommit = 100


class TaintModel(Strict):
    """What keeps replicas off a host that do not tolerate it."""

    key: Annotated[str, Field(min_length=1, max_length=128)]
    value: Text = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class HostModel(Strict):
    """One Docker engine."""

    name: Name
    url: EngineUrl
    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,253}$")] | None = None
    """Where published ports are reached; default: the url's host, loopback for a socket."""
    bind: Annotated[str, Field(pattern=r"^[0-9A-Fa-f.:]{2,45}$")] | None = None
    """Where ports are published; default: 0.0.0.0, loopback for a socket."""
    labels: dict[str, Text] = {}
    tls: TlsModel | None = None
    ssh_config: FileName | None = None
    """The ssh client's configuration for an ssh:// url; default: the user's own."""
    capacity: CapacityModel = CapacityModel()
    overcommit: OvercommitModel = OvercommitModel()
    keep_back: CapacityModel = CapacityModel()
    """What is left to the host itself and to others."""
    taints: Annotated[list[Annotated[AsText[Text] | AsMapping[TaintModel], BY_FORM]], Field(max_length=32)] = []
    """As key, key=value, key=value:effect, or as a block."""
