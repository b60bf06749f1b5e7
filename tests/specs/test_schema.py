"""The published JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestrator.specs.fields import all_fields
from orchestrator.specs.schema import json_schema, schema_text
from tests.specs.builders import document

GOLDEN = Path(__file__).parents[2] / "docs" / "spec.schema.json"


def test_the_published_schema_is_the_one_of_the_models() -> None:
    assert schema_text() == GOLDEN.read_text(), (
        "docs/spec.schema.json differs from the models. Specs that were valid must stay valid: "
        "only add optional fields or allow more values; never remove, rename or narrow one within "
        "an apiVersion. If your change does no more than that, run `make generate`."
    )


def test_every_field_is_described() -> None:
    assert [ref.path for ref in all_fields() if len(ref.description) < 10] == []


def test_the_schema_accepts_a_good_spec() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    jsonschema.Draft202012Validator.check_schema(json_schema())
    validator.validate(document(method={"type": "freeze", "num_layers": 2}))


@pytest.mark.parametrize(
    "sections",
    [
        {"training": {"epoch": 1}},
        {"training": {"epochs": None}},
        {"training": {"epochs": "1"}},
        {"method": {"type": "frozen"}},
        {"data": {"domains": {"Camera": {}}}},
        {"data": {"domains": {}}},
        {"model": "hf://org/name"},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(sections: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert not validator.is_valid(document(**sections))


def test_every_field_has_one_json_type() -> None:
    for name, schema in _properties(json_schema()):
        kinds = [key for key in ("type", "$ref", "const", "enum", "oneOf") if key in schema]
        assert kinds, name
        assert isinstance(schema.get("type", ""), str), name
        assert "anyOf" not in schema, name


def test_the_schema_names_itself() -> None:
    head = json.loads(schema_text())
    assert head["$id"] == "urn:finetune.orchestrator:v1alpha1:finetune"
    assert head["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert head["title"] == "FineTune"


def _properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, definition in [("FineTune", schema), *schema["$defs"].items()]:
        for field, body in definition.get("properties", {}).items():
            yield f"{name}.{field}", body
