"""The log of the process: one line an event of its life, as text or JSON, and nothing about a person in any of them.

What an error says may quote what somebody sent, so its text is never written: an error is logged by its type, the code
that its library gives it (`SQLITE_FULL`, `53100`, `ENOSPC`, our own), and the places that it passed. Of libraries' own
messages only those of the HTTP server are written, before anything is put into them.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import PurePath
from types import TracebackType
from typing import Any, TextIO

import msgspec

from vitrina.core.errors import VitrinaError

__all__ = ["REQUEST", "Value", "configure", "describe", "new_request_id", "say"]

REQUEST: ContextVar[bytes] = ContextVar("vitrina-request", default=b"")
"""The id of the request that is being answered; it goes back to the caller as `x-request-id`."""

_BOOT = int.from_bytes(os.urandom(4))
_NUMBERS = itertools.count(1)
_FRAMES = 12
_CAUSES = 4
_SERVER = ("uvicorn",)
_FIELDS = "vitrina_fields"

Value = str | int | float | bool
_encode = msgspec.json.Encoder().encode


def new_request_id() -> bytes:
    """An id for the next request: where the process began, and a number."""
    return b"%08x-%x" % (_BOOT, next(_NUMBERS))


def say(log: logging.Logger, level: int, event: str, fields: Mapping[str, Value]) -> None:
    """Log an event of the process's life.

    Args:
        log: whose it is.
        level: of `logging`.
        event: stable code, `area.what`.
        fields: what belongs to it; never anything about a person.
    """
    if log.isEnabledFor(level):
        log.log(level, event, extra={_FIELDS: dict(fields)})


def describe(error: BaseException) -> str:
    """An error without its text: its type and code, the places it passed, and what caused it.

    >>> describe(OSError(28, "No space left on device"))
    'OSError(ENOSPC)'
    """
    return " < ".join(_one(each) for each in itertools.islice(_chain(error), _CAUSES))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _one(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    code = _code_of(error)
    places = _places(error.__traceback__)
    return f"{name}({code})" + (f" at {' > '.join(places)}" if places else "") if code else _with(name, places)


def _with(name: str, places: list[str]) -> str:
    return f"{name} at {' > '.join(places)}" if places else name


def _code_of(error: BaseException) -> str:
    """The code that whoever made the error gave it; never its text."""
    if isinstance(error, VitrinaError):
        return error.code
    for attribute in ("sqlite_errorname", "sqlstate"):
        code: object = getattr(error, attribute, None)
        if isinstance(code, str) and code.replace("_", "").isalnum():
            return code
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    return ""


def _places(trace: TracebackType | None) -> list[str]:
    found = [f"{_short(frame.f_code.co_filename)}:{line}" for frame, line in traceback.walk_tb(trace)]
    return found if len(found) <= _FRAMES else [found[0], "…", *found[1 - _FRAMES :]]


def _short(file: str) -> str:
    parts = PurePath(file).parts
    return "/".join(parts[-2:])


class _Line(logging.Formatter):
    """One line a record; how it is written is said by the two below."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        parts: dict[str, Value] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record),
        }
        parts.update(getattr(record, _FIELDS, {}))
        request = REQUEST.get()
        if request:
            parts["request"] = request.decode()
        if record.exc_info and record.exc_info[1] is not None:
            parts["fault"] = describe(record.exc_info[1])
        return self.line(parts)

    def line(self, parts: dict[str, Value]) -> str:
        """The parts as text: `2026-05-01T12:00:00.000Z WARNING vitrina.service request.slow route=/v1/decide`."""
        at, level, logger, event = (str(parts.pop(name)) for name in ("at", "level", "logger", "event"))
        rest = [
            f"{name}={_encode(value).decode() if _needs_quotes(str(value)) else value}" for name, value in parts.items()
        ]
        return " ".join([at, level.upper(), logger, event, *rest])


def _needs_quotes(text: str) -> bool:
    return not text or any(sign.isspace() or sign in '"=' for sign in text)


class _JsonLine(_Line):
    """The parts as a JSON object."""

    def line(self, parts: dict[str, Value]) -> str:
        """One object."""
        return _encode(parts).decode()


def _event(record: logging.LogRecord) -> str:
    """What happened: ours with what belongs in it, the HTTP server's without, another library's not at all."""
    if isinstance(record.msg, BaseException):
        return describe(record.msg)
    owner = record.name.partition(".")[0]
    if owner in _SERVER:
        return str(record.msg).partition("\n")[0]
    if owner != "vitrina":
        return f"{PurePath(record.pathname).name}:{record.lineno}"
    arguments: Any = record.args
    if isinstance(arguments, tuple):
        arguments = tuple([describe(each) if isinstance(each, BaseException) else each for each in arguments])
    text = str(record.msg) % arguments if arguments else str(record.msg)
    return " ".join(text.split())


def configure(form: str, stream: TextIO | None = None) -> None:
    """Send every log line of this process, also those of its libraries and of threads that died, through here.

    Args:
        form: text | json.
        stream: where to; stderr when None.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_JsonLine() if form == "json" else _Line())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("vitrina").setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.raiseExceptions = False  # a line that can't be written must not print what was to be in it
    threading.excepthook = _thread_died


def _thread_died(death: threading.ExceptHookArgs) -> None:
    if death.exc_value is not None and not isinstance(death.exc_value, SystemExit):
        name = "" if death.thread is None else death.thread.name
        logging.getLogger("vitrina.service").error("the thread %s died", name, exc_info=death.exc_value)
