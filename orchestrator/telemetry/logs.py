"""Logging of our processes: text for people, JSON lines for programs, and whose line it is.

Called once by each entry point (the command line, the worker's main). Libraries are kept to
warnings, so that the log says what happened to the job and not how HTTP works.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

CONTEXT_FIELDS = ("job", "attempt", "rank")
NOISY = (
    *("alembic", "deepspeed", "httpcore", "httpx", "huggingface_hub", "ray", "transformers"),
    "urllib3",
)

_context: ContextVar[dict[str, Any]] = ContextVar("log_context", default={})  # noqa: B039 (replaced, never changed)


def configure_logging(
    level: str = "WARNING",
    form: Literal["auto", "text", "json"] = "auto",
    *,
    stream: TextIO | None = None,
) -> None:
    """Sends every log line to `stream` (stderr unless given); may be called again.

    Args:
        level: Least level of our own lines; libraries never go below WARNING.
        form: auto is text in a terminal and JSON lines elsewhere.
        stream: Where to.
    """
    target = sys.stderr if stream is None else stream
    as_json = form == "json" or (form == "auto" and not target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(JsonLines() if as_json else TextLines())
    handler.addFilter(_add_context)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Adds `job`, `attempt` or `rank` to every line logged within the block."""
    assert set(fields) <= set(CONTEXT_FIELDS), fields
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """`12:04:31 WARNING orchestrator.storage: message (job=job-… rank=1)`"""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        line = f"{time} {record.levelname} {record.name}: {record.getMessage()}"
        if fields:
            line += f" ({fields})"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _add_context(record: logging.LogRecord) -> bool:
    for name, value in _context.get().items():
        if not hasattr(record, name):  # what the call itself said in `extra` wins
            setattr(record, name, value)
    return True


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in CONTEXT_FIELDS if hasattr(record, name)}
