"""Prints the API's OpenAPI document: `make generate` keeps it as docs/openapi.json.

Run as a program. The application is made over rows in memory; nothing is served.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from orchestrator.control.controller.reports import ReportDesk
from orchestrator.control.store import Attempts, Database
from orchestrator.interfaces.api.app import create_app
from orchestrator.interfaces.api.service import Service
from orchestrator.records import Attempt, Job
from orchestrator.settings import load_settings


class NoLogs:
    """Nothing was ever printed."""

    def read(self, job: Job, attempt: Attempt, rank: int | None, offset: int) -> bytes:
        return b""


def openapi_document() -> dict[str, Any]:
    """The document of this version of the package."""
    with tempfile.TemporaryDirectory() as folder, closing(Database.open("sqlite://")) as database:
        settings = load_settings(environ={"HOME": folder}, directory=Path(folder))
        desk = ReportDesk(Attempts(database), time.time)
        service = Service.of(database, settings, desk=desk, logs=NoLogs())
        document = create_app(service).openapi()
    # It would change with every release of ours without any change of the API.
    document["info"]["version"] = "v1"
    return document


if __name__ == "__main__":
    json.dump(openapi_document(), sys.stdout, indent=1, sort_keys=True, ensure_ascii=False)
    sys.stdout.write("\n")
