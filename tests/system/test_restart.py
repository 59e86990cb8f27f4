"""What the next process does with what the former one left, on embedded parts."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.system.grounds import ProcessGround
from tests.system.installation import Installation
from tests.system.patience import eventually
from tests.system.trail import at_rest, judge, noted


async def test_next_process_asks_running_replicas_for_their_health_though_nothing_else_happens(
    local: Callable[..., Installation],
) -> None:
    installation = local()
    ground = installation.ground
    assert isinstance(ground, ProcessGround)
    installation.services = {"web": installation.service(revision=ground.revision("serving"))}
    await installation.open()
    first = installation.start()
    (replica,) = (await at_rest(installation, "web")).replicas
    first.kill()
    installation.start()
    await eventually("the take-over", lambda: installation.members[-1].said("partition taken over"), bool)
    ground.send(f"web.s0.r1.{replica.attempt}", signal.SIGSTOP)
    await noted(installation, "the hanging replica's successor", lambda r: "start s0.r1.2" in r.data["reason"]["text"])
    ground.send(f"web.s0.r1.{replica.attempt}", signal.SIGCONT)
    await installation.wanted("web", 1, revision=1)
    await judge(installation)
