"""Structured logs: one line an event, JSON for machines or text for people. Never a secret."""

from __future__ import annotations

import logging
import sys

import structlog


def set_up(*, process: str, level: str, form: str) -> None:
    """Send this process's logs (and those of libraries, from warning up) to stderr. Called once, at the start.

    Raises:
        ValueError: an unknown level or form.
    """
    if form not in {"json", "text"}:
        msg = f"CORRAL_LOG_FORMAT: {form!r} is neither json nor text"
        raise ValueError(msg)
    numeric = logging.getLevelNamesMapping().get(level.upper())
    if numeric is None:
        msg = f"CORRAL_LOG_LEVEL: {level!r} is none of debug, info, warning, error"
        raise ValueError(msg)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _naming(process),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_library_logs(max(numeric, logging.WARNING))


def _naming(process: str) -> structlog.typing.Processor:
    # Not a context variable: threads begin with a context of their own, and much is done in threads.
    def name(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        line.setdefault("process", process)
        return line

    return name


def _adopt_library_logs(level: int) -> None:
    class Adopted(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            structlog.get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)

    root = logging.getLogger()
    root.handlers[:] = [Adopted()]
    root.setLevel(level)
