"""Docker Swarm, as it ships in the engine: one manager that is its only worker.

Where the kernel has no IPVS, Swarm's routing mesh refuses connections; so the service is found by Swarm's own name
server (endpoint mode dnsrr), which the client asks anew for every request, from inside the service's network.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docker.api.client import APIClient
from docker.errors import APIError
from docker.types import (
    ContainerSpec,
    EndpointSpec,
    Healthcheck,
    RestartPolicy,
    ServiceMode,
    TaskTemplate,
    UpdateConfig,
)

from bench.child import Child
from bench.contest import CHECK_EVERY_S, CHECK_FAILURES, DECIDED_S, GRACE_S, MONITOR_S, PARALLELISM, PLAIN, SHOP
from bench.shop_images import GOOD, PLAIN_IMAGE

SECOND = 1_000_000_000
NETWORK, ANCHOR = "shops", "shops-client"
LOOK_EVERY_S = 0.02
ENDS = {"completed", "rollback_completed", "paused", "rollback_paused"}


class SwarmSide:
    """Implements `bench.contest.Side`."""

    name = "swarm"

    def __init__(self, url: str, address: str, log: Path) -> None:
        self._docker: Any = APIClient(base_url=url, version="1.41", timeout=120)
        self._address = address
        self._log = log
        self._asked_at: dict[str, float] = {}
        self._anchor = ""

    def label(self, service: str) -> tuple[str, str]:
        return ("com.docker.swarm.service.name", service)

    async def open(self) -> None:
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    async def scale(self, service: str, replicas: int) -> None:
        await asyncio.to_thread(
            self._change, service, lambda spec: spec["Mode"]["Replicated"].update(Replicas=replicas)
        )

    async def deploy(self, service: str, image: str) -> None:
        self._asked_at[service] = time.time()
        await asyncio.to_thread(
            self._change, service, lambda spec: spec["TaskTemplate"]["ContainerSpec"].update(Image=image)
        )

    async def verdict(self, service: str) -> str:
        give_up_at = time.monotonic() + DECIDED_S
        while time.monotonic() < give_up_at:
            status = (await asyncio.to_thread(self._docker.inspect_service, service)).get("UpdateStatus") or {}
            begun = str(status.get("StartedAt", ""))
            if status.get("State") in ENDS and begun >= _rfc3339(self._asked_at[service]):
                return str(status["State"])
            await asyncio.sleep(LOOK_EVERY_S)
        return f"none in {DECIDED_S:.0f} s"

    def client(self, service: str) -> Child:
        pid = self._docker.inspect_container(self._anchor)["State"]["Pid"]
        network = ["nsenter", f"--net=/proc/{pid}/ns/net"]
        return Child("asking", {"tasks": f"tasks.{service}"}, self._log, network)

    def _open(self) -> None:
        self._docker.init_swarm(advertise_addr=self._address, listen_addr=f"{self._address}:2377")
        self._docker.create_network(NETWORK, driver="overlay", attachable=True)
        for service in (PLAIN, SHOP):
            self._docker.create_service(**_service(service))
        made = self._docker.create_container(
            GOOD[0], name=ANCHOR, entrypoint=["/bin/sleep", "1000000"],
            networking_config=self._docker.create_networking_config({NETWORK: self._docker.create_endpoint_config()}),
        )  # fmt: skip
        self._anchor = made["Id"]
        self._docker.start(self._anchor)

    def _close(self) -> None:
        with contextlib.suppress(APIError):
            self._docker.remove_container(ANCHOR, force=True)
        with contextlib.suppress(APIError):
            self._docker.leave_swarm(force=True)
        self._docker.close()

    def _change(self, service: str, change: Callable[[dict[str, Any]], None]) -> None:
        """The whole specification with one thing changed: what is left out would fall back to a default."""
        found = self._docker.inspect_service(service)
        change(found["Spec"])
        url = f"{self._docker.base_url}/v1.41/services/{found['ID']}/update?version={found['Version']['Index']}"
        self._docker.post(url, json=found["Spec"], timeout=60).raise_for_status()


def _rfc3339(at: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1e6):06d}"


def _service(name: str) -> dict[str, Any]:
    check = Healthcheck(
        test=["CMD", "/bin/wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"],
        interval=int(CHECK_EVERY_S * SECOND), timeout=SECOND, retries=CHECK_FAILURES, start_period=0,
    )  # fmt: skip
    container = ContainerSpec(
        GOOD[0] if name == SHOP else PLAIN_IMAGE,
        healthcheck=check if name == SHOP else None,
        stop_grace_period=int(GRACE_S * SECOND),
        init=True,
    )
    update = UpdateConfig(
        parallelism=PARALLELISM, delay=0, failure_action="rollback", monitor=int(MONITOR_S * SECOND),
        max_failure_ratio=0, order="start-first",
    )  # fmt: skip
    back = UpdateConfig(
        parallelism=PARALLELISM, delay=0, failure_action="pause", monitor=int(MONITOR_S * SECOND),
        max_failure_ratio=0, order="start-first",
    )  # fmt: skip
    return {
        "task_template": TaskTemplate(
            container, restart_policy=RestartPolicy("any", delay=0, max_attempts=0, window=0)
        ),
        "name": name,
        "mode": ServiceMode("replicated", replicas=0),
        "update_config": update,
        "rollback_config": back,
        "networks": [NETWORK],
        "endpoint_spec": EndpointSpec(mode="dnsrr"),
    }
