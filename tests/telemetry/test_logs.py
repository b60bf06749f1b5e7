from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from orchestrator.telemetry.logs import configure_logging, log_context


@pytest.fixture(autouse=True)
def own_root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_carry_whose_they_are() -> None:
    stream = io.StringIO()
    configure_logging("INFO", "json", stream=stream)
    with log_context(job="job-1", attempt=2), log_context(rank=1):
        logging.getLogger("orchestrator.x").info("saved %d", 7)
    logging.getLogger("orchestrator.x").info("later")
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {
        key: first[key] for key in ("level", "logger", "message", "job", "attempt", "rank")
    } == {
        "level": "INFO",
        "logger": "orchestrator.x",
        "message": "saved 7",
        "job": "job-1",
        "attempt": 2,
        "rank": 1,
    }
    assert "job" not in second


def test_auto_is_json_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    logging.getLogger("orchestrator.x").warning("café")
    assert json.loads(stream.getvalue())["message"] == "café"


def test_text_lines_are_for_people() -> None:
    stream = io.StringIO()
    configure_logging("INFO", "text", stream=stream)
    with log_context(rank=0):
        logging.getLogger("orchestrator.x").info("ready")
    assert stream.getvalue().endswith("INFO orchestrator.x: ready (rank=0)\n")


def test_exceptions_stay_on_one_json_line() -> None:
    stream = io.StringIO()
    configure_logging(form="json", stream=stream)
    try:
        raise ValueError("torn")
    except ValueError:
        logging.getLogger("orchestrator.x").exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exception"].endswith("ValueError: torn")


def test_libraries_are_kept_to_warnings() -> None:
    stream = io.StringIO()
    configure_logging("DEBUG", "json", stream=stream)
    logging.getLogger("httpx").info("GET /")
    logging.getLogger("httpx").warning("slow")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["slow"]


def test_the_level_holds_back_our_own_lines() -> None:
    stream = io.StringIO()
    configure_logging("WARNING", "json", stream=stream)
    logging.getLogger("orchestrator.x").info("chatter")
    assert stream.getvalue() == ""
