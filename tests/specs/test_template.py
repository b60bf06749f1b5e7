"""The spec that `orchestrator init` writes."""

from __future__ import annotations

import re

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.specs import TASK_METRICS
from orchestrator.specs.checks import check_spec
from orchestrator.specs.fields import all_fields
from orchestrator.specs.loading import load_document, load_spec
from orchestrator.specs.task import TASK_COLUMNS
from orchestrator.specs.template import WITHOUT_EFFECT, write_template

DOMAINS = {
    "camera": {"train": "data/camera/train.jsonl", "test": "with space/test: 1.jsonl"},
    "123": {"test": "movie.csv"},
}


def template(task: str = "text-classification") -> str:
    return write_template(task, DOMAINS, "my-job", columns={"text": "the text"})


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


@pytest.mark.parametrize("task", TASK_METRICS)
def test_every_field_with_an_effect_is_in_it(task: str) -> None:
    text = template(task)
    sections = {ref.path for ref in all_fields() if ref.parent == ""} - {"method", "task", "data"}
    for ref in all_fields():
        if ref.parent in sections and ref.path not in WITHOUT_EFFECT[task]:
            assert re.search(rf"^ +(# )?{ref.name}: ", text, re.MULTILINE), ref.path


@pytest.mark.parametrize("task", TASK_METRICS)
def test_its_comments_hold_no_field_that_would_be_refused(task: str) -> None:
    columns = next(iter(TASK_COLUMNS[task]))
    text = write_template(task, DOMAINS, "my-job", columns={columns: "the text"})
    lines = [line for line in text.splitlines() if re.match(r"^ +# [a-z_0-9]+: \S", line)]
    for line in lines:
        changed = text.replace(line, line.replace("# ", "", 1), 1)
        document = load_document(changed)
        if document.problems:
            continue  # told by the test of the schema
        assert not [p for p in check_spec(document.loaded().spec) if "no metric" in p.message], line


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
    with pytest.raises(InvalidInput, match="unknown task 'dreaming'"):
        write_template("dreaming", DOMAINS, "my-job")
