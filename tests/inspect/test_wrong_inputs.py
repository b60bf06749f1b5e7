"""Wrong data, each with the path, file, line, message and remedy a stranger can act on.

Every case is a good job in which one file is replaced, or one source of the spec.
"""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import InvalidInput, NotFound, Problem
from orchestrator.inspect.data import inspect_data
from orchestrator.inspect.validation import validate_all
from tests.inspect.rows import POLAR, data_spec, jsonl, write

GOOD = jsonl(POLAR)
TRAIN = "data.domains.d.train[0]"
TEST = "data.domains.d.test[0]"


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def problems(folder: Path, train: Any = "train.jsonl", test: Any = "test.jsonl") -> list[Problem]:
    for name in ("train.jsonl", "test.jsonl"):
        if not (folder / name).exists():
            (folder / name).write_text(GOOD)
    spec = data_spec({"d": {"train": train, "test": test}})
    return list(inspect_data(spec, base_dir=folder, fetch=None).problems)


class Bad(NamedTuple):
    """The name and content of the test file; what is told about it."""

    name: str
    content: str | bytes
    path: str
    line: int | None
    message: str
    hint: str


FILES = [
    # JSON Lines
    Bad("torn.jsonl", GOOD + '{"text": "cut of', TEST, 5, "not valid JSON: Unterminated string",
        "half a line"),
    Bad("mid.jsonl", GOOD + '{"text": "a", "lab\n' + GOOD, TEST, 5, "not valid JSON", "one whole"),
    Bad("two.jsonl", GOOD + '{"text": "a", "label": "b"} x\n', TEST, 5, "Extra data", "one whole"),
    Bad("nul.jsonl", GOOD.encode() + b"\x00" * 64 + b"\n", TEST, 5, "not valid JSON", "one whole"),
    Bad("list.jsonl", GOOD + '["a", "pos"]\n', TEST, 5, "no object with columns", '{"text": …'),
    Bad("array.json", '[{"text": "a", "label": "pos"}]', f"{TEST}.path", None,
        "array.json is one JSON array, not JSON Lines", "jq -c '.[]'"),
    Bad("nan.jsonl", GOOD + '{"text": NaN, "label": "pos"}\n', TEST, 5,
        "column `text` has no value (missing, null or NaN)", "remove the row"),
    Bad("null.jsonl", GOOD + '{"text": null, "label": "pos"}\n', TEST, 5,
        "column `text` has no value", "remove the row"),
    Bad("key.jsonl", GOOD + '{"label": "pos"}\n' * 3, TEST, 5,
        "column `text` has no value (missing, null or NaN) (and in 2 more rows)", "remove the row"),
    Bad("empty.jsonl", GOOD + '\n{"text": "", "label": "pos"}\n', TEST, 6,
        "column `text` is empty", "remove the row"),
    Bad("blank.jsonl", GOOD + '{"text": " \\t\\u00a0", "label": "pos"}\n', TEST, 5,
        "column `text` is empty", "remove the row"),
    Bad("number.jsonl", GOOD + '{"text": 5, "label": "pos"}\n', TEST, 5,
        "column `text` holds a number, not text", "`columns`"),
    Bad("nested.jsonl", GOOD + '{"text": ["a"], "label": "pos"}\n', TEST, 5,
        "column `text` holds a list, not text", "`columns`"),
    Bad("label.jsonl", GOOD + '{"text": "a", "label": null}\n', TEST, 5,
        "column `label` has no value", "remove the row"),
    Bad("nolabel.jsonl", GOOD + '{"text": "a", "label": " "}\n', TEST, 5,
        "column `label` is empty", "remove the row"),
    Bad("half.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 2.5}\n', TEST, 2,
        "column `label` holds a fractional number, not a label", "not a measure"),
    Bad("multi.jsonl", GOOD + '{"text": "a", "label": ["pos", "neg"]}\n', TEST, 5,
        "column `label` holds a list, not one label", "a label is text"),
    Bad("latin.jsonl", GOOD.encode() + '{"text": "für", "label": "pos"}\n'.encode("latin-1"),
        TEST, 5, "the line is not UTF-8 text", "iconv -f WINDOWS-1252"),
    Bad("pair.jsonl", GOOD + '{"text": "\\ud83d", "label": "pos"}\n', TEST, 5,
        "half a character", "remove the row"),
    Bad("utf16.jsonl", GOOD.encode("utf-16"), f"{TEST}.path", None, "utf16.jsonl is UTF-16 text",
        "iconv -f UTF-16"),
    Bad("bom.jsonl", b"\xef\xbb\xbf" + GOOD.encode() + b"{", TEST, 5, "not valid JSON", "one"),
    Bad("crlf.jsonl", GOOD.replace("\n", "\r\n") + '{"text": "", "label": "pos"}\r\n', TEST, 5,
        "column `text` is empty", "remove the row"),
    Bad("huge.jsonl", jsonl([("x" * 9_000_000, "pos")]) + "{", TEST, 2, "not valid JSON",
        "one whole"),
    # CSV
    Bad("semi.csv", "text;label\na;pos\n", f"{TEST}.columns.text", None,
        "semi.csv is separated by semicolons, not by commas", "with commas"),
    Bad("tabs.csv", "text\tlabel\na\tpos\n", f"{TEST}.columns.text", None,
        "tabs.csv is separated by tabs", "with commas"),
    Bad("comma.csv", "text,label\ngood, really,pos\nbad,neg\nso, so,neg\n", TEST, 2,
        "a row has not as many fields as the header, 2 (and in 1 more row)", "double quotes"),
    Bad("quote.csv", 'text,label\na,pos\n"never closed,pos\nb,neg\n', TEST, 3,
        "a double quote is opened and never closed", "double quotes"),
    Bad("cell.csv", 'text,label\n"two\nlines",pos\n,neg\n', TEST, 4, "column `text` has no value",
        "remove the row"),
    Bad("nan.csv", "text,label\na,pos\nNaN,neg\n", TEST, 3, "column `text` has no value", "remove"),
    Bad("quoted.csv", 'text,label\n"",pos\n', TEST, 2, "column `text` is empty", "remove the row"),
    Bad("label.csv", "text,label\na,pos\nb,\n", TEST, 3, "column `label` has no value", "remove"),
    Bad("numbers.csv", "text,label\n12,pos\n13.5,neg\n", TEST, None,
        "column `text` holds numbers, not text", "`columns`"),
    Bad("latin.csv", "text,label\na,pos\nfür,neg\n".encode("latin-1"), TEST, 3,
        "the line is not UTF-8 text", "iconv"),
    Bad("twice.csv", "text,label,text\na,pos,b\n", f"{TEST}.columns.text", None,
        "twice.csv has 2 columns `text`", "a name of its own"),
    Bad("header.csv", "text,label\n", f"{TEST}.path", None, "header.csv has no rows", "rows"),
    Bad("crlf.csv", "text,label\r\na,pos\r\n,neg\r\n", TEST, 3, "`text` has no value", "remove"),
    # Parquet
    Bad("not.parquet", GOOD, f"{TEST}.path", None, "not.parquet is not a Parquet file", "jsonl"),
    Bad("cut.parquet", parquet(text=["a"], label=["pos"])[:-20], TEST, None,
        "not a complete Parquet file", "write it again"),
    Bad("hidden.jsonl", parquet(text=["a"], label=["pos"]), f"{TEST}.path", None,
        "hidden.jsonl is a Parquet file", "format: parquet"),
    Bad("ints.parquet", parquet(text=[1, 2], label=["pos", "neg"]), TEST, None,
        "column `text` holds int64, not text", "`columns`"),
    Bad("null.parquet", parquet(text=["a", "b", None], label=["pos"] * 3), TEST, None,
        "row 3: column `text` has no value", "remove the row"),
    Bad("float.parquet", parquet(text=["a", "b"], label=[1.0, 0.5]), TEST, None,
        "row 2: column `label` holds a fractional number", "not a measure"),
    Bad("large.parquet", parquet(text=["a", "b"], label=[1e300, 1.0]), TEST, None,
        "column `label` holds numbers too large to be labels", "a label is text"),
    Bad("lists.parquet", parquet(text=["a"], label=[["pos"]]), TEST, None,
        "column `label` holds list<", "a label is text"),
    # Any file
    Bad("zero.jsonl", "", f"{TEST}.path", None, "zero.jsonl is empty", "write it again"),
    Bad("lines.jsonl", "\n\n", f"{TEST}.path", None, "lines.jsonl has no rows", "with rows"),
    Bad("lfs.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", f"{TEST}.path",
        None, "lfs.jsonl is a Git LFS pointer", "git lfs pull"),
    Bad("plain.jsonl.gz", GOOD, f"{TEST}.path", None, "is not a complete gzip file", "gzip -t"),
    Bad("cut.jsonl.gz", gzip.compress(os.urandom(9000).hex().encode())[:4000], f"{TEST}.path", None,
        "is not a complete gzip file", "gzip -t"),
    Bad("packed.jsonl", gzip.compress(GOOD.encode()), f"{TEST}.path", None,
        "packed.jsonl is a gzip file", "end in .gz"),
    Bad("rows.tsv", "text\tlabel\n", f"{TEST}.path", None, "cannot be told from its ending",
        "add format:"),
    Bad("review.jsonl", jsonl([{"review": "a", "stars": 1, "id": 7}]), f"{TEST}.columns.text", None,
        "review.jsonl has no column `text`; it has: review, stars, id", "{text: review}"),
    Bad("unseen.jsonl", GOOD + jsonl([("a", "Pos")] * 3), TEST, 5,
        "3 rows have the label 'Pos', which no training row has", "did you mean 'pos'?"),
]  # fmt: skip


