"""Logs: for people or as JSON lines on standard error, and as JSON lines in one file a run; masked everywhere."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO

from necrocode.home import Home, HomeUnusable

Mask = Callable[[str], str]
Renderer = Callable[[Mapping[str, Any]], str]
"""Makes the text of an event: of ``timestamp``, ``level``, ``event``, ``logger``, and whatever was said with it."""

OURS = "necrocode"
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_FIRST = ("timestamp", "level", "event", "logger", "exception")
_VALUES = "necrocode_values"
"""The attribute of a record that holds what was said with the event."""

_BOUND: ContextVar[Mapping[str, Any]] = ContextVar("bound", default=MappingProxyType({}))
"""What every event of this thread carries."""


def configure_logging(
    *, level: str = "info", structured: bool = False, mask: Mask = str, stream: TextIO | None = None
) -> None:
    """Send logs to ``stream`` (standard error), from ``level`` on; may be called again.

    ``structured``: JSON lines instead of lines for people (coloured on a terminal, unless ``NO_COLOR`` is set). Loggers
    of the standard library take the same way; those of other packages from WARNING on. Every value, key and exception
    text goes through ``mask``.
    """
    stream = sys.stderr if stream is None else stream
    colours = stream.isatty() and not os.environ.get("NO_COLOR")
    handler = _Quiet(stream)
    handler.set_name(OURS)
    handler.setLevel(level.upper())
    handler.setFormatter(_Events(_json_line if structured else _Human(colours), mask))
    root = logging.getLogger()
    for old in [old for old in root.handlers if old.get_name() == OURS]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    # INFO at least, for the files of the runs
    logging.getLogger(OURS).setLevel(min(logging.INFO, handler.level))


class Log:
    """Logs events, each with the values that belong to it: ``log.info("slot lent", slot_id=…)``.

    Arguments by position go into the event, as the standard library has it.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, *arguments: Any, **values: Any) -> None:
        """What only helps to find a fault."""
        self._log(logging.DEBUG, event, arguments, values)

    def info(self, event: str, /, *arguments: Any, **values: Any) -> None:
        """Something happened as it should."""
        self._log(logging.INFO, event, arguments, values)

    def warning(self, event: str, /, *arguments: Any, **values: Any) -> None:
        """Somebody may want to look at it."""
        self._log(logging.WARNING, event, arguments, values)

    def error(self, event: str, /, *arguments: Any, **values: Any) -> None:
        """Something failed."""
        self._log(logging.ERROR, event, arguments, values)

    def exception(self, event: str, /, *arguments: Any, **values: Any) -> None:
        """Something failed with the exception that is being handled, which is logged with it."""
        self._log(logging.ERROR, event, arguments, values, exc_info=True)

    def _log(
        self, level: int, event: str, arguments: tuple[Any, ...], values: dict[str, Any], *, exc_info: bool = False
    ) -> None:
        self._logger.log(level, event, *arguments, exc_info=exc_info, extra={_VALUES: values})


def logger(name: str = OURS) -> Log:
    """The logger of that name, below ``necrocode``: ``logger("pool").info("slot lent", slot_id=…)``."""
    return Log(name if name.startswith(OURS) else f"{OURS}.{name}")


@contextlib.contextmanager
def bound(**values: Any) -> Iterator[None]:
    """Every event of this thread carries ``values`` (``run_id``, ``task_id``) meanwhile."""
    before = _BOUND.set({**_BOUND.get(), **values})
    try:
        yield
    finally:
        _BOUND.reset(before)


def _said_with(record: logging.LogRecord) -> dict[str, Any]:
    return {**_BOUND.get(), **getattr(record, _VALUES, {})}


