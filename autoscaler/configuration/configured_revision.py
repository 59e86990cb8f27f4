"""The revision block of the configuration file: an event's block, and what only the operator may say.

An event cannot even express these fields; here they need the service's ``allow``, see `autoscaler.core.permissions`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from autoscaler.core.revision import RevisionSpec
from autoscaler.events.forms import CAPABILITY, DEVICE
from autoscaler.events.revision_model import RevisionModel

Capability = Annotated[
    str, StringConstraints(pattern=CAPABILITY), AfterValidator(lambda name: name.removeprefix("CAP_"))
]
Device = Annotated[str, StringConstraints(pattern=DEVICE, max_length=512)]


class ConfiguredRevisionModel(RevisionModel):
    """What to run, with what loosens or tightens the container's isolation."""

    privileged: bool = False
    cap_add: list[Capability] = Field(default_factory=list, max_length=64)
    cap_drop: list[Capability] = Field(default_factory=list, max_length=64)
    devices: list[Device] = Field(default_factory=list, max_length=64)
    pid: Literal["host"] | None = None
    ipc: Literal["host"] | None = None
    read_only: bool = False

    def to_spec(self) -> RevisionSpec:
        """The spec of this block alone."""
        return replace(
            super().to_spec(),
            privileged=self.privileged,
            cap_add=tuple(self.cap_add),
            cap_drop=tuple(self.cap_drop),
            devices=tuple(self.devices),
            pid=self.pid or "",
            ipc=self.ipc or "",
            read_only=self.read_only,
        )
