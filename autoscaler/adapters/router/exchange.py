"""One request of a client, carried to a backend and its answer back, bodies streamed both ways.

A request is tried again on another backend as long as nothing of it can have been acted on: the connection could not be
made; or the method is idempotent, it has no body, and no byte of an answer came (RFC 9110 section 9.2.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import h11

from autoscaler.adapters.router.balancing import Pool, Upstream
from autoscaler.adapters.router.link import Link, LinkBroken, connect

Headers = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    (
        b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
        b"transfer-encoding upgrade expect"
    ).split()
)
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the router waits, in seconds: for a connection, for a client's next bytes, for a backend's."""

    connect_s: float = 2.0
    client_s: float = 75.0
    backend_s: float = 300.0


class Answered(Exception):
    """The exchange ended early: the client gets this status from the router itself."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers without those that concern one connection only (RFC 9110 section 7.6.1)."""
    pairs = [(bytes(name), bytes(value)) for name, value in headers]
    named = {token.strip().lower() for name, value in pairs if name == b"connection" for token in value.split(b",")}
    return [(name, value) for name, value in pairs if name not in HOP_BY_HOP and name not in named]


def has_body(request: h11.Request) -> bool:
    """Whether bytes follow the head."""
    headers = dict(request.headers)
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0 ") != b""


