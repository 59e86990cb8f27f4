"""Named places where a test can end, stop, disturb or delay the process; off unless `AUTOSCALER_FAILPOINT` says so.

``AUTOSCALER_FAILPOINT=name[:nth][=kill|stop|raise|sleep:s]``, several separated by commas: at the nth hit (default
the first) of that name the process kills itself (SIGKILL), stops itself (SIGSTOP), raises, or blocks for s seconds.
"""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass

from autoscaler.errors import AutoscalerError

NAMES = (
    "after_poll",
    "after_decide",
    "after_append",
    "after_commit",
    "before_action",
    "after_action",
    "before_outcome",
    "during_restore",
    "after_lease_check",
)
_SPEC = re.compile(r"(?P<name>[a-z_]+)(?::(?P<nth>\d+))?(?:=(?P<what>kill|stop|raise|sleep:(?P<seconds>[0-9.]+)))?")


class FailpointRaised(AutoscalerError):
    """What a failpoint with ``raise`` raises."""


@dataclass(slots=True)
class _Armed:
    nth: int
    what: str
    seconds: float
    hits: int = 0


_armed: dict[str, _Armed] = {}


def arm(text: str) -> None:
    """Arm what the environment variable says; an unknown name is an error, since a test that hits nothing proves
    nothing."""
    _armed.clear()
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = _SPEC.fullmatch(part)
        if match is None or match["name"] not in NAMES:
            raise AutoscalerError(
                f"AUTOSCALER_FAILPOINT: {part!r} is not name[:nth][=kill|stop|raise|sleep:s] of {', '.join(NAMES)}"
            )
        what = (match["what"] or "kill").partition(":")[0]
        _armed[match["name"]] = _Armed(int(match["nth"] or 1), what, float(match["seconds"] or 0))


def hit(name: str) -> None:
    """Do here what was armed for this place; nothing otherwise."""
    if not _armed:
        return
    armed = _armed.get(name)
    if armed is None:
        return
    armed.hits += 1
    if armed.hits != armed.nth:
        return
    if armed.what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif armed.what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif armed.what == "sleep":
        time.sleep(armed.seconds)  # noqa: TID251 - a blocked loop is what this failpoint is for
    else:
        raise FailpointRaised(f"failpoint {name}")
