"""Facts and tables of good data."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import InvalidInput
from orchestrator.inspect.data import DataFacts, LengthFacts, inspect_data, read_tables
from orchestrator.specs import FineTuneSpec
from tests.inspect.rows import POLAR, data_spec, jsonl, write
from tests.inspect.tfrecord_files import tfrecord

TEST = [("quite good", "pos"), ("quite bad", "neg"), ("rather bad", "neg")]


def facts_of(spec: FineTuneSpec, folder: Path) -> DataFacts:
    found = inspect_data(spec, base_dir=folder, fetch=None)
    assert found.problems == ()
    return found


def pairs(table: pa.Table) -> list[tuple[str, str]]:
    rows = table.to_pydict()
    return list(zip(rows["text"], rows["label"], strict=True))


def polar(folder: Path) -> FineTuneSpec:
    write(folder, train_jsonl=jsonl(POLAR), valid_jsonl=jsonl(POLAR[:2]), test_jsonl=jsonl(TEST))
    return data_spec(
        {"camera": {"train": "train.jsonl", "valid": "valid.jsonl", "test": "test.jsonl"}}
    )


def test_facts_of_a_small_job(tmp_path: Path) -> None:
    found = facts_of(polar(tmp_path), tmp_path)
    assert list(found.splits) == [("camera", "train"), ("camera", "valid"), ("camera", "test")]
    test = found.splits["camera", "test"]
    assert (test.num_rows, dict(test.class_counts), test.derived) == (
        3,
        {"neg": 2, "pos": 1},
        False,
    )
    assert test.characters == LengthFacts(mean=pytest.approx(29 / 3), p95=10.0, max=10)
    assert found.labels == ("neg", "pos")
    assert found.num_train_rows == 4
    assert sorted(found.digests) == ["camera/test", "camera/train", "camera/valid"]
    assert {len(digest) for digest in found.digests.values()} == {64}


def test_tables_keep_the_order_of_the_files(tmp_path: Path) -> None:
    tables = read_tables(polar(tmp_path), base_dir=tmp_path, fetch=None)
    assert pairs(tables["camera", "train"]) == POLAR
    assert pairs(tables["camera", "test"]) == TEST
    assert tables["camera", "train"].schema.names == ["text", "label"]


def test_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    spec = polar(tmp_path)
    (tmp_path / "train.jsonl").unlink()
    tables = read_tables(spec, base_dir=tmp_path, fetch=None, wanted=[("camera", "test")])
    assert list(tables) == [("camera", "test")]


def test_wanted_validation_rows_come_out_of_train_where_there_is_no_valid(tmp_path: Path) -> None:
    rows = [(f"text {n}", "pos" if n % 2 else "neg") for n in range(20)]
    write(tmp_path, train_jsonl=jsonl(rows))
    spec = data_spec({"camera": {"train": "train.jsonl"}})
    only = read_tables(spec, base_dir=tmp_path, fetch=None, wanted=[("camera", "valid")])
    whole = read_tables(spec, base_dir=tmp_path, fetch=None)
    assert list(only) == [("camera", "valid")]
    assert only["camera", "valid"].equals(whole["camera", "valid"])
    assert whole["camera", "valid"].num_rows == 2
    assert sorted(pairs(whole["camera", "train"]) + pairs(whole["camera", "valid"])) == sorted(rows)


def test_bad_data_raise_when_tables_are_read(tmp_path: Path) -> None:
    spec = data_spec({"camera": {"train": "none.jsonl"}})
    with pytest.raises(InvalidInput, match="does not exist"):
        read_tables(spec, base_dir=tmp_path, fetch=None)


def _as_csv(rows: list[tuple[str, str]]) -> str:
    return "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows)


def _as_parquet(rows: list[tuple[str, str]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [r[0] for r in rows], "label": [r[1] for r in rows]}), sink)
    return sink.getvalue()


ROWS = [("one, two", "a"), ("drei\nvier", "b"), ('five "six"', "a"), ("ünï 😀", "b")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", jsonl(ROWS).encode()),
        ("rows.ndjson", jsonl(ROWS).encode()),
        ("rows.json", jsonl(ROWS).encode()),
        ("rows.jsonl.gz", gzip.compress(jsonl(ROWS).encode())),
        ("crlf.jsonl", jsonl(ROWS).replace("\n", "\r\n").encode()),
        ("bom.jsonl", b"\xef\xbb\xbf" + jsonl(ROWS).encode()),
        ("blank.jsonl", jsonl(ROWS).replace("\n", "\n\n").encode()),
        ("cut.jsonl", jsonl(ROWS).encode().rstrip(b"\n")),
        ("rows.csv", _as_csv(ROWS).replace('five "six"', 'five ""six""').encode()),
        ("rows.csv.gz", gzip.compress(_as_csv(ROWS).replace('"six"', '""six""').encode())),
        ("bom.csv", b"\xef\xbb\xbf" + _as_csv(ROWS).replace('"six"', '""six""').encode()),
        ("rows.parquet", _as_parquet(ROWS)),
        ("rows.PARQUET", _as_parquet(ROWS)),
        ("rows.tfrecord", tfrecord(ROWS)),
        ("rows.tfrecords", tfrecord(ROWS)),
        ("rows.tfrecord.gz", gzip.compress(tfrecord(ROWS))),
        ("rows.tfrecord-00000-of-00001", tfrecord(ROWS)),
    ],
)
def test_formats_give_the_same_rows(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    tables = read_tables(
        data_spec({"d": {"test": name}}), base_dir=tmp_path, fetch=None, wanted=[("d", "test")]
    )
    assert pairs(tables["d", "test"]) == ROWS


def test_crlf_csv(tmp_path: Path) -> None:
    write(tmp_path, rows_csv=b"text,label\r\na b,x\r\n\r\nc d,y\r\n")
    tables = read_tables(
        data_spec({"d": {"test": "rows.csv"}}),
        base_dir=tmp_path,
        fetch=None,
        wanted=[("d", "test")],
    )
    assert pairs(tables["d", "test"]) == [("a b", "x"), ("c d", "y")]


def test_a_line_longer_than_a_block(tmp_path: Path) -> None:
    huge = "word " * 2_000_000
    write(
        tmp_path, rows_jsonl=jsonl([("short", "a"), (huge, "b")]), rows_csv=f"text,label\n{huge},b"
    )
    spec = data_spec({"d": {"test": ["rows.jsonl", "rows.csv"]}})
    table = read_tables(spec, base_dir=tmp_path, fetch=None, wanted=[("d", "test")])["d", "test"]
    assert [len(text) for text, _ in pairs(table)] == [5, len(huge), len(huge)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 0, 1], ["1", "0", "1"]),
        ([True, False, True], ["true", "false", "true"]),
        ([1.0, 0.0, 1.0], ["1", "0", "1"]),
        (["1", 0, True], ["1", "0", "true"]),
        ([" a ", "b", "a"], ["a", "b", "a"]),
        ([12345678901234567890123, 1, 2], ["12345678901234567890123", "1", "2"]),
    ],
)
def test_labels_become_strings(tmp_path: Path, labels: list[Any], expected: list[str]) -> None:
    write(tmp_path, rows_jsonl=jsonl({"text": f"t{n}", "label": x} for n, x in enumerate(labels)))
    spec = data_spec({"d": {"test": "rows.jsonl"}})
    table = read_tables(spec, base_dir=tmp_path, fetch=None, wanted=[("d", "test")])["d", "test"]
    assert table.column("label").to_pylist() == expected


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "0"], ["1", "0"]),
        (["1.0", "0.0"], ["1", "0"]),
        (["True", "False"], ["true", "false"]),
        (["007", "1.5.0"], ["007", "1.5.0"]),
        ([" pos", "neg "], ["pos", "neg"]),
    ],
)
def test_labels_of_csv_meet_those_of_jsonl(
    tmp_path: Path, cells: list[str], expected: list[str]
) -> None:
    write(tmp_path, rows_csv="text,label\n" + "".join(f"some text,{cell}\n" for cell in cells))
    spec = data_spec({"d": {"test": "rows.csv"}})
    table = read_tables(spec, base_dir=tmp_path, fetch=None, wanted=[("d", "test")])["d", "test"]
    assert table.column("label").to_pylist() == expected


def test_integer_and_categorical_columns_of_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array(["a", "b", "a"]).dictionary_encode(),
            "label": pa.array([2, 1, 2], pa.int8()),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    spec = data_spec({"d": {"test": "rows.parquet"}})
    found = read_tables(spec, base_dir=tmp_path, fetch=None, wanted=[("d", "test")])["d", "test"]
    assert pairs(found) == [("a", "2"), ("b", "1"), ("a", "2")]


def test_other_columns_are_never_looked_at(tmp_path: Path) -> None:
    rows = [
        {"review": "good", "stars": 5, "meta": {"a": 1}},
        {"review": "bad", "stars": 1, "meta": [1, "x"], "more": None},
    ]
    write(tmp_path, rows_jsonl=jsonl(rows))
    source = {"path": "rows.jsonl", "columns": {"text": "review", "label": "stars"}}
    spec = data_spec({"d": {"test": source}})
    found = read_tables(spec, base_dir=tmp_path, fetch=None, wanted=[("d", "test")])["d", "test"]
    assert pairs(found) == [("good", "5"), ("bad", "1")]


def test_folders_and_globs_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path / "in" / "b", two_jsonl=jsonl([("2", "b")]))
    write(
        tmp_path / "in",
        one_jsonl=jsonl([("1", "a")]),
        z_csv="text,label\nthree,a\n",
        notes_txt="not data",
        info_json="{}",
    )
    write(tmp_path / "in" / "_tmp", x_jsonl="broken")
    write(tmp_path / "in", _SUCCESS="")
    for place, expected in [("in", ["2", "1", "three"]), ("in/**/*.jsonl", ["2", "1"])]:
        spec = data_spec({"d": {"test": place}})
        if place != "in":
            (tmp_path / "in" / "_tmp" / "x.jsonl").unlink()
        table = read_tables(spec, base_dir=tmp_path, fetch=None, wanted=[("d", "test")])[
            "d", "test"
        ]
        assert table.column("text").to_pylist() == expected


def test_a_name_with_brackets_is_a_file_if_there_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "data [v1]"
    folder.mkdir()
    (folder / "rows[1].jsonl").write_text(jsonl(POLAR))
    (folder / "rows2.jsonl").write_text(jsonl(TEST))
    for place, num_rows in [("rows[1].jsonl", 4), ("rows*.jsonl", 7), ("rows[2].jsonl", 3)]:
        spec = data_spec({"d": {"test": place}})
        found = read_tables(spec, base_dir=folder, fetch=None, wanted=[("d", "test")])["d", "test"]
        assert found.num_rows == num_rows


def test_urls_are_brought_here_by_fetch(tmp_path: Path) -> None:
    write(tmp_path / "copy", a_jsonl=jsonl(POLAR[:1]), b_jsonl=jsonl(POLAR[1:]))
    asked: list[str] = []

    def fetch(url: str) -> Path:
        asked.append(url)
        return tmp_path / "copy" / "a.jsonl" if url.endswith("a.jsonl") else tmp_path / "copy"

    spec = data_spec(
        {"d": {"test": ["s3://bucket/x/a.jsonl", "s3://bucket/x/", "s3://bucket/x/b*.jsonl"]}}
    )
    found = read_tables(spec, base_dir=tmp_path, fetch=fetch, wanted=[("d", "test")])["d", "test"]
    assert asked == ["s3://bucket/x/a.jsonl", "s3://bucket/x/", "s3://bucket/x"]
    assert pairs(found) == [*POLAR[:1], *POLAR, *POLAR[1:]]


def test_labels_listed_by_the_task_keep_their_order(tmp_path: Path) -> None:
    polar(tmp_path)
    spec = data_spec(
        {"camera": {"train": "train.jsonl", "test": "test.jsonl"}},
        task={"type": "text-classification", "labels": ["pos", "neg", "mixed"]},
    )
    found = facts_of(spec, tmp_path)
    assert found.labels == ("pos", "neg", "mixed")
    assert any("lists 'mixed', of which there are no training rows" in w for w in found.warnings)


def test_labels_that_are_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "label": n % 12} for n in range(48)]
    write(tmp_path, train_jsonl=jsonl(rows))
    found = facts_of(data_spec({"d": {"train": "train.jsonl"}}), tmp_path)
    assert found.labels == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11")


def test_weights_draw_rows_more_or_less_often(tmp_path: Path) -> None:
    rows = [(f"text {n}", "pos" if n % 2 else "neg") for n in range(10)]
    write(tmp_path, train_jsonl=jsonl(rows), valid_jsonl=jsonl(POLAR))
    sources = [{"path": "train.jsonl", "weight": w} for w in (1.0, 2.0, 0.5)]
    spec = data_spec({"d": {"train": sources, "valid": "valid.jsonl"}})
    found = facts_of(spec, tmp_path)
    table = read_tables(spec, base_dir=tmp_path, fetch=None)["d", "train"]
    assert found.splits["d", "train"].num_rows == table.num_rows == 35
    assert pairs(table)[:30] == rows * 3
    half = pairs(table)[30:]
    assert len(set(half)) == 5
    assert half == [row for row in rows if row in half]


def test_domains_that_are_not_trained_on_are_evaluated_only(tmp_path: Path) -> None:
    polar(tmp_path)
    spec = data_spec(
        {
            "camera": {"train": "train.jsonl", "test": "test.jsonl"},
            "movie": {"train": "train.jsonl", "test": "test.jsonl"},
        },
        data={"train_on": ["camera"]},
    )
    found = facts_of(spec, tmp_path)
    assert list(found.splits) == [
        ("camera", "train"),
        ("camera", "valid"),
        ("camera", "test"),
        ("movie", "test"),
    ]
    assert found.splits["camera", "valid"].derived


class TestDigests:
    def digests(self, folder: Path, **source: Any) -> dict[str, str]:
        spec = data_spec({"d": {"train": {"path": "train.jsonl", **source}}})
        return facts_of(spec, folder).digests

    def folder(self, tmp_path: Path, content: str) -> Path:
        tmp_path.mkdir(exist_ok=True)
        return write(tmp_path, train_jsonl=content)

    def test_they_are_of_the_bytes_not_of_the_place(self, tmp_path: Path) -> None:
        one = self.folder(tmp_path / "one", jsonl(POLAR))
        two = self.folder(tmp_path / "two", jsonl(POLAR))
        assert self.digests(one) == self.digests(two)

    def test_other_bytes_give_others(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path, jsonl(POLAR))
        before = self.digests(folder)
        self.folder(tmp_path, jsonl(POLAR).replace("sharp", "Sharp"))
        after = self.digests(folder)
        assert before["d/train"] != after["d/train"]
        assert before["d/valid"] != after["d/valid"]

    def test_so_does_reading_them_otherwise(self, tmp_path: Path) -> None:
        rows = [{"text": t, "other": t + "!", "label": x} for t, x in POLAR]
        folder = self.folder(tmp_path, jsonl(rows))
        found = [
            self.digests(folder)["d/train"],
            self.digests(folder, weight=2.0)["d/train"],
            self.digests(folder, columns={"text": "other"})["d/train"],
        ]
        assert len(set(found)) == 3


def test_a_file_has_the_same_digest_forever(tmp_path: Path) -> None:
    """Changing how digests are made would train every finished run again."""
    write(tmp_path, test_jsonl=json.dumps({"text": "a", "label": "b"}) + "\n")
    spec = data_spec({"d": {"train": "test.jsonl", "test": "test.jsonl"}})
    found = inspect_data(spec, base_dir=tmp_path, fetch=None)
    assert found.digests["d/test"] == (
        "853647457332ebaa7d74feb263aecdc938435f1e7bbef0dd5a0866575f5cf7bb"
    )


def test_one_domain_serves_two_tasks_by_their_columns(tmp_path: Path) -> None:
    rows = [
        {"text": text, "label": label, "length": "long" if len(text) > 13 else "short"}
        for text, label in POLAR
    ]
    write(tmp_path, train_jsonl=jsonl(rows), test_jsonl=jsonl(rows[:2]))
    spec = data_spec(
        {"camera": {"train": "train.jsonl", "valid": "test.jsonl", "test": "test.jsonl"}},
        task={"type": "multi-task"},
        tasks={
            "mood": {"type": "text-classification", "domains": ["camera"]},
            "size": {
                "type": "text-classification",
                "domains": ["camera"],
                "columns": {"label": "length"},
            },
        },
        method={"type": "multi_task", "sampling": "weights", "weights": {"mood": 3, "size": 1}},
    )
    facts = facts_of(spec, tmp_path)

    assert facts.problems == ()
    assert facts.tasks["mood"].labels == ("neg", "pos")
    assert facts.tasks["size"].labels == ("long", "short")
    assert sorted(facts.digests) == [
        f"{task}/camera/{split}"
        for task in ("mood", "size")
        for split in ("test", "train", "valid")
    ]
    assert [(draw.domain, draw.rows, draw.drawn) for draw in facts.draws] == [
        ("mood", 4, 6),
        ("size", 4, 2),
    ]
    tables = read_tables(spec, base_dir=tmp_path, fetch=None)
    assert pairs(tables["size/camera", "train"])[0] == ("a fine camera", "short")

    wanted = [("mood/camera", "test")]
    assert list(read_tables(spec, base_dir=tmp_path, fetch=None, wanted=wanted)) == wanted


def test_problems_of_a_task_are_told_once_and_at_the_task(tmp_path: Path) -> None:
    write(tmp_path, train_jsonl=jsonl(POLAR), test_jsonl=jsonl(POLAR))
    classify = {"type": "text-classification", "domains": ["camera"]}
    spec = data_spec(
        {"camera": {"train": "train.jsonl", "test": ["test.jsonl", "absent.jsonl"]}},
        task={"type": "multi-task"},
        tasks={
            "mood": {**classify, "class_weights": {"weights": {"neg": 1, "no": 1}}},
            "again": classify,
        },
        method={"type": "multi_task"},
    )
    problems = inspect_data(spec, base_dir=tmp_path, fetch=None).problems
    paths = [problem.path for problem in problems]

    assert sorted(path or "" for path in paths) == [
        "data.domains.camera.test[1].path",
        "tasks.mood.class_weights.weights",
        "tasks.mood.class_weights.weights.no",
    ]
