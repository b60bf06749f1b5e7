import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import InvalidInput, NotFound, UserError
from orchestrator.interfaces.cli import texts


@pytest.fixture
def read(work):
    """Rows of a file with the given content, through the same calls as `predict`."""

    def read(name, content, column="text", size=2):
        path = work / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with texts.text_file(name) as file:
            count = texts.count_rows(file, column)
            batches = list(texts.batches(file, column, size))
        assert sum(map(len, batches)) == count
        return batches

    return read


def problems(caught):
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_json_lines_keep_their_fields_and_order(read):
    batches = read("in.jsonl", '{"id": 1, "text": "a"}\n\n{"id": 2, "text": "b"}\n{"text": "c"}\n')
    assert [[(row.line, row.text, row.fields) for row in batch] for batch in batches] == [
        [(1, "a", {"id": 1, "text": "a"}), (3, "b", {"id": 2, "text": "b"})],
        [(4, "c", {"text": "c"})],
    ]


def test_csv_with_line_breaks_in_quotes(read):
    ((first, second),) = read("in.csv", 'review,stars\n"good,\nreally",5\nbad,1\n', column="review")
    assert (first.text, first.fields["stars"]) == ("good,\nreally", "5")
    assert (second.text, second.line) == ("bad", 4)


def test_parquet(read):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", "b"], "n": [1, 2]}), buffer)
    ((first, second),) = read("in.parquet", buffer.getvalue())
    assert (first.text, second.fields) == ("a", {"text": "b", "n": 2})


def test_packed_files(read):
    ((row,),) = read("in.csv.gz", gzip.compress(b"text\nhello\n"))
    assert (row.text, row.line) == ("hello", 2)


def test_a_torn_packed_file(read):
    torn = gzip.compress(b'{"text": "hello"}\n' * 1000)[:-12]
    with pytest.raises(InvalidInput) as caught:
        read("in.jsonl.gz", torn)
    assert problems(caught)[-1][1].startswith("cannot be read: Compressed file ended before")


def test_a_byte_order_mark_is_no_part_of_the_first_column(read):
    ((row,),) = read("in.csv", b"\xef\xbb\xbftext\nhello\n")
    assert row.fields == {"text": "hello"}


def test_stdin_is_json_lines(monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b'{"text": "a"}\n'))
    monkeypatch.setattr("sys.stdin", stdin)
    with texts.text_file("-") as file:
        assert texts.count_rows(file, "text") == 1
        assert [row.text for batch in texts.batches(file, "text", 8) for row in batch] == ["a"]


def test_every_bad_row_is_named_by_its_line(read):
    lines = [
        {"text": "good"},
        {"text": ""},
        {"txt": "misnamed"},
        {"text": 3},
        ["no", "object"],
        {"text": None},
    ]
    content = "\n".join(map(json.dumps, lines)) + '\n{"text": "torn'
    with pytest.raises(InvalidInput) as caught:
        read("in.jsonl", content)
    found = problems(caught)
    assert [line for line, _ in found] == [2, 3, 4, 5, 6, 7]
    assert [message for _, message in found[:5]] == [
        "column `text` is empty",
        "there is no column `text`",
        "column `text` holds a number, not text",
        "not a JSON object",
        "column `text` has no value (missing, null or NaN)",
    ]
    assert found[5][1].startswith("not valid JSON")
    assert caught.value.problems[1].hint == "name the right one: --text-column (txt)"


def test_of_many_bad_rows_twenty_are_named(read):
    with pytest.raises(InvalidInput) as caught:
        read("in.jsonl", '{"body": "x"}\n' * 50)
    assert len(caught.value.problems) == 21
    assert problems(caught)[-1] == (None, "and 30 more bad rows of 50")


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("in.jsonl", "", [(None, "the file holds no rows")]),
        ("in.csv", "text\n", [(None, "the file holds no rows")]),
        ("in.csv", "text,n\na\n", [(2, "the row has not 2 fields")]),
        ("in.csv", 'text\n"open', [(2, "not valid CSV: unexpected end of data")]),
        ("in.parquet", "PAR1", [(None, "not a whole Parquet file: Parquet file size is 4 bytes")]),
    ],
)
def test_files_without_good_rows(read, name, content, found):
    with pytest.raises(InvalidInput) as caught:
        read(name, content)
    (told,) = problems(caught)
    assert told[0] == found[0][0]
    assert told[1].startswith(found[0][1])


def test_a_file_that_is_not_there():
    with pytest.raises(NotFound, match="no such file"), texts.text_file("absent.jsonl"):
        pass


def test_an_ending_that_cannot_be_read(work):
    (work / "in.txt").touch()
    with pytest.raises(UserError, match=r"end in \.txt cannot be read"), texts.text_file("in.txt"):
        pass