class FileLog:
    """One file a run in a home: implements the port :class:`necrocode.states.ports.RunLog`."""

    def __init__(self, home: Home, mask: Mask = str) -> None:
        self._home = home
        self._mask = mask

    @contextlib.contextmanager
    def writing(self, run_id: str, **values: Any) -> Iterator[None]:
        """This thread's events carry ``run_id`` and ``values`` meanwhile, and all that do go into the run's file too.

        From INFO on, as JSON lines; the file can be read by its owner only, and a resumed run goes on in it. Raises
        :class:`HomeUnusable`.
        """
        if logging.getLogger(OURS).level == logging.NOTSET:
            # A program that uses us as a library has a logging set-up of its own, or none: only the file is ours.
            logging.getLogger(OURS).setLevel(logging.INFO)
        path = self._home.log_of(run_id)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeUnusable(f"cannot write the log {path}: {error.strerror or error}") from error
        with _closed_quietly(os.fdopen(descriptor, "a", encoding="utf-8", errors="replace")) as file:
            size = os.fstat(descriptor).st_size
            # a death in the middle of a line must not spoil the next one
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                file.write("\n")
            handler = _Quiet(file)
            handler.setLevel(min(logging.INFO, logging.getLogger(OURS).level or logging.INFO))
            handler.setFormatter(_Events(_json_line, self._mask))
            handler.addFilter(_Of(run_id))
            logging.getLogger().addHandler(handler)
            try:
                with bound(run_id=run_id, **values):
                    yield
            finally:
                logging.getLogger().removeHandler(handler)
                handler.close()

    def read(self, run_id: str) -> bytes:
        """The run's log as it stands; empty if there is none. Raises :class:`HomeUnusable`."""
        path = self._home.log_of(run_id)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise HomeUnusable(f"cannot read the log {path}: {error.strerror or error}") from error
        # again, with what was learned since the lines were written
        return self._mask(content.decode("utf-8", "replace")).encode()


@contextlib.contextmanager
def _closed_quietly(file: TextIO) -> Iterator[TextIO]:
    """``file``, closed in the end: what a full disk did not take of it was said when it was written."""
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            file.close()


class _Of(logging.Filter):
    """Lets events of one run pass."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self._run_id = run_id

    def filter(self, record: logging.LogRecord) -> bool:
        return bool(_said_with(record).get("run_id") == self._run_id)


class _Quiet(logging.StreamHandler[TextIO]):
    """A log that can't be written (a closed pipe, a full disk) is said once, and is no reason to fail."""

    _said = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError | ValueError):
            super().handleError(record)
        elif not self._said and self.stream is not sys.stderr:
            self._said = True
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"necrocode: the log cannot be written: {error}\n")


class _Events(logging.Formatter):
    """Renders records as events, each value turned into what JSON can hold and masked."""

    def __init__(self, render: Renderer, mask: Mask) -> None:
        super().__init__()
        self._render = render
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        event = _said_with(record) | {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            event["stack"] = self.formatStack(record.stack_info)
        return self._render({self._mask(str(key)): self._value(value) for key, value in event.items()})

    def _value(self, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            text = str(value)
            masked = self._mask(text)
            return value if masked == text else masked
        if isinstance(value, dict):
            return {self._mask(str(key)): self._value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(item) for item in value]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        return self._mask(value if isinstance(value, str) else str(value))


def _json_line(event: Mapping[str, Any]) -> str:
    ordered = {name: event[name] for name in _FIRST if name in event} | dict(event)
    return json.dumps(ordered, default=str)


class _Human:
    """One line an event, control characters made visible: what a model or a server said must not drive the terminal."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def __call__(self, event: Mapping[str, Any]) -> str:
        level = str(event.get("level", "info"))
        time = str(event.get("timestamp", ""))[11:19]
        padded = self._paint(_COLOURS.get(level, "0"), f"{level:<8}")
        line = f"{self._paint('2', time)} {padded} {_shown(event.get('event'))}"
        for name, value in event.items():
            if name not in _FIRST:
                line += f" {self._paint('36', _shown(name))}={_shown(value)}"
        text = event.get("exception")
        if text:
            line += "\n" + "\n".join(_shown(part) for part in str(text).splitlines())
        return line

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", lambda found: repr(found.group())[1:-1], text
    )
