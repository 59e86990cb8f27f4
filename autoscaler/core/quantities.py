"""Durations, sizes, CPU quantities and percentages as Kubernetes and Docker write them, to plain numbers and back.

Every parser raises ValueError with a text that says what would be right; the caller adds the path.
"""

from __future__ import annotations

import re
from fractions import Fraction

from autoscaler.core.amount import Amount

_UNITS_S = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600), "d": Fraction(86400)}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*(|[kKMGT]i?|[kKMGT]i?[bB]|[bB])")
_BYTE_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_duration(text: str | int) -> float:
    """Seconds of ``30s``, ``5m``, ``1h30m``, ``250ms``, ``0``."""
    if isinstance(text, int) and not isinstance(text, bool):
        if text == 0:
            return 0.0
        raise ValueError(f"a duration needs a unit; write {text}s")
    cleaned = str(text).strip()
    if cleaned == "0":
        return 0.0
    if not _DURATION.fullmatch(cleaned):
        raise ValueError("not a duration; write it as 30s, 5m, 1h30m or 250ms")
    total = sum((Fraction(n) * _UNITS_S[unit] for n, unit in _DURATION_PART.findall(cleaned)), Fraction(0))
    if total > 366 * 86400:
        raise ValueError("longer than a year; write at most 366d")
    return float(total)


def format_duration(seconds: float) -> str:
    """The shortest spelling that `parse_duration` reads back: 90 -> ``1m30s``."""
    if seconds <= 0:
        return "0s"
    millis = round(seconds * 1000)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, millis = divmod(millis, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_bytes(text: str | int) -> int:
    """Bytes of ``256Mi``, ``1Gi``, ``500M``, ``64k``; Docker's ``512m`` and ``1g`` are binary as Docker has them."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    cleaned = str(text).strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]*)", cleaned)
    if not match or not _BYTES.fullmatch(cleaned.replace("g", "G").replace("m", "M").replace("t", "T")):
        raise ValueError("not a size; write it as 256Mi, 1Gi or a number of bytes")
    number, unit = Fraction(match[1]), match[2].removesuffix("B").removesuffix("b")
    binary = unit.endswith("i") or unit in {"m", "g", "t"}
    power = _BYTE_POWERS[unit.removesuffix("i").lower()]
    return int(number * (1024 if binary else 1000) ** power)


def parse_cpu(text: str | float) -> int:
    """Millicores of ``500m``, ``2``, ``0.5``."""
    cleaned = str(text).strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", cleaned)
    if not match:
        raise ValueError("not a CPU quantity; write it as 500m, 2 or 0.5")
    value = Fraction(match[1]) * (1 if match[2] else 1000)
    return int(value)


def parse_amount(text: str | int) -> Amount:
    """A count (``3``) or a share (``25%``)."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return Amount(count=text)
    match = re.fullmatch(r"(\d+)(%?)", str(text).strip())
    if not match:
        raise ValueError("neither a whole number nor a percentage; write it as 3 or 25%")
    return Amount(percent=int(match[1])) if match[2] else Amount(count=int(match[1]))


def parse_ratio(text: str | float) -> float:
    """A ratio of ``10%`` or ``0.1``, from 0 up."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", str(text).strip())
    if not match:
        raise ValueError("not a ratio; write it as 10% or 0.1")
    return float(Fraction(match[1]) / (100 if match[2] else 1))
