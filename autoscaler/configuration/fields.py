"""The value types of the configuration file: durations, sizes, names and the like, from text to plain numbers.

Used by `models`. Each is an annotated type whose validator raises ValueError with *what is wrong; what to
do*, and never repeats the value; pydantic takes no TypeError for an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema

from autoscaler.core.amount import Amount
from autoscaler.core.budget_units import MILLIONTHS
from autoscaler.core.quantities import parse_amount, parse_bytes, parse_cpu, parse_duration, parse_ratio

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
TEXT_MAX = 4096
QUANTITY_CHARS_MAX = 64
CPU_MILLIS_MAX = 10_000_000
REPLICAS_MAX = 10_000
PERCENT_MAX = 1000
PORT_MAX = 65535
ROUNDING = 1e-9
NAME_REMEDY = "Use at most 63 of a-z, 0-9 and -, not at the start or end."
_NAME_RULE = "use at most 63 of a-z, 0-9 and -, not at the start or end"


def is_name(text: str) -> bool:
    """Whether ``text`` may name a service, a cluster, a target or a host."""
    return NAME.fullmatch(text) is not None


def _scalar_text(value: object, what: str) -> str | int | float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(what)  # noqa: TRY004
    if isinstance(value, str) and len(value) > QUANTITY_CHARS_MAX:
        raise ValueError(what)
    return value


def _duration(value: object) -> float:
    given = _scalar_text(value, "not a duration; write it as 30s, 5m, 1h30m or 250ms")
    return parse_duration(str(given) if isinstance(given, float) else given)


def _positive(value: object) -> float:
    seconds = _duration(value)
    if seconds <= 0:
        raise ValueError("must be longer than 0s; write it as 30s, 5m or 250ms")
    return seconds


def _bytes(value: object) -> int:
    what = "not a size; write it as 256Mi, 1Gi or a number of bytes"
    given = _scalar_text(value, what)
    if isinstance(given, float) or (isinstance(given, int) and given < 0):
        raise ValueError(what)
    size = parse_bytes(given)
    if size > 1 << 50:
        raise ValueError("larger than 1024Ti; write it as 256Mi or 1Gi")
    return size


def _cpu(value: object) -> int:
    given = _scalar_text(value, "not a CPU quantity; write it as 500m, 2 or 0.5")
    millis = parse_cpu(str(given))
    if millis > CPU_MILLIS_MAX:
        raise ValueError("more than 10000 cores; write it as 500m, 2 or 0.5")
    return millis


def _amount(value: object) -> Amount:
    what = "neither a whole number nor a percentage; write it as 3 or 25%"
    given = _scalar_text(value, what)
    if isinstance(given, float):
        raise ValueError(what)  # noqa: TRY004
    amount = parse_amount(given)
    if (amount.count or 0) > REPLICAS_MAX or (amount.percent or 0) > PERCENT_MAX:
        raise ValueError("larger than 10000 or 1000%; write it as 3 or 25%")
    return amount


def _percent(value: object) -> int:
    ratio = parse_ratio(_scalar_text(value, "not a ratio; write it as 10% or 0.1"))
    percent = round(ratio * 100)
    if ratio > 1 or abs(percent - ratio * 100) > ROUNDING:
        raise ValueError("not a whole percentage from 0% to 100%; write it as 10% or 0.1")
    return percent


def _overcommit(value: object) -> int:
    amount = _amount(value)
    if amount.percent is None or not amount.percent:
        raise ValueError("not a percentage above 0%; write it as 100% or 150%")
    return amount.percent


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a name must be text; put it in quotes")  # noqa: TRY004
    if not is_name(value):
        raise ValueError(f"not a usable name; {_NAME_RULE}")
    return value


def _address(value: object) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:9180``, ``[::1]:9180``."""
    rule = "not an address; write it as 127.0.0.1:9180"
    match = re.fullmatch(
        r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})", value if isinstance(value, str) else ""
    )
    if not match or int(match[2]) > PORT_MAX:
        raise ValueError(rule)
    return match[1].strip("[]"), int(match[2])


def _broker(value: object) -> str:
    try:
        _host, port = _address(value)
    except ValueError:
        raise ValueError("not a broker's address; write it as 127.0.0.1:9092") from None
    if not port:
        raise ValueError("not a broker's address; write it as 127.0.0.1:9092")
    return str(value)


def _money(value: object) -> int:
    """Millionths of an amount of money."""
    what = "not an amount of money from 0 up with at most six decimals; write it as 0.12"
    text = _scalar_text(value, what)
    given = f"{Decimal(str(text)):f}" if isinstance(text, float) else str(text)
    if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", given):
        raise ValueError(what)
    return int(Decimal(given) * MILLIONTHS)


def _url(schemes: tuple[str, ...], example: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        try:
            parts = urlsplit(value if isinstance(value, str) else "")
            password, _port = parts.password, parts.port
        except ValueError:
            raise ValueError(f"not a URL; write it as {example}") from None
        if parts.scheme not in schemes or not (parts.netloc or parts.scheme == "unix"):
            raise ValueError(f"not a URL of the kind {', '.join(schemes)}; write it as {example}")
        if password is not None:
            raise ValueError("holds a password; take it out of the URL")
        if len(str(value)) > TEXT_MAX:
            raise ValueError(f"not a URL; write it as {example}")
        return str(value)

    return check


def _schema(example: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "number"], "examples": [example], **more})


Text = Annotated[str, Field(max_length=TEXT_MAX)]
Overcommit = Annotated[int, BeforeValidator(_overcommit), _schema("150%")]
FileName = Annotated[str, Field(min_length=1, max_length=TEXT_MAX)]
Duration = Annotated[float, BeforeValidator(_duration), _schema("30s")]
PositiveDuration = Annotated[float, BeforeValidator(_positive), _schema("30s")]
ByteSize = Annotated[int, BeforeValidator(_bytes), _schema("256Mi")]
Cpu = Annotated[int, BeforeValidator(_cpu), _schema("500m")]
Money = Annotated[int, BeforeValidator(_money), _schema("0.12")]
Share = Annotated[Amount, BeforeValidator(_amount), _schema("25%")]
Percent = Annotated[int, BeforeValidator(_percent), _schema("10%")]
Name = Annotated[str, BeforeValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"})]
Address = Annotated[
    tuple[str, int], BeforeValidator(_address), WithJsonSchema({"type": "string", "examples": ["127.0.0.1:9180"]})
]
Broker = Annotated[str, BeforeValidator(_broker)]
EngineUrl = Annotated[
    str, BeforeValidator(_url(("unix", "tcp", "ssh"), "unix:///var/run/docker.sock or tcp://h2:2376"))
]
HttpUrl = Annotated[str, BeforeValidator(_url(("http", "https"), "http://127.0.0.1:9090"))]
Count = Annotated[int, Field(ge=0, le=REPLICAS_MAX)]
