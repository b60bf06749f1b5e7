"""The spec that `orchestrator init` writes."""

from __future__ import annotations

import re

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.specs import CustomTask
from orchestrator.specs.checks import check_spec
from orchestrator.specs.fields import all_fields
from orchestrator.specs.loading import load_document, load_spec
from orchestrator.specs.template import write_template

DOMAINS = {
    "camera": {"train": "data/camera/train.jsonl", "test": "with space/test: 1.jsonl"},
    "123": {"test": "movie.csv"},
}


def template() -> str:
    return write_template("text-classification", DOMAINS, "my-job", columns={"text": "the text"})


def test_it_loads_and_passes_the_checks() -> None:
    loaded = load_spec(template())
    assert check_spec(loaded.spec) == []
    assert loaded.spec.metadata.name == "my-job"
    domains = loaded.spec.spec.data.domains
    (source,) = domains["camera"].test or ()
    assert (source.path, source.columns) == ("with space/test: 1.jsonl", {"text": "the text"})
    assert list(domains) == ["camera", "123"]


def test_every_line_is_short() -> None:
    assert max(map(len, template().splitlines())) <= 100


def test_every_field_of_every_section_is_in_it() -> None:
    text = template()
    sections = {ref.path for ref in all_fields() if ref.parent == "" and ref.path != "method"}
    for ref in all_fields():
        if ref.parent in sections - {"data"} and ref.owner is not CustomTask:
            assert re.search(rf"^ +(# )?{ref.name}: ", text, re.MULTILINE), ref.path


COMMENTED = [line for line in template().splitlines() if re.match(r"^ +# [a-z_0-9]+: \S", line)]


@pytest.mark.parametrize("line", COMMENTED, ids=str.strip)
def test_every_commented_field_can_be_uncommented(line: str) -> None:
    text = template().replace(line, line.replace("# ", "", 1), 1)
    problems = [
        problem
        for problem in load_document(text).problems
        if "give either" not in problem.message  # its counterpart is written out
    ]
    assert problems == []


def test_there_are_fields_to_uncomment() -> None:
    assert len(COMMENTED) > 30


def test_an_unknown_task() -> None:
    with pytest.raises(InvalidInput, match="unknown task 'translation'"):
        write_template("translation", DOMAINS, "my-job")
