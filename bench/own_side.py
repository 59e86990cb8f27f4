"""Ours: `autoscaler run` on a real broker, its hosts the same engine, its traffic through the embedded router."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from functools import partial

from autoscaler.events.writing import control_event, deployment_event
from bench.child import Child
from bench.cluster import PARTITIONS, Cluster
from bench.contest import (
    CHECK_EVERY_S,
    CHECK_FAILURES,
    DECIDED_S,
    GRACE_S,
    MONITOR_S,
    PARALLELISM,
    PLAIN,
    SHOP,
    Settings,
)
from bench.program import Program
from bench.shop_images import GOOD, PLAIN_IMAGE, REPOSITORY
from bench.sightings import Publisher, Watch
from bench.stage import Stage
from tests.parts.processes import free_ports

EVERY = f"{CHECK_EVERY_S:g}s"
HEALTH = {"http": "/", "port": "http", "every": EVERY, "timeout": "1s", "failures": CHECK_FAILURES, "start": "0s"}


class OwnSide:
    """Implements `bench.contest.Side`."""

    name = "ours"

    def __init__(self, stage: Stage, url: str) -> None:
        self._stage = stage
        self._url = url
        self._cluster = Cluster.on(stage, "contest", 1)
        self._stack = AsyncExitStack()
        self._events = 0
        self._deployed: dict[str, str] = {}
        services = (PLAIN, SHOP)
        self._routers = {s: ("127.0.0.1", port) for s, port in zip(services, free_ports(len(services)), strict=True)}

    def label(self, service: str) -> tuple[str, str]:
        # A container has one service only, and no other service of ours is called so.
        return ("io.eventscaler.service", service)

    async def open(self) -> None:
        self._cluster.configuration.write_text(json.dumps(self._document(), indent=1))
        await self._cluster.create_topics()
        self._watch = await self._stack.enter_async_context(Watch(self._stage.brokers, self._cluster.topic("audit")))
        self._publisher = await self._stack.enter_async_context(Publisher(self._stage.brokers))
        await self._stack.enter_async_context(Program(self._cluster))
        for service in (PLAIN, SHOP):
            await self._watch.until(partial(_is_applied, service))

    async def close(self) -> None:
        await self._stack.aclose()

    async def scale(self, service: str, replicas: int) -> None:
        identity = self._identity("scale")
        fields = {"replicas": replicas, "reason": "bench"}
        event = control_event(service, "scale", "/bench", fields, id=identity)
        await self._publisher.event(self._cluster.topic("control"), service, event)
        await self._told(identity)

    async def deploy(self, service: str, image: str) -> None:
        identity = self._deployed[service] = self._identity("deploy")
        # What failed once is not tried again: each deployment is other content by its number.
        revision = _revision(service) | {"image": image, "env": {"NUMBER": identity}}
        event = deployment_event(service, revision, "/bench", version=identity, id=identity)
        await self._publisher.event(self._cluster.topic("deployments"), service, event)

    async def verdict(self, service: str) -> str:
        return await self._told(self._deployed[service])

    def client(self, service: str) -> Child:
        return Child("asking", {"address": self._routers[service]}, self._cluster.directory / "client.log")

    def _identity(self, kind: str) -> str:
        self._events += 1
        return f"{kind}-{self._events}"

    async def _told(self, identity: str) -> str:
        found: list[str] = []

        def decides(value: bytes) -> bool:
            if identity.encode() not in value or b'"terminal":true' not in value:
                return False
            data = json.loads(value)["data"]
            if (data.get("event") or {}).get("id") != identity:
                return False
            found.append(str(data["verdict"]))
            return True

        try:
            await self._watch.until(decides, seconds=DECIDED_S)
        except TimeoutError:
            return f"none in {DECIDED_S:.0f} s"
        return found[0]

    def _document(self) -> Settings:
        update = {
            "max_surge": PARALLELISM, "max_unavailable": 0, "first_batch": PARALLELISM, "min_healthy": "0s",
            "startup_deadline": "20s", "deadline": "60s", "monitor": f"{MONITOR_S:g}s", "soak": f"{MONITOR_S:g}s",
            "drain_timeout": f"{GRACE_S:g}s", "rollback_max_surge": PARALLELISM, "rollbacks_per_hour": 1000,
            "restart": {"attempts": 100, "delay": "0s"},
        }  # fmt: skip
        body: Settings = {
            "target": "edge",
            "replicas": {"min": 0, "max": 100, "initial": 0},
            "images": [f"{REPOSITORY}/*"],
            "event_env": ["NUMBER"],
            "update": update,
        }
        services = {
            service: body | {"revision": _revision(service), "route": {"listen": f"{address}:{port}", "port": "http"}}
            for service, (address, port) in self._routers.items()
        }
        return {
            "cluster": self._cluster.name,
            "stream": {
                "kind": "kafka",
                "brokers": self._cluster.brokers.split(","),
                "prefix": self._cluster.name,
                "partitions": PARTITIONS,
            },
            "targets": {"edge": {"kind": "docker", "hosts": [{"name": "h1", "url": self._url}]}},
            "services": services,
        }


def _revision(service: str) -> Settings:
    revision: Settings = {"ports": {"http": 8080}, "stop": {"grace": f"{GRACE_S:g}s"}}
    if service == SHOP:
        return revision | {"image": GOOD[0], "health": HEALTH}
    return revision | {"image": PLAIN_IMAGE}


def _is_applied(service: str, value: bytes) -> bool:
    return b'"verdict":"applied"' in value and bool(json.loads(value)["data"]["service"] == service)
