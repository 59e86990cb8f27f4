"""The messages in the database: plain functions on a connection, called in its thread.

A stream is one partition of one topic. Its next offset is a row of its own, so that no offset is given twice, whatever
was deleted since. A message's row number is its stream's number followed by its offset: a stream lies together and is
read in order without an index.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autoscaler.adapters.embedded.database import transaction
from autoscaler.adapters.topics import RETENTION_S, compacted
from autoscaler.errors import ConfigurationError, Fenced, Problem
from autoscaler.ports.stream import Headers, StoredMessage, Topic

OFFSETS = 1 << 40
"""Offsets per stream; 2^63 row numbers leave room for as many streams as anybody needs."""

PAGE = 2_000
CHUNK = 5_000
"""Rows that one transaction of the housekeeping deletes, so that writers wait little."""

RECENT = 1_000
"""Messages at the end of a compacted stream that are kept as they are, for readers that follow it."""

TABLES = (
    """CREATE TABLE IF NOT EXISTS streams (
        id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, partition INTEGER NOT NULL,
        next INTEGER NOT NULL, at INTEGER NOT NULL, UNIQUE (topic, partition)) STRICT""",
    """CREATE TABLE IF NOT EXISTS messages (
        place INTEGER PRIMARY KEY, at INTEGER NOT NULL, key BLOB, value BLOB, headers BLOB NOT NULL) STRICT""",
    "CREATE TABLE IF NOT EXISTS owners (prefix TEXT PRIMARY KEY, token INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS positions (
        stream INTEGER NOT NULL, reader TEXT NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (stream, reader)) STRICT""",
)

Streams = Mapping[tuple[Topic, int], int]
"""Topic and partition -> number of the stream."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message to be written."""

    topic: Topic
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


def prepare(
    connection: sqlite3.Connection, names: Mapping[Topic, str], partitions: int, *, exact: bool
) -> tuple[Streams, int, list[Topic]]:
    """Every stream, the partitions of a topic, and which topics were made just now.

    Raises `ConfigurationError`, changing nothing, where existing topics differ from each other or, if ``exact``, from
    ``partitions``.
    """
    roles = {name: topic for topic, name in names.items()}
    with transaction(connection):
        for table in TABLES:
            connection.execute(table)
        counts = dict(connection.execute("SELECT topic, count(*) FROM streams GROUP BY topic").fetchall())
        found = {name: count for name, count in counts.items() if name in roles}
        wanted = partitions if exact or not found else next(iter(found.values()))
        _require_partitions(found, wanted)
        missing = [name for name in roles if name not in found]
        connection.executemany(
            "INSERT INTO streams (topic, partition, next, at) VALUES (?, ?, 0, 0)",
            [(name, number) for name in missing for number in range(wanted)],
        )
        rows = connection.execute("SELECT topic, partition, id FROM streams").fetchall()
    streams = {(roles[name], partition): stream for name, partition, stream in rows if name in roles}
    return streams, wanted, [roles[name] for name in missing]


def _require_partitions(found: Mapping[str, int], wanted: int) -> None:
    problems = [
        Problem(
            f"stream topic {name}",
            f"has {count} partitions, {wanted} are expected",
            "Set stream.partitions to what the file has, or use another stream.path.",
        )
        for name, count in found.items()
        if count != wanted
    ]
    if problems:
        raise ConfigurationError(problems)


def claim(connection: sqlite3.Connection, prefix: str) -> int:
    """A new token for the owner of this prefix; every earlier one is refused from now on."""
    with transaction(connection):
        row = connection.execute(
            "INSERT INTO owners VALUES (?, 1) ON CONFLICT (prefix) DO UPDATE SET token = token + 1 RETURNING token",
            (prefix,),
        ).fetchone()
    return int(row[0])


def require_owner(connection: sqlite3.Connection, prefix: str, token: int) -> None:
    """Raises `Fenced` where another process has claimed the prefix since."""
    row = connection.execute("SELECT token FROM owners WHERE prefix = ?", (prefix,)).fetchone()
    if row is None or row[0] != token:
        raise Fenced(f"stream {prefix}: another process owns it now")


def put(connection: sqlite3.Connection, streams: Streams, entries: Sequence[Entry]) -> list[int]:
    """The offsets of the written messages, in their order; inside a transaction of the caller."""
    now_ms = time.time_ns() // 1_000_000
    heads: dict[int, tuple[int, int]] = {}
    rows, offsets = [], []
    for entry in entries:
        stream = streams[entry.topic, entry.partition]
        if stream not in heads:
            heads[stream] = connection.execute("SELECT next, at FROM streams WHERE id = ?", (stream,)).fetchone()
        offset, last_ms = heads[stream]
        # Times never go back within a stream, so that they can be searched by halves.
        at_ms = max(now_ms, last_ms)
        heads[stream] = (offset + 1, at_ms)
        rows.append((stream * OFFSETS + offset, at_ms, entry.key, entry.value, _packed(entry.headers)))
        offsets.append(offset)
    connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?)", rows)
    connection.executemany(
        "UPDATE streams SET next = ?, at = ? WHERE id = ?", [(head, at, stream) for stream, (head, at) in heads.items()]
    )
    return offsets


