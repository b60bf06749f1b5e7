"""docs/spec.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.specs.checks import check_spec
from orchestrator.specs.loading import load_spec

PAGE = Path(__file__).parents[2] / "docs" / "spec.md"


def test_its_specs_load_and_pass_the_checks() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        assert check_spec(load_spec(block).spec) == []


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https://)([^)#]+)\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target
