"""Structured logs, one JSON line an entry, to stderr. Never an IP, an e-mail, a visitor id or a full URL."""

import logging
import sys
import traceback
from typing import TextIO, cast

import structlog


def configure(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Stderr())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge(logging.ERROR)], force=True)


class _Stderr:
    """The process' stderr of this moment: whoever takes its place, as a test does, gets what is logged then."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _Bridge(logging.Handler):
    """Puts the errors that libraries log (uvicorn, asyncio) into the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        # What was said first, and the frames: the rest and the error's own words may quote what somebody sent.
        error = record.exc_info[1] if record.exc_info else None
        more = {}
        if error is not None:
            more = {"error": type(error).__name__, "frames": "".join(traceback.format_tb(error.__traceback__))}
        get(record.name).error(record.getMessage().partition("\n")[0], **more)


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name)
    return logger