@pytest.mark.parametrize("bad", FILES, ids=[bad.name for bad in FILES])
def test_a_bad_file(tmp_path: Path, bad: Bad) -> None:
    write(tmp_path)
    content = bad.content.encode() if isinstance(bad.content, str) else bad.content
    (tmp_path / bad.name).write_bytes(content)
    found = [problem for problem in problems(tmp_path, test=bad.name) if problem.path == bad.path]
    assert len(found) == 1
    problem = found[0]
    assert bad.message in problem.message
    assert bad.hint in str(problem.hint)
    assert problem.line == bad.line
    # Of a row its file is named; of a field of the spec the spec's line will be.
    assert problem.file == (str(tmp_path / bad.name) if bad.path == TEST else None)


def test_a_wrong_column_hides_no_wrong_row(tmp_path: Path) -> None:
    write(tmp_path, test_jsonl=jsonl([{"review": "a", "label": "pos"}, {"review": "b"}]))
    found = [(p.path, p.line) for p in problems(tmp_path)]
    assert found == [(f"{TEST}.columns.text", None), (TEST, 2)]


def test_several_kinds_of_wrong_rows_in_several_files(tmp_path: Path) -> None:
    write(tmp_path / "in", a_jsonl=GOOD + "{\n", b_jsonl=GOOD + '{"text": "", "label": 1.5}\n')
    found = [
        (Path(str(p.file)).name, p.line, p.message[:15]) for p in problems(tmp_path, test="in")
    ]
    assert found == [
        ("a.jsonl", 5, "not valid JSON:"),
        ("b.jsonl", 5, "column `text` i"),
        ("b.jsonl", 5, "column `label` "),
    ]


