"""Label sets, numbers and pairs of texts as files hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.inspect.data import DataFacts, inspect_data, read_tables
from orchestrator.inspect.labels import LabelForm, NumberFacts, set_of, strata_of
from orchestrator.specs import FineTuneSpec
from tests.inspect.rows import data_spec, jsonl, write
from tests.inspect.tfrecord_files import example, framed, tfrecord

MULTI = {"type": "text-classification", "problem": "multi_label"}
NUMBER = {"type": "text-classification", "problem": "regression"}
ROWS: list[dict[str, Any]] = [
    {"text": "one", "label": ["b", "a"]},
    {"text": "two", "label": []},
    {"text": "three", "label": ["b"]},
]


def facts(spec: FineTuneSpec, folder: Path) -> DataFacts:
    return inspect_data(spec, base_dir=folder, fetch=None)


def spec_of(task: dict[str, Any], file: str = "train.jsonl", **more: Any) -> FineTuneSpec:
    return data_spec({"d": {"train": file, "valid": file, "test": file}}, task=task, **more)


def sets_in(spec: FineTuneSpec, folder: Path) -> list[list[str]]:
    table = read_tables(spec, base_dir=folder, fetch=None)["d", "train"]
    return [set_of(text) for text in table.column("label").to_pylist()]


def test_sets_are_read_from_lists_sorted_and_each_once(tmp_path: Path) -> None:
    write(tmp_path, train_jsonl=jsonl([*ROWS, {"text": "four", "label": ["a", 1, "a"]}]))
    assert sets_in(spec_of(MULTI), tmp_path) == [["a", "b"], [], ["b"], ["1", "a"]]
    found = facts(spec_of(MULTI), tmp_path)
    assert found.problems == ()
    assert found.labels == ("1", "a", "b")
    assert dict(found.splits["d", "test"].class_counts) == {"1": 1, "a": 2, "b": 2}


def test_sets_are_read_alike_from_every_format(tmp_path: Path) -> None:
    table = pa.table({"text": ["one", "two", "three"], "label": [["b", "a"], [], ["b"]]})
    pq.write_table(table, tmp_path / "train.parquet")
    (tmp_path / "train.csv").write_text('text,label\none,b; a\ntwo,\nthree,"b"\n')
    (tmp_path / "json.csv").write_text(
        'text,label\none,"[""b"", ""a""]"\ntwo,[]\nthree,"[""b""]"\n'
    )
    records = framed(example(text="one", label=[b"b", b"a"]), example(text="two"))
    (tmp_path / "train.tfrecord").write_bytes(records)
    expected = [["a", "b"], [], ["b"]]
    assert sets_in(spec_of(MULTI, "train.parquet"), tmp_path) == expected
    assert sets_in(spec_of({**MULTI, "label_separator": ";"}, "train.csv"), tmp_path) == expected
    assert sets_in(spec_of(MULTI, "json.csv"), tmp_path) == expected
    assert sets_in(spec_of(MULTI, "train.tfrecord"), tmp_path) == expected[:2]


@pytest.mark.parametrize(
    ("label", "message", "hint"),
    [
        ("a", "holds text, not a list of labels", "task.label_separator"),
        (None, "has no value", "[] where there is none"),
        (3, "holds a number, not a list", "[]"),
        (["a", ""], "is empty", "fill it in"),
        (["a", 0.5], "holds a fractional number", "problem: regression"),
    ],
)
def test_what_is_no_set_is_told_with_its_line(
    label: Any, message: str, hint: str, tmp_path: Path
) -> None:
    write(tmp_path, train_jsonl=jsonl([*ROWS, {"text": "x", "label": label}]))
    problem = facts(spec_of(MULTI), tmp_path).problems[0]
    assert message in problem.message
    assert hint in (problem.hint or "")
    assert problem.line == 4


def test_labels_that_training_does_not_know_are_told(tmp_path: Path) -> None:
    rows = [*ROWS, {"text": "x", "label": ["a", "ab", "z"]}]
    write(tmp_path, train_jsonl=jsonl(ROWS), test_jsonl=jsonl(rows))
    splits = {"train": "train.jsonl", "valid": "train.jsonl", "test": "test.jsonl"}
    spec = data_spec({"d": splits}, task=MULTI)
    told = [(p.message, p.line) for p in facts(spec, tmp_path).problems]
    assert told == [
        ("1 row has the label 'ab', which no training row has", 4),
        ("1 row has the label 'z', which no training row has", 4),
    ]


def test_one_label_alone_teaches_nothing(tmp_path: Path) -> None:
    write(tmp_path, train_jsonl=jsonl([{"text": "a", "label": ["x"]}, {"text": "b", "label": []}]))
    (problem,) = facts(spec_of(MULTI), tmp_path).problems
    assert "but one label, 'x'" in problem.message


def test_labels_nearly_all_rows_have_are_warned_of(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "label": ["all", *(["rare"] if n < 2 else [])]} for n in range(60)]
    write(tmp_path, train_jsonl=jsonl(rows))
    warnings = " ".join(facts(spec_of(MULTI), tmp_path).warnings)
    assert "60 of 60 training rows have the label 'all'" in warnings
    assert "2 of 60 training rows have the label 'rare'" in warnings


def test_each_label_gives_its_share_of_what_is_held_out(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "label": ["all", "few"] if n < 40 else ["all"]} for n in range(400)]
    write(tmp_path, train_jsonl=jsonl(rows))
    spec = data_spec({"d": {"train": "train.jsonl", "test": "train.jsonl"}}, task=MULTI)
    counts = facts(spec, tmp_path).splits["d", "valid"].class_counts
    assert dict(counts) == {"all": 40, "few": 4}
    table = pa.table({"text": ["x", "y"], "label": ['["a", "b"]', '["b"]']})
    assert strata_of(table, LabelForm("multi_label")) == ["a", "b"]


def test_numbers_are_read_alike_from_every_format(tmp_path: Path) -> None:
    write(tmp_path, train_jsonl=jsonl([{"text": "a", "label": 1}, {"text": "b", "label": -2.5}]))
    (tmp_path / "train.csv").write_text("text,label\na,1\nb,-2.5\n")
    pq.write_table(pa.table({"text": ["a", "b"], "label": [1.0, -2.5]}), tmp_path / "train.parquet")
    (tmp_path / "train.tfrecord").write_bytes(tfrecord([("a", 1), ("b", -2.5)]))
    for ending in ("jsonl", "csv", "parquet", "tfrecord"):
        spec = spec_of(NUMBER, f"train.{ending}")
        table = read_tables(spec, base_dir=tmp_path, fetch=None)["d", "train"]
        assert table.column("label").to_pylist() == ["1.0", "-2.5"], ending
    found = facts(spec_of(NUMBER), tmp_path)
    assert found.splits["d", "train"].numbers == NumberFacts(-0.75, 1.75, -2.5, 1.0)
    assert (found.labels, dict(found.splits["d", "train"].class_counts)) == ((), {})


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("high", "holds text that is no number"),
        (True, "holds true or false, not a number"),
        (None, "has no value"),
        ([1], "holds a list, not a number"),
    ],
)
def test_what_is_no_number_is_told_with_its_line(label: Any, message: str, tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 1.0}, {"text": "b", "label": label}]
    write(tmp_path, train_jsonl=jsonl(rows))
    problem = facts(spec_of(NUMBER), tmp_path).problems[0]
    assert message in problem.message
    assert problem.line == 2


def test_numbers_far_from_zero_are_warned_of_and_equal_ones_refused(tmp_path: Path) -> None:
    far = [{"text": f"t{n}", "label": 100 + n} for n in range(40)]
    write(tmp_path, train_jsonl=jsonl(far), same_jsonl=jsonl([{"text": "a", "label": 3}] * 2))
    assert any("lie between 100 and 139" in w for w in facts(spec_of(NUMBER), tmp_path).warnings)
    (problem,) = facts(spec_of(NUMBER, "same.jsonl"), tmp_path).problems
    assert "all training rows have the label 3" in problem.message


def test_a_number_is_held_out_whatever_it_is(tmp_path: Path) -> None:
    write(tmp_path, train_jsonl=jsonl([{"text": f"t{n}", "label": n / 7} for n in range(100)]))
    spec = data_spec({"d": {"train": "train.jsonl", "test": "train.jsonl"}}, task=NUMBER)
    assert facts(spec, tmp_path).splits["d", "valid"].num_rows == 10


def test_pairs_are_two_columns_and_meet_as_pairs(tmp_path: Path) -> None:
    rows = [{"a": "one", "b": f"other {n}", "label": "yes" if n % 2 else "no"} for n in range(6)]
    write(tmp_path, train_jsonl=jsonl(rows[:4]), test_jsonl=jsonl([*rows[3:]]))
    columns = {"text": "a", "text_pair": "b"}
    source = [{"path": name, "columns": columns} for name in ("train.jsonl", "test.jsonl")]
    spec = data_spec(
        {"d": {"train": source[0], "valid": source[0], "test": source[1]}},
        task={"type": "text-classification", "pairs": True},
    )
    found = facts(spec, tmp_path)
    assert found.problems == ()
    assert any("1 of 3 test text is among the training rows" in w for w in found.warnings)
    table = read_tables(spec, base_dir=tmp_path, fetch=None)["d", "test"]
    assert table.column_names == ["text", "text_pair", "label"]


def test_other_forms_of_labels_are_other_data(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\none,1;2\ntwo,2\n")
    digests = [
        facts(spec_of({**MULTI, "label_separator": sign}, "train.csv"), tmp_path).digests["d/test"]
        for sign in (";", "|")
    ]
    assert digests[0] != digests[1]
