"""Structured logs: JSON for machines, colours for a terminal; the request id stands in every line that has one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog


def configure(*, service: str, level: str, log_format: str | None) -> None:
    """Send everything, the standard library's loggers included, through structlog to standard error.

    `log_format` is json, console, or None for console on a terminal and json elsewhere.
    """
    console = log_format == "console" or (log_format is None and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_drop_meta, *renderer])
    )
    logging.basicConfig(
        handlers=[handler], level=max(logging.WARNING, logging.getLevelNamesMapping()[level]), force=True
    )
    structlog.contextvars.bind_contextvars(service=service, pid=os.getpid())  # a watcher's processes share a log


def _drop_meta(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Leave out what ProcessorFormatter adds for itself."""
    return {key: value for key, value in event.items() if key not in ("_record", "_from_structlog")}


def get(name: str) -> Any:
    """Return a logger that names its module."""
    return structlog.get_logger(module=name)