@pytest.mark.parametrize(
    ("source", "path", "message", "hint"),
    [
        ("none.jsonl", f"{TEST}.path", "none.jsonl does not exist", "the spec's folder"),
        ("tset.jsonl", f"{TEST}.path", "tset.jsonl does not exist", "did you mean test.jsonl?"),
        ("/no/such/folder/x.csv", f"{TEST}.path", "does not exist", "looked for /no/such/folder"),
        ("none/*.jsonl", f"{TEST}.path", "no file matches none/*.jsonl", "wildcards"),
        ("hollow", f"{TEST}.path", "the folder hollow holds no data file", ".jsonl, .csv"),
        ({"path": "rows", "format": "csv"}, f"{TEST}.path", "holds no csv file", ".csv"),
        ("s3://bucket/x.jsonl", f"{TEST}.path", "cannot be reached from here", "local path"),
        ({"path": "test.jsonl", "columns": {"text": "txt"}}, f"{TEST}.columns.text",
         "test.jsonl has no column `txt`; it has: text, label", "{text: text}"),
        ({"path": "test.jsonl", "format": "csv"}, f"{TEST}.columns.text", "has no column", "text"),
        ({"path": "test.jsonl", "format": "parquet"}, f"{TEST}.path", "is not a Parquet", "jsonl"),
    ],
)  # fmt: skip
def test_a_bad_source(tmp_path: Path, source: Any, path: str, message: str, hint: str) -> None:
    (tmp_path / "hollow").mkdir()
    write(tmp_path / "rows", a_jsonl=GOOD)
    write(tmp_path / "hollow", notes_txt="nothing here")
    found = [problem for problem in problems(tmp_path, test=source) if problem.path == path]
    assert len(found) == 1
    assert message in found[0].message
    assert hint in str(found[0].hint)


