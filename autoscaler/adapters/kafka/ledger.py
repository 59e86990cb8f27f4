"""The transactional producer of one owned partition: everything of an append becomes visible, or nothing.

One transactional id per partition: starting the producer fences whoever wrote before and aborts what it left open.
A producer that failed once is never used again; its partition has to be taken over anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from autoscaler.adapters.kafka.connection import FENCED, FOREIGN, TEAR_S, let_go, start, translated
from autoscaler.errors import StreamError
from autoscaler.ports.stream import Outgoing, Topic

APPEND_S = 10.0
"""The longest that an append may take; below the transaction time-out, after which the broker aborts by itself."""

TRANSACTION_S = 15.0
START_S = 15.0
ABORT_S = 2.0
STOP_S = 8.0
REQUEST_BYTES_MAX = 8 * 1024 * 1024
BATCH_BYTES = 256 * 1024


class PartitionLedger:
    """Writes to one partition of every topic, as its only owner."""

    def __init__(self, producer: Any, partition: int, names: Mapping[Topic, str]) -> None:
        self._producer = producer
        self._partition = partition
        self._names = names
        self._turn = asyncio.Lock()
        self._failed = False
        self._parting: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, options: Mapping[str, Any], transactional_id: str, partition: int, names: Mapping[Topic, str]
    ) -> PartitionLedger:
        """Fence the former owner and abort what it left open; true once this returns. Raises `StreamError`."""
        producer = AIOKafkaProducer(
            transactional_id=transactional_id,
            transaction_timeout_ms=int(TRANSACTION_S * 1000),
            acks="all",
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES_MAX,
            **options,
        )
        await start(producer, options, f"take over partition {partition}", START_S)
        return cls(producer, partition, names)

    async def write(self, records: Sequence[Outgoing]) -> None:
        """Write and commit; after any failure this object is of no use any more.

        Raises `Fenced`, or `StreamError` with outcome *unknown*: whether or not it was written, the partition has to be
        taken over and its state read again.
        """
        async with self._turn:
            if self._failed:
                raise StreamError(f"append to partition {self._partition}: take the partition over first", "unknown")
            await self._transact(records)

    async def _transact(self, records: Sequence[Outgoing]) -> None:
        doing = f"append to partition {self._partition}"
        committing = False
        try:
            async with asyncio.timeout(APPEND_S):
                await self._producer.begin_transaction()
                await self._send(records)
                committing = True
                await self._producer.commit_transaction()
        except FOREIGN as error:
            # The library asserts on state transitions that a fenced producer no longer has.
            cause = self._cause(error)
            self._part(abort=not committing and not isinstance(cause, FENCED))
            raise translated(cause, doing, "unknown") from error
        except BaseException:
            self._part(abort=not committing)
            raise

    def _cause(self, error: BaseException) -> BaseException:
        """What ended the producer's own task, if anything did: the error at hand then only says that it ended."""
        task = self._producer._sender.sender_task  # noqa: SLF001 - the library tells it nowhere else
        failure = task.exception() if task.done() and not task.cancelled() else None
        return error if failure is None else failure.__cause__ or failure

    async def _send(self, records: Sequence[Outgoing]) -> None:
        sent: list[asyncio.Future[Any]] = []
        for record in records:
            future = await self._producer.send(
                self._names[record.topic],
                key=record.key,
                value=record.value,
                partition=self._partition,
                headers=list(record.headers),
            )
            future.add_done_callback(_retrieved)
            sent.append(future)
        # A commit succeeds although a record was refused, so every single answer is awaited first. Waited for without
        # gather, which would cancel the batch's own futures at the deadline.
        if sent:
            done, _ = await asyncio.wait(sent, return_when=asyncio.FIRST_EXCEPTION)
            for future in done:
                future.result()

    def _part(self, *, abort: bool) -> asyncio.Task[None]:
        self._failed = True
        if self._parting is None:
            self._parting = asyncio.create_task(self._leave(abort=abort))
        return self._parting

    async def _leave(self, *, abort: bool) -> None:
        seconds = 0.0
        try:
            if abort:
                await self._abort()
            seconds = STOP_S
        finally:
            await let_go(self._producer, seconds)
        waiter = self._producer._txn_manager._transaction_waiter  # noqa: SLF001 - nobody else can retrieve its error
        if waiter is not None and waiter.done():
            _retrieved(waiter)

    async def _abort(self) -> None:
        """Only so that readers need not wait for the broker's own time-out; the next owner aborts it, too."""
        ending = asyncio.ensure_future(self._producer.abort_transaction())
        try:
            await asyncio.wait({ending}, timeout=ABORT_S)
        finally:
            if ending.done():
                _retrieved(ending)
            else:
                ending.cancel()

    async def close(self, seconds: float) -> None:
        """Stop the producer within about so many seconds, whatever the broker's condition."""
        parting = self._part(abort=False)
        done, _ = await asyncio.wait({parting}, timeout=seconds)
        if not done:
            parting.cancel()
            await asyncio.wait({parting}, timeout=3 * TEAR_S)


def _retrieved(future: asyncio.Future[Any]) -> None:
    # Its error was raised by the first of them already; unretrieved ones would be reported as a fault of ours.
    if not future.cancelled():
        future.exception()
