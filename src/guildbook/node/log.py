"""The node's log: one line for each message on standard error, for people or for collectors.

Lines in JSON have ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message`` and whatever the message carries
beside; a failure has its traceback under ``failure``.
"""

import logging
import sys
import time
from typing import Any, TextIO

import msgspec

from guildbook.node.config import LogConfig

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _time_text(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of ``record``."""
        line: dict[str, Any] = {
            "time": _time_text(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["failure"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=repr).decode()


class PlainFormatter(logging.Formatter):
    """Time, level, logger, message and values."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of ``record``; a traceback follows it."""
        values = "".join(f" {name}={value}" for name, value in _extra(record).items())
        line = (
            f"{_time_text(record)} {record.levelname.lower():7} {record.name}: {record.getMessage()}{values}"
        )
        return line + "\n" + self.formatException(record.exc_info) if record.exc_info else line


class StandardErrorHandler(logging.StreamHandler[TextIO]):
    """Writes to what is standard error at that moment: a program that calls the node may have replaced it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Standard error."""
        return sys.stderr


def configure_logging(config: LogConfig, stream: TextIO | None = None) -> None:
    """Send everything that is logged in this process to ``stream`` (standard error) as ``config`` says."""
    handler = StandardErrorHandler() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if config.format == "json" else PlainFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())
    for quiet in ("httpx", "httpcore", "uvicorn.access", "uvicorn.error", "asyncio"):
        logging.getLogger(quiet).setLevel(max(logging.WARNING, root.level))