def test_what_fetch_says_is_passed_on(tmp_path: Path) -> None:
    def fetch(url: str) -> Path:
        raise NotFound("there is no such object", hint="list the bucket")

    spec = data_spec({"d": {"train": "s3://bucket/x.jsonl"}})
    (problem,) = inspect_data(spec, base_dir=tmp_path, fetch=fetch).problems
    assert problem == Problem(
        "s3://bucket/x.jsonl cannot be read: there is no such object",
        path=f"{TRAIN}.path",
        hint="list the bucket",
    )


def test_a_fault_in_a_fetched_file_names_its_url(tmp_path: Path) -> None:
    write(tmp_path / "copy", a_jsonl=GOOD, b_jsonl=GOOD + "{")
    spec = data_spec({"d": {"train": "s3://bucket/x"}})
    (problem,) = inspect_data(spec, base_dir=tmp_path, fetch=lambda url: tmp_path / "copy").problems
    assert (problem.file, problem.line) == ("s3://bucket/x/b.jsonl", 5)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything: then the kernel is asked as somebody else."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("place", ["locked.jsonl", "locked", "outer", "locked/x.jsonl"])
def test_what_may_not_be_read(place: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name), train_jsonl=GOOD, test_jsonl=GOOD, locked_jsonl=GOOD)
        write(folder / "locked", x_jsonl=GOOD)
        write(folder / "outer" / "inner", x_jsonl=GOOD)
        write(folder / "outer", y_jsonl=GOOD)
        locked = [folder / "locked.jsonl", folder / "locked", folder / "outer" / "inner"]
        folder.chmod(0o755)
        for path in locked:
            path.chmod(0)
        with as_nobody():
            (problem,) = problems(folder, test=place)
        for path in locked:
            path.chmod(0o755)
    assert problem.path == f"{TEST}.path"
    assert "may not be read" in problem.message
    assert "chmod" in str(problem.hint)


