from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from orchestrator.server.reaching import own_address, report_base
from orchestrator.settings import Settings, load_settings

REMOTE = {"kind": "ray", "url": "http://head.example:8265"}
FORWARDED = {"kind": "ray", "url": "http://localhost:8265"}


def settings(folder: Path, api_url: str | None = None, **backends: dict[str, str]) -> Settings:
    flags = {"backends": json.dumps(backends or {"local": {"kind": "local"}}), "api_url": api_url}
    return load_settings(flags, environ={"HOME": str(folder)}, directory=folder)


def no_way(host: str) -> str:
    raise OSError("no route")


@pytest.mark.parametrize(
    ("bound", "backends", "expected"),
    [
        ("http://127.0.0.1:8642", {}, "http://127.0.0.1:8642"),
        ("http://10.0.0.5:8642", {"prod": REMOTE}, "http://10.0.0.5:8642"),
        ("http://0.0.0.0:8642", {"prod": REMOTE}, "http://10.1.2.3:8642"),
        ("http://[::]:8642", {"prod": REMOTE}, "http://10.1.2.3:8642"),
        ("http://0.0.0.0:8642", {}, "http://127.0.0.1:8642"),
        ("http://0.0.0.0:8642", {"near": FORWARDED}, "http://127.0.0.1:8642"),
    ],
)
def test_workers_are_given_an_address_they_can_use(
    tmp_path: Path, bound: str, backends: dict[str, dict[str, str]], expected: str
) -> None:
    route = {"head.example": "10.1.2.3"}.__getitem__
    assert report_base(settings(tmp_path, **backends), bound, route) == expected


def test_the_setting_is_right_whatever_is_bound(tmp_path: Path) -> None:
    found = settings(tmp_path, "https://orc.example/", prod=REMOTE)
    assert report_base(found, "http://0.0.0.0:8642", no_way) == "https://orc.example"


@pytest.mark.parametrize(
    ("bound", "told"),
    [
        ("http://127.0.0.1:8642", "workers of prod cannot report"),
        ("http://0.0.0.0:8642", "no way to the cluster prod (no route): set api_url"),
    ],
)
def test_what_workers_cannot_reach_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bound: str, told: str
) -> None:
    with caplog.at_level(logging.WARNING):
        report_base(settings(tmp_path, prod=REMOTE), bound, no_way)
    assert told in caplog.text


def test_the_way_to_oneself_is_loopback() -> None:
    assert own_address("127.0.0.1") == "127.0.0.1"
