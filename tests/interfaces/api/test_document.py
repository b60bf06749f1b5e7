from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from orchestrator.interfaces.api.document import openapi_document

PAGE = Path(__file__).parents[3] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document()


def test_the_published_document_is_this_one(document: dict[str, Any]) -> None:
    assert json.loads(PAGE.read_text()) == document, "run `make generate`"


def test_every_operation_explains_itself_and_its_errors(document: dict[str, Any]) -> None:
    ids = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            ids.append(operation["operationId"])
            assert operation.get("description"), (method, path)
            if path == "/healthz":
                continue
            problem = operation["responses"]["default"]["content"]["application/problem+json"]
            assert problem["schema"]["$ref"].endswith("/ProblemDocument")
            assert path == "/readyz" or operation["security"], (method, path)
    assert len(ids) == len(set(ids))


def test_its_schemas_are_schemas(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {"Job", "JobView", "Event", "QueueView", "Plan", "ProblemDocument"} <= schemas.keys()
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def test_its_references_lead_somewhere(document: dict[str, Any]) -> None:
    found = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))
    assert len(found) > 30
    for reference in found:
        place: Any = document
        for part in reference.split("/"):
            assert part in place, reference
            place = place[part]