def commit_positions(connection: sqlite3.Connection, reader: str, positions: Mapping[int, int]) -> None:
    """Note by stream what ``reader`` reads next; a hint for monitors, inside a transaction of the caller."""
    connection.executemany(
        "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT (stream, reader) DO UPDATE SET next = excluded.next",
        [(stream, reader, offset) for stream, offset in positions.items()],
    )


def page(
    connection: sqlite3.Connection, stream: int, start: int, end: int, rows_max: int = PAGE, bytes_max: int = 4_000_000
) -> list[StoredMessage]:
    """Messages from offset ``start`` up to before ``end``, as many as fit."""
    first = stream * OFFSETS
    found: list[StoredMessage] = []
    size = 0
    cursor = connection.execute(
        "SELECT place, at, key, value, headers FROM messages WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
        (first + start, first + end, rows_max),
    )
    for place, at, key, value, headers in cursor:
        found.append(StoredMessage(place - first, at, key, value, _unpacked(headers)))
        size += len(value or b"")
        if size >= bytes_max:
            break
    cursor.close()
    return found


def ends(connection: sqlite3.Connection) -> dict[int, int]:
    """Next offset to be written, by stream."""
    return dict(connection.execute("SELECT id, next FROM streams").fetchall())


def beginning(connection: sqlite3.Connection, stream: int) -> int:
    """The oldest offset that is kept, or the end."""
    first = stream * OFFSETS
    row = connection.execute("SELECT min(place) FROM messages WHERE place >= ? AND place < ?", (first, first + OFFSETS))
    (place,) = row.fetchone()
    return ends(connection)[stream] if place is None else int(place) - first


def offset_at(connection: sqlite3.Connection, stream: int, at_ms: int) -> int:
    """The offset of the first message at or after that time, or the end."""
    low, high = 0, ends(connection)[stream]
    first = stream * OFFSETS
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(
            "SELECT place, at FROM messages WHERE place >= ? AND place < ? ORDER BY place LIMIT 1",
            (first + middle, first + high),
        ).fetchone()
        if row is None or row[1] >= at_ms:
            high = middle
        else:
            low = row[0] - first + 1
    row = connection.execute(
        "SELECT min(place) FROM messages WHERE place >= ? AND place < ?", (first + low, first + OFFSETS)
    )
    (place,) = row.fetchone()
    return low if place is None else int(place) - first


def keep_house(connection: sqlite3.Connection, streams: Streams) -> None:
    """Delete what is past its retention, and what a later message of the same key has replaced."""
    now_ms = time.time_ns() // 1_000_000
    for (topic, _), stream in streams.items():
        if compacted(topic):
            _compact(connection, stream)
        else:
            _prune(connection, stream, offset_at(connection, stream, now_ms - RETENTION_S[topic] * 1000))


def _prune(connection: sqlite3.Connection, stream: int, end: int) -> None:
    while (start := beginning(connection, stream)) < end:
        with transaction(connection):
            _delete(connection, stream, start, min(end, start + CHUNK))


def _delete(connection: sqlite3.Connection, stream: int, start: int, end: int) -> None:
    first = stream * OFFSETS
    connection.execute("DELETE FROM messages WHERE place >= ? AND place < ?", (first + start, first + end))


def _compact(connection: sqlite3.Connection, stream: int) -> None:
    first, end = stream * OFFSETS, ends(connection)[stream]
    horizon = end - RECENT
    if horizon <= 0:
        return
    newest: dict[bytes, tuple[int, bool]] = {}
    replaced: list[tuple[int]] = []
    rows = connection.execute(
        "SELECT place, key, value IS NULL FROM messages WHERE place >= ? AND place < ? ORDER BY place",
        (first, first + end),
    )
    for place, key, tombstone in rows:
        if key in newest:
            replaced.append((newest[key][0],))
        newest[key] = (place, bool(tombstone))
    replaced += [(place,) for place, tombstone in newest.values() if tombstone]
    old = [row for row in replaced if row[0] < first + horizon]
    for at in range(0, len(old), CHUNK):
        with transaction(connection):
            connection.executemany("DELETE FROM messages WHERE place = ?", old[at : at + CHUNK])


def pages(connection: sqlite3.Connection, stream: int, end: int) -> Iterator[list[StoredMessage]]:
    """The whole stream up to ``end`` in short reads, as a long one would keep the journal from being written back."""
    start = 0
    while found := page(connection, stream, start, end):
        yield found
        start = found[-1].offset + 1


def _packed(headers: Headers) -> bytes:
    return json.dumps([[name, value.hex()] for name, value in headers]).encode() if headers else b""


def _unpacked(packed: bytes) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, bytes.fromhex(value)) for name, value in json.loads(packed)) if packed else ()