class TestClasses:
    """What the labels say."""

    def test_one_class_only(self, tmp_path: Path) -> None:
        rows = jsonl((f"text {n}", "pos") for n in range(9))
        write(tmp_path, train_jsonl=rows, test_jsonl=rows)
        (problem,) = problems(tmp_path)
        assert problem.path == "data.domains.d.train"
        assert problem.message == "all 9 training rows have the label 'pos'"
        assert "columns.label" in str(problem.hint)

    def test_labels_the_task_does_not_list(self, tmp_path: Path) -> None:
        write(tmp_path, train_jsonl=GOOD, test_jsonl=GOOD)
        spec = data_spec(
            {"d": {"train": "train.jsonl"}},
            task={"type": "text-classification", "labels": ["good", "neg"]},
        )
        (problem,) = inspect_data(spec, base_dir=tmp_path, fetch=None).problems
        assert (problem.path, problem.line) == (TRAIN, 1)
        assert problem.message == "2 rows have the label 'pos', which task.labels does not list"
        assert "add it to task.labels" in str(problem.hint)

    def test_many_unknown_labels_are_cut_short(self, tmp_path: Path) -> None:
        write(tmp_path, test_jsonl=jsonl((f"text {n}", f"id-{n}") for n in range(15)))
        found = problems(tmp_path)
        assert len(found) == 11
        assert found[-1].message == "5 more labels of this source are unknown"

    def test_validation_cannot_be_held_out_of_single_texts(self, tmp_path: Path) -> None:
        write(tmp_path, train_jsonl=jsonl(POLAR[:2]))
        (problem,) = problems(tmp_path)
        assert problem.path == "data.domains.d"
        assert "no validation rows can be set aside" in problem.message
        assert "add data.domains.d.valid" in str(problem.hint)


class TestWarnings:
    def warnings(self, folder: Path, train: str, test: str = GOOD) -> list[str]:
        write(folder, train_jsonl=train, test_jsonl=test)
        spec = data_spec(
            {"d": {"train": "train.jsonl", "valid": "train.jsonl"}, "e": {"test": "test.jsonl"}},
            training={"global_batch_size": 2},
        )
        return list(inspect_data(spec, base_dir=folder, fetch=None).warnings)

    def test_skewed_classes(self, tmp_path: Path) -> None:
        rows = [(f"text {n}", "neg" if n < 2 else "pos") for n in range(12)]
        first, *_ = self.warnings(tmp_path, jsonl(rows))
        assert first == (
            "the training classes are skewed: 'pos' has 10 rows (83%), 'neg' 2; judge and select "
            "by macro_f1, which accuracy hides"
        )

    def test_balanced_classes_are_not_skewed(self, tmp_path: Path) -> None:
        rows = [(f"text {n}", "neg" if n < 4 else "pos") for n in range(12)]
        assert not any("skewed" in warning for warning in self.warnings(tmp_path, jsonl(rows)))

    def test_a_class_with_one_row(self, tmp_path: Path) -> None:
        found = self.warnings(tmp_path, GOOD + jsonl([("so so", "mixed")]))
        assert "1 training class has a single row: 'mixed'; is columns.label right?" in found

    def test_texts_that_are_learned_and_measured(self, tmp_path: Path) -> None:
        found = self.warnings(tmp_path, GOOD, GOOD + jsonl([("unheard of", "pos")]))
        assert found[-2:] == [
            "4 of 4 valid texts are among the training rows of d too (domain d): figures on them "
            "flatter the model",
            "4 of 5 test texts are among the training rows of d too (domain e): figures on them "
            "flatter the model",
        ]

    def test_fewer_rows_than_a_step(self, tmp_path: Path) -> None:
        write(tmp_path, train_jsonl=GOOD)
        spec = data_spec({"d": {"train": "train.jsonl", "valid": "train.jsonl"}})
        found = inspect_data(spec, base_dir=tmp_path, fetch=None).warnings
        assert found[0] == (
            "there are fewer training rows (4) than training.global_batch_size (32)"
        )


def test_a_wrong_column_points_at_its_line_in_the_spec(tmp_path: Path) -> None:
    write(tmp_path, train_jsonl=GOOD, test_jsonl=GOOD)
    (tmp_path / "spec.yaml").write_text(
        """\
apiVersion: finetune.orchestrator/v1alpha1
kind: FineTune
metadata: {name: job-one}
spec:
  model: {base: "package://some_package/model"}
  task: {type: text-classification}
  data:
    domains:
      d:
        train: [{path: train.jsonl}]
        test:
          - path: test.jsonl
            columns:
              text: review
"""
    )
    with pytest.raises(InvalidInput) as caught:
        validate_all(tmp_path / "spec.yaml")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == (f"{TEST}.columns.text", 14)
    assert problem.file == str(tmp_path / "spec.yaml")
