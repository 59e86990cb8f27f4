"""The words between the host and its worker: length-prefixed frames, pickle going in, JSON coming out.

The worker believes its parent. The parent believes nothing: the worker runs foreign code, so what comes back is JSON,
bounded, and judged again.
"""

from __future__ import annotations

import json
import select
import socket
import struct
from time import monotonic
from typing import Any

from autoscaler.core.proposals import Hold, Proposal, Refuse, Rollback, Scale, Update, Veto

ANSWER_BYTES_MAX = 1024 * 1024
"""A decoder's events are the largest honest answer; everything else is bounded by the memory limit of 64 KB."""
_LENGTH = struct.Struct("!I")
_KINDS: dict[str, type] = {kind.__name__: kind for kind in (Scale, Update, Rollback, Hold, Veto, Refuse)}
_FIELDS = ("to", "revision", "reason", "wake_at", "unknown")


class Gone(Exception):
    """The other side closed, died or sent what is no frame."""


class Late(Exception):
    """The deadline passed before the frame was whole."""


def send_frame(channel: socket.socket, payload: bytes) -> None:
    """Write one frame; raises OSError where the other side is gone."""
    channel.sendall(_LENGTH.pack(len(payload)) + payload)


def receive_frame(channel: socket.socket, deadline_s: float | None = None, bytes_max: int = 1 << 30) -> bytes:
    """Read one frame, within ``deadline_s`` seconds; raises `Gone` or `Late`."""
    ends_at = None if deadline_s is None else monotonic() + deadline_s
    (length,) = _LENGTH.unpack(_receive(channel, _LENGTH.size, ends_at))
    if length > bytes_max:
        raise Gone(f"its answer is over {bytes_max} bytes")
    return _receive(channel, length, ends_at)


def _receive(channel: socket.socket, count: int, ends_at: float | None) -> bytes:
    parts = []
    while count:
        if ends_at is not None:
            # poll, as select() fails on descriptors above 1023, which a busy member has
            poll = select.poll()
            poll.register(channel, select.POLLIN)
            if not poll.poll(max(0.0, ends_at - monotonic()) * 1000):
                raise Late
        try:
            part = channel.recv(min(count, 1 << 20))
        except OSError as error:
            raise Gone(type(error).__name__) from error
        if not part:
            raise Gone("it ended")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def encode_answer(value: object) -> object:
    """A plugin's answer as JSON values; what is not of the surface becomes the name of its class."""
    if value is None:
        return None
    kind = type(value).__name__
    if type(value) in _KINDS.values():
        return {"kind": kind} | {name: getattr(value, name) for name in _FIELDS if hasattr(value, name)}
    return {"kind": f"?{kind}"}


def decode_answer(sent: object) -> tuple[Proposal | Veto | Refuse | None, str]:
    """The value that `encode_answer` wrote, yet unjudged, and "" or why there is none."""
    if sent is None:
        return None, ""
    kind = sent.get("kind") if isinstance(sent, dict) else None
    if not isinstance(sent, dict) or not isinstance(kind, str):
        return None, "answered with what is no answer"
    if kind not in _KINDS:
        return None, f"returned {kind.removeprefix('?')[:60]}"
    fields = {name: value for name, value in sent.items() if name != "kind"}
    try:
        decoded: Proposal | Veto | Refuse = _KINDS[kind](**fields)
    except TypeError:
        return None, f"returned a {kind} with wrong fields"
    return decoded, ""


def to_json(answer: dict[str, Any]) -> bytes:
    """An answer as bytes; one that is no JSON, or too large, becomes an error of the plugin's."""
    try:
        data = json.dumps(answer, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return to_json({"error": f"its answer is no JSON: {type(error).__name__}"})
    return data if len(data) <= ANSWER_BYTES_MAX else to_json({"error": f"its answer is over {ANSWER_BYTES_MAX} bytes"})


def from_json(data: bytes) -> dict[str, Any]:
    """A worker's answer; raises `Gone` where it is none."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Gone("it answered with what is no JSON") from error
    if not isinstance(answer, dict):
        raise Gone("it answered with what is no answer")
    return answer
