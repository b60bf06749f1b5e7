"""The JSON Schema of specs: for editors, for `orchestrator schema` and for docs/spec.schema.json.

A golden test compares the file with what is built here: the schema may only grow.
"""

from __future__ import annotations

import json
from typing import Any

from orchestrator.specs.finetune import FineTune

SCHEMA_ID = "urn:finetune.orchestrator:v1alpha1:finetune"


def json_schema() -> dict[str, Any]:
    """Draft 2020-12; each field has one JSON type, and what is absent is chosen by the plan."""
    schema = _tidy(FineTune.model_json_schema())
    assert isinstance(schema, dict)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "FineTune",
    }
    return head | {key: value for key, value in schema.items() if key not in head}


def schema_text() -> str:
    """The schema as it is printed and kept in docs/spec.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(node: Any, *, names: bool = False) -> Any:
    """Makes pydantic's schema stable and strict; `names`: the keys are fields, not keywords.

    - `null` goes from every optional field: absent means automatic, so nobody writes null, and a
      scalar-or-null has no place in a CRD's structural schema.
    - Generated titles go: they repeat the field's name.
    - A mapping whose keys have a pattern takes no other keys.
    - Keywords are sorted: another release of pydantic must not reorder the file.
    """
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {key: _tidy(value) for key, value in node.items()}
    node = {k: _tidy(v, names=k in _NAMES) for k, v in node.items() if k != "title"}
    if "patternProperties" in node:
        node["additionalProperties"] = False
    variants = node.get("anyOf", [])
    kept = [variant for variant in variants if variant != {"type": "null"}]
    if len(variants) > len(kept) == 1:
        del node["anyOf"]
        node = kept[0] | node
        if node.get("default", ...) is None:
            del node["default"]
    return dict(sorted(node.items()))


_NAMES = ("properties", "patternProperties", "$defs", "mapping")
