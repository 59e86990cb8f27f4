"""An embedded router at work, with a client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx

from autoscaler.adapters.router import EmbeddedRouter
from autoscaler.adapters.router.exchange import Patience
from autoscaler.core.settings import Route
from autoscaler.ports.router import Backend


@contextlib.asynccontextmanager
async def routing(
    *backends: Backend, hold: int = 0, hold_for_s: float = 5.0, patience: Patience | None = None
) -> AsyncIterator[tuple[EmbeddedRouter, httpx.AsyncClient]]:
    route = Route("127.0.0.1:0", "http", hold=hold, hold_for_s=hold_for_s)
    router = EmbeddedRouter({"web": route}, patience=patience)
    await router.open()
    await router.set_backends("web", backends)
    try:
        base = f"http://{router.listen_address('web')}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=10) as client:
            yield router, client
    finally:
        await router.close()


async def busy_backend(router: EmbeddedRouter) -> None:
    for _ in range(200):
        if any(router.in_flight("web").values()):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"no request in flight within 2 s: {router.traffic('web')}")
