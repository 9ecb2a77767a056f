"""Redis commands: what may be asked, with which arguments, and what comes back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from adapters.runners.base import LONGEST_WAIT
from adapters.runners.database.session import CONNECT, Connecting, cut
from adapters.runners.database.settings import DatabaseArgs, Login
from adapters.runners.database.values import plain
from adapters.runners.output import ROOM, first, shortened, size
from domain.errors import InvalidTask, MissingExtra, WorkerError
from domain.runner import CancelRequest

MOST = None
COUNTS: dict[str, tuple[int, int | None]] = {
    "GET": (1, 1), "HGET": (2, 2), "SET": (2, MOST), "DEL": (1, MOST), "EXISTS": (1, MOST), "KEYS": (1, 1),
    "SCAN": (0, 5), "HGETALL": (1, 1), "HSET": (3, MOST), "LPUSH": (2, MOST), "RPUSH": (2, MOST), "LRANGE": (3, 3),
    "TTL": (1, 1), "EXPIRE": (2, 2), "PING": (0, 0), "DBSIZE": (0, 0), "FLUSHDB": (0, 0),
}  # fmt: skip
# How many leading arguments are names; all behind them may be a secret.
SHOWN = {"SET": 1, "HSET": 2, "LPUSH": 1, "RPUSH": 1}
NUMBERS = {"EXPIRE": (1,), "LRANGE": (1, 2)}


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    words: tuple[str, ...]

    @property
    def shown(self) -> list[str]:
        """The arguments without values (D10)."""
        names = SHOWN.get(self.name, len(self.words))
        return [word if at < names else "***" for at, word in enumerate(self.words)]


def check(name: str, args: list[str]) -> Command:
    """Raises InvalidTask for a command that is not offered, or for arguments that do not fit it."""
    name = name.strip().upper()
    if name not in COUNTS:
        raise InvalidTask(f"command must be one of {', '.join(COUNTS)}, not {name!r}")
    fewest, most = COUNTS[name]
    if len(args) < fewest or (most is not None and len(args) > most):
        raise InvalidTask(f"args: {name} does not take {len(args)} arguments")
    for at in NUMBERS.get(name, ()):
        number(args[at], name)
    if name == "HSET" and len(args) % 2 == 0:
        raise InvalidTask("args: HSET takes a key and then pairs of field and value")
    if name == "SET":
        return Command(name, (*args[:2], *_set_options(args[2:])))
    return Command(name, _scan(args) if name == "SCAN" else tuple(args))


def number(text: str, name: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise InvalidTask(f"args: {name} takes a whole number, not {text!r}")
    return int(text)


def _set_options(words: list[str]) -> list[str]:
    found: list[str] = []
    rest = iter(words)
    for word in rest:
        option = word.upper()
        if option in ("EX", "PX", "EXAT", "PXAT"):
            value = next(rest, "")
            if number(value, f"SET {option}") <= 0:
                raise InvalidTask(f"args: SET {option} takes a number above 0")
            found += [option, value]
        elif option in ("NX", "XX", "KEEPTTL", "GET"):
            found.append(option)
        else:
            raise InvalidTask(f"args: SET has no option {word!r}")
    return found


def _scan(args: list[str]) -> tuple[str, ...]:
    words = list(args)
    cursor = words.pop(0) if words and words[0].upper() not in ("MATCH", "COUNT") else "0"
    if number(cursor, "SCAN") < 0:
        raise InvalidTask("args: the cursor of SCAN is not below 0")
    options = {"MATCH": "*", "COUNT": "10"}
    if len(words) % 2:
        raise InvalidTask("args: each option of SCAN takes a value")
    for option, value in zip(words[::2], words[1::2], strict=True):
        if option.upper() not in options:
            raise InvalidTask(f"args: SCAN has no option {option!r}")
        options[option.upper()] = value
    if number(options["COUNT"], "SCAN COUNT") <= 0:
        raise InvalidTask("args: COUNT of SCAN is above 0")
    return (cursor, "MATCH", options["MATCH"], "COUNT", options["COUNT"])


def database_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,6}", text):
        raise InvalidTask(f"database: redis takes a whole number, not {text!r}")
    return int(text or "0")


class RedisRun:
    """One connection, one command. ``end`` may be called on any thread."""

    def __init__(self, args: DatabaseArgs, login: Login, timeout: float | None) -> None:
        try:
            import redis
        except ImportError:
            raise MissingExtra("a redis task", "redis") from None
        self._errors: Any = redis.RedisError
        host, port = args.address
        self._where, self._rows = f"{host}:{port}", args.rows
        options: dict[str, Any] = {}
        if args.tls in ("require", "verify"):
            options = {"ssl_cert_reqs": "required" if args.tls == "verify" else "none"}
            options |= {"ssl_check_hostname": args.tls == "verify", "ssl_ca_certs": args.ca_file or None}
        self._connection: Any = (redis.SSLConnection if options else redis.Connection)(
            host=host,
            port=port,
            db=database_number(args.database),
            username=(login.username or None) if login.password else None,
            password=login.password or None,
            socket_connect_timeout=CONNECT,
            socket_timeout=CONNECT,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            redis_connect_func=self._greet,
            protocol=2,
            **options,
        )
        self._limit = min(timeout, LONGEST_WAIT) if timeout else None
        self._over = False
        self._connecting = Connecting(self._open, lambda _: self._connection.disconnect())

    def run(self, command: Command) -> tuple[Any, bool]:
        """The task's ``result``, and whether something of it was left out. Raises WorkerError."""
        try:
            self._connecting.run()
            return self._answer(command)
        except (self._errors, OSError) as error:
            raise WorkerError(f"redis {self._where}: {error}") from None
        finally:
            self._connection.disconnect()

    def end(self, _: CancelRequest) -> None:
        self._over = True
        self._connecting.abandon()
        line = getattr(self._connection, "_sock", None)
        if line is not None:
            cut(line.fileno())

    def _greet(self, connection: Any) -> None:
        """The line is there: either ``end`` has seen it, or this sees that it was called."""
        if self._over:
            raise OSError("cancelled while connecting")
        connection.on_connect()

    def _open(self) -> bool:
        self._connection.connect()
        self._ask("PING")
        self._connection._sock.settimeout(self._limit)
        return True

    def _ask(self, *words: str) -> Any:
        self._connection.send_command(*words)
        return self._connection.read_response(timeout=self._limit) if self._limit else self._connection.read_response()

    def _answer(self, command: Command) -> tuple[Any, bool]:
        """What may be large comes in portions, so that neither this worker nor the output needs room for all (D11)."""
        name, words = command.name, command.words
        if name == "KEYS":  # by SCAN: KEYS would stop the server meanwhile; a name may come twice
            return self._first(unrepeated(self._scanned("SCAN", match=words[0])))
        if name == "HGETALL":
            flat = self._scanned("HSCAN", *words)
            pairs, cut = self._first(zip(flat, flat, strict=True))
            return dict(pairs), cut
        if name == "LRANGE":
            return self._first(plain(self._ask(name, *self._range(*words))))
        value = plain(self._ask(name, *words))
        if name == "SCAN":
            keys, cut = self._first(value[1])
            return {"cursor": int(value[0]), "keys": keys}, cut
        if isinstance(value, str):
            return shortened(value), size(value) > ROOM
        return (bool(value) if name == "EXPIRE" else value), False

    def _scanned(self, name: str, *key: str, match: str = "*") -> Iterator[Any]:
        cursor = ""
        while cursor != "0":
            answer = self._ask(name, *key, cursor or "0", "MATCH", match, "COUNT", "500")
            cursor, part = (plain(one) for one in answer)
            yield from part

    def _range(self, key: str, start: str, stop: str) -> tuple[str, str, str]:
        """The range as it was given, or the beginning of one that holds more than may be told."""
        length = int(self._ask("LLEN", key))
        low, high = (int(at) if int(at) >= 0 else max(int(at) + length, 0) for at in (start, stop))
        if min(high, length - 1) - low < self._rows:
            return key, start, stop
        return key, str(low), str(low + self._rows)

    def _first(self, items: Iterable[Any]) -> tuple[list[Any], bool]:
        found = list(islice(items, self._rows + 1))
        told = first(found[: self._rows])
        return told, len(told) < len(found)


def unrepeated(items: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for item in items:
        if item not in seen:
            seen.add(item)
            yield item
