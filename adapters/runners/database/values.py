"""Values of the databases as JSON holds them: exact, and no reason to fail, since the statement has run by then."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from itertools import accumulate
from typing import Any

DEEPEST = 100  # levels of a JSON value; a deeper one stays text, because Python cannot walk through it

# What the server says is clearer and more exact than Python's own notion of it: no days for months, no None in ranges.
AS_TEXT = (
    "interval", "inet", "cidr", "int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange",
    "int4multirange", "int8multirange", "nummultirange", "datemultirange", "tsmultirange", "tstzmultirange",
)  # fmt: skip


def plain(value: Any) -> Any:
    """A value that JSON can hold; bytes that are no text become ``base64:...``."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, Decimal):
        return format(value, "f")  # 0.0000001, and not 1E-7
    if isinstance(value, (bytes, bytearray, memoryview)):
        raw = bytes(value)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "base64:" + base64.b64encode(raw).decode()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)


def from_json(text: Any) -> Any:
    """What a JSON column holds; its text where Python has no such value."""
    if not isinstance(text, str):
        return text
    steps = ((character in "[{") - (character in "]}") for character in text)
    if text.count("[") + text.count("{") > DEEPEST and max(accumulate(steps)) > DEEPEST:
        return text
    try:
        return json.loads(text, parse_float=_exact)
    except ValueError:  # a whole number of thousands of digits
        return text


def _exact(digits: str) -> float | str:
    number = float(digits)
    return number if Decimal(repr(number)) == Decimal(digits) else digits


def postgresql_loaders(connection: Any) -> None:
    """Make a connection of psycopg read values that Python cannot hold (infinity, BC, 24:00) as the server's text."""
    import psycopg
    from psycopg.adapt import Loader
    from psycopg.types import datetime as times
    from psycopg.types.string import TextLoader

    class Json(TextLoader):
        def load(self, data: Any) -> Any:
            return from_json(super().load(data))

    def tolerant(kind: type[Loader]) -> type[Loader]:
        class Tolerant(TextLoader):
            def __init__(self, oid: int, context: Any = None) -> None:
                super().__init__(oid, context)
                self._parse = kind(oid, context).load

            def load(self, data: Any) -> Any:
                try:
                    return self._parse(data)
                except (psycopg.Error, ValueError, ArithmeticError):
                    return super().load(data)

        return Tolerant

    adapters = connection.adapters
    adapters.register_loader("date", tolerant(times.DateLoader))
    adapters.register_loader("time", tolerant(times.TimeLoader))
    adapters.register_loader("timetz", tolerant(times.TimetzLoader))
    adapters.register_loader("timestamp", tolerant(times.TimestampLoader))
    adapters.register_loader("timestamptz", tolerant(times.TimestamptzLoader))
    for name in ("json", "jsonb"):
        adapters.register_loader(name, Json)
    for name in AS_TEXT:
        adapters.register_loader(name, TextLoader)


def mysql_conversions() -> dict[Any, Any]:
    """PyMySQL's, but a TIME stays the server's text (838:59:59 is no time of a day), and a BIT is a number."""
    from pymysql.constants import FIELD_TYPE
    from pymysql.converters import conversions

    found = {key: convert for key, convert in conversions.items() if key != FIELD_TYPE.TIME}
    return found | {FIELD_TYPE.BIT: lambda raw: int.from_bytes(raw, "big")}