class Exchange:
    """One request on ``client``; the head has been read, the body has not."""

    def __init__(self, pool: Pool, client: Link, request: h11.Request, patience: Patience) -> None:
        self._pool = pool
        self._client = client
        self._request = request
        self._patience = patience
        self._has_body = has_body(request)

    async def run(self) -> None:
        """Answers the client. Raises `LinkBroken` where the client's connection is of no use any more."""
        self._pool.traffic.requests += 1
        try:
            self._refuse_what_is_not_served()
            if not self._has_body:
                await self._client.receive(self._patience.client_s)  # the empty body's end
            await self._try_backends()
        except Answered as answer:
            if answer.status == 503:  # noqa: PLR2004 -- RFC 9110 section 15.6.4
                self._pool.traffic.refused += 1
            elif answer.status in (502, 504):
                self._pool.traffic.failed += 1
            await respond(self._client, answer.status, answer.text)

    def _refuse_what_is_not_served(self) -> None:
        upgrades = [value.lower() for name, value in self._request.headers if name == b"upgrade"]
        if self._request.method == b"CONNECT" or any(b"websocket" in value for value in upgrades):
            raise Answered(501, "this router carries plain HTTP/1.1 requests only")

    async def _try_backends(self) -> None:
        tried: frozenset[str] = frozenset()
        why = ""
        while True:
            upstream = self._pool.choose(tried)
            if upstream is None and tried:
                raise Answered(502, f"no replica of {self._pool.service} could be reached: {why}")
            if upstream is None:
                await self._wait_for_a_replica()
                continue
            try:
                retry = await self._try(upstream)
            finally:
                upstream.end()
            if not retry:
                return
            why = retry
            tried |= {upstream.backend.name}
            self._pool.traffic.retried += 1

    async def _wait_for_a_replica(self) -> None:
        """Raises `Answered` where none came, `ClientGone` where the client did not wait for it."""
        waiting = asyncio.create_task(self._pool.hold())
        leaving = asyncio.create_task(self._client.left())
        try:
            await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise ClientGone("the client closed its connection while its request was held")
            in_vain = waiting.result()
        finally:
            waiting.cancel()
            leaving.cancel()
            await asyncio.gather(waiting, leaving, return_exceptions=True)
        if in_vain:
            raise Answered(503, f"{self._pool.service} {in_vain}. Try again later")

    async def _try(self, upstream: Upstream) -> str:
        """Empty where the client has been answered, else why another backend may be tried."""
        replayable = not self._has_body and bytes(self._request.method) in IDEMPOTENT
        link = upstream.take_idle() if replayable else None
        while True:
            reused = link is not None
            if link is None:
                try:
                    link = await connect(upstream.backend.address, self._patience.connect_s)
                except LinkBroken as error:
                    upstream.suspect()
                    return str(error)
            try:
                head = await self._ask(upstream.backend.address, link)
            except ClientGone:
                link.abort()
                raise
            except LinkBroken as error:
                link.close()
                link = None
                if reused:  # it had been idle and was closed meanwhile: no fault of the backend
                    continue
                if replayable and not error.timed_out:
                    return f"{upstream.backend.address}: {error}"
                raise Answered(504 if error.timed_out else 502, f"{self._pool.service}: {error}") from error
            except BaseException:
                link.abort()
                raise
            await self._answer(upstream, link, head)
            return ""

    async def _ask(self, address: str, link: Link) -> h11.Response:
        """Sends the request; the response's head. Raises `ClientGone`, or `LinkBroken` for the backend's faults."""
        headers = self._forwarded(address)
        await link.send(h11.Request(method=self._request.method, target=self._request.target, headers=headers))
        if not self._has_body:
            await link.send(h11.EndOfMessage())
            return await response_head(link, self._patience.backend_s)
        return await self._ask_with_body(link)

    async def _ask_with_body(self, link: Link) -> h11.Response:
        pump = asyncio.create_task(self._pump(link))
        answer = asyncio.create_task(response_head(link, self._patience.backend_s))
        try:
            await asyncio.wait({pump, answer}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
            return await answer
        finally:
            # An answer that comes before the body's end ends the body: neither connection is used again then.
            pump.cancel()
            answer.cancel()
            await asyncio.gather(pump, answer, return_exceptions=True)

    async def _pump(self, link: Link) -> None:
        """Carries the request's body. Ends quietly where the backend takes no more: its answer says why."""
        while True:
            try:
                event = await self._client.receive(self._patience.client_s)
            except LinkBroken as error:
                raise ClientGone(str(error), error.status) from error
            if isinstance(event, h11.ConnectionClosed):
                raise ClientGone("the client closed its connection")
            try:
                await link.send(event)
            except LinkBroken:
                return
            if isinstance(event, h11.EndOfMessage):
                return

    def _forwarded(self, address: str) -> Headers:
        headers = end_to_end(self._request.headers)
        via = [value for name, value in headers if name == b"x-forwarded-for"]
        headers = [pair for pair in headers if pair[0] != b"x-forwarded-for"]
        headers.append((b"x-forwarded-for", b", ".join([*via, self._client.peer.encode()])))
        if not any(name == b"host" for name, _ in headers):  # HTTP/1.0 may leave it out
            headers.append((b"host", address.encode()))
        if not any(name == b"x-forwarded-proto" for name, _ in headers):
            headers.append((b"x-forwarded-proto", b"http"))
        if any(name == b"transfer-encoding" for name, _ in self._request.headers):
            headers.append((b"transfer-encoding", b"chunked"))
        return headers

    async def _answer(self, upstream: Upstream, link: Link, head: h11.Response) -> None:
        """Carries the response; keeps the backend's connection where it can be used again."""
        try:
            headers = end_to_end(head.headers)
            if self._client.state.their_state is not h11.DONE:
                headers.append((b"connection", b"close"))
            response = h11.Response(status_code=head.status_code, headers=headers, reason=head.reason)
            await self._client.send(response)
            while isinstance(event := await link.receive(self._patience.backend_s), h11.Data):
                await self._client.send(event)
            await self._client.send(h11.EndOfMessage())
        except BaseException:
            link.abort()
            raise
        if link.reusable():
            upstream.keep(link)
        else:
            link.close()


class ClientGone(LinkBroken):
    """The client's side broke while its request was carried."""


async def response_head(link: Link, timeout_s: float) -> h11.Response:
    """The head of the final response; interim ones are left out. Raises `LinkBroken`."""
    while True:
        event = await link.receive(timeout_s)
        if isinstance(event, h11.Response):
            return event
        if not isinstance(event, h11.InformationalResponse):
            raise LinkBroken("closed the connection without an answer")


async def respond(client: Link, status: int, text: str, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """The router's own answer in plain text; 503 says when to come again. Raises `LinkBroken`."""
    if not client.may_answer:
        raise LinkBroken("an answer had been begun")
    body = f"{text}.\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *more,
    ]
    if status == 503:  # noqa: PLR2004 -- RFC 9110 section 15.6.4
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    if client.state.their_state is not h11.DONE:
        headers.append((b"connection", b"close"))
    await client.send(h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage())
