"""Resolving an image over the pool: local content first, else pulled once and then by digest everywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

from autoscaler.adapters.docker.failures import CallFailed, Failure
from autoscaler.adapters.docker.host import Host
from autoscaler.adapters.docker.images import (
    Image,
    can_pull,
    choose_pin,
    credentials_for,
    describe,
    look_up,
    platforms_at_registry,
    pull,
    pull_rule,
)
from autoscaler.configuration.settings import Registry
from autoscaler.core.actions import Outcome, Resolve

PLATFORMS_S = 5.0
"""Longest wait for the registry's word on what an image is made for."""

SPREAD_S = 60.0
"""Longest wait for further hosts to pull what one already has; they go on, and are not placed on until they have it."""


class Resolver:
    """Finds out what an image is, on all hosts of a pool."""

    def __init__(self, hosts: Sequence[Host], registries: Sequence[Registry]) -> None:
        self._hosts = hosts
        self._registries = registries

    async def resolve(self, action: Resolve) -> Outcome:
        """Done with the pinned content, or refused, or unavailable where nobody could be asked."""
        rule = pull_rule(action.spec)
        reference = action.spec.image
        answers = await asyncio.gather(*(self._look(host, reference) for host in self._hosts))
        reachable = [host for host, answer in zip(self._hosts, answers, strict=True) if not isinstance(answer, Failure)]
        if not reachable:
            texts = "; ".join(answer.text for answer in answers if isinstance(answer, Failure))
            return Outcome(action, "unavailable", f"no host can be asked for {reference}: {texts}", "host")
        holders = {
            host.name: answer for host, answer in zip(self._hosts, answers, strict=True) if isinstance(answer, Image)
        }
        if rule == "always" or (rule == "missing" and not holders):
            pulled = await self._pull_somewhere(reachable, reference)
            if isinstance(pulled, Failure):
                return Outcome(action, _settled(pulled), pulled.text, pulled.blame)
            holders = pulled
        if not holders:
            text = f"{reference} is on none of {len(reachable)} hosts, and pull is never"
            return Outcome(action, "refused", text, "revision")
        pinned = choose_pin(reference, holders)
        if not pinned:
            text = f"{reference} is not the same on all hosts: {describe(holders)}"
            return Outcome(action, "refused", text, "revision")
        platforms = await self._platforms(reachable, pinned, holders)
        fitting = [host for host in reachable if not (platforms and host.platform and host.platform not in platforms)]
        await self._spread(fitting, pinned, holders, may_pull=rule != "never")
        text = f"{reference} is {pinned}"
        return Outcome(action, "done", text, pinned=pinned, platforms=platforms)

    async def fetch(self, host: Host, pinned: str) -> None:
        """Pull pinned content to a host that lacks it. Raises CallFailed; the host then counts as lacking it."""
        if not can_pull(pinned):
            host.lack(pinned, may_pull=False)
            text = f"host {host.name} has no image {pinned}, and an image id cannot be pulled"
            raise CallFailed(Failure("refused", text, "host", answered=True))
        try:
            await self._pull(host, pinned)
        except CallFailed:
            host.lack(pinned, may_pull=True)
            raise
        host.has(pinned)

    async def _platforms(self, hosts: Sequence[Host], pinned: str, holders: Mapping[str, Image]) -> tuple[str, ...]:
        """What the content is made for. An image id is one image, and its host has told; a digest may be that of a
        manifest list, of which a host has only its own part: the registry knows, and where it cannot be asked, none."""
        if not can_pull(pinned):
            return tuple(sorted({image.platform for image in holders.values() if image.platform}))
        asked = next((host for host in hosts if host.name in holders), hosts[0])
        try:
            login = credentials_for(pinned, self._registries)
            return await asked.ask("pull", lambda client: platforms_at_registry(client, pinned, login), PLATFORMS_S)
        except CallFailed:
            return ()

    async def _look(self, host: Host, reference: str) -> Image | Failure | None:
        try:
            return await host.ask("resolve", lambda client: look_up(client, reference), host.deadlines.list_s)
        except CallFailed as failed:
            return failed.failure

    async def _pull(self, host: Host, reference: str) -> Image:
        login = credentials_for(reference, self._registries)
        return await host.ask("pull", lambda client: pull(client, reference, login), host.deadlines.pull_s)

    async def _pull_somewhere(self, hosts: Sequence[Host], reference: str) -> dict[str, Image] | Failure:
        """Pull a tag on the first host that can: the others then take exactly that content, were the tag to move."""
        failures = []
        for host in hosts:
            try:
                return {host.name: await self._pull(host, reference)}
            except CallFailed as failed:
                failures.append(failed.failure)
                if failed.failure.result == "refused" and failed.failure.blame == "revision":
                    break  # the registry has answered: it will not tell another host otherwise
        return failures[-1]

    async def _spread(self, hosts: Sequence[Host], pinned: str, holders: dict[str, Image], *, may_pull: bool) -> None:
        missing = []
        for host in hosts:
            if host.name in holders:
                host.has(pinned)
            elif may_pull and can_pull(pinned):
                missing.append(host)
            else:
                host.lack(pinned, may_pull=False)
        if not missing:
            return
        tasks = [asyncio.create_task(self.fetch(host, pinned)) for host in missing]
        done, pending = await asyncio.wait(tasks, timeout=SPREAD_S)
        for host, task in zip(missing, tasks, strict=True):
            if task in pending:
                # The engine goes on pulling; the next listing sees the content when it has come.
                host.lack(pinned, may_pull=True)
                task.cancel()
        await asyncio.gather(*done, *pending, return_exceptions=True)


def _settled(failure: Failure) -> Literal["refused", "unavailable"]:
    return "refused" if failure.result == "refused" else "unavailable"
