"""TFRecord files: what another library wrote is read, and what is wrong is told by its record."""

from __future__ import annotations

import base64
import gzip
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.inspect.data import read_tables
from orchestrator.inspect.examples import NoExample, features
from orchestrator.inspect.tfrecords import masked_crc
from tests.inspect.rows import POLAR, data_spec
from tests.inspect.tfrecord_files import entries, example, feature, field, framed, tfrecord

SOURCE = "data.domains.d.test[0]"

# Two records as the package `tfrecord` 1.14.6 writes them, with protobuf 7.36: `review` (bytes),
# `stars` (int64: 5 and -1) and `weight` (floats: 0.5 and 2.0, then 1.0).
WRITTEN_ELSEWHERE = base64.b64decode(
    "VQAAAAAAAADX3w/BClMKKQoGcmV2aWV3Eh8KHQobR3Jvw59hcnRpZywgc2hhcnAgYW5kIHF1aWNrCg4KBXN0YXJz"
    "EgUaAwoBBQoWCgZ3ZWlnaHQSDBIKCggAAAA/AAAAQK0njV9MAAAAAAAAAPXUoqAKSgobCgZyZXZpZXcSEQoPCg1k"
    "dWxsIGFuZCBzbG93ChcKBXN0YXJzEg4aDAoK////////////AQoSCgZ3ZWlnaHQSCBIGCgQAAIA/v0h9qw=="
)


def read(
    folder: Path, content: bytes, name: str = "rows.tfrecord", **source: Any
) -> list[tuple[str, str]]:
    (folder / name).write_bytes(content)
    spec = data_spec({"d": {"test": {"path": name, **source}}})
    tables = read_tables(spec, base_dir=folder, fetch=None, wanted=[("d", "test")])
    table = tables["d", "test"]
    return list(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True))


def test_the_checksum_is_the_published_one() -> None:
    # RFC 3720, B.4: CRC-32C of 32 zeros is aa 36 91 8a
    assert masked_crc(bytes(32)) == ((0x8A9136AA >> 15 | 0x8A9136AA << 17) + 0xA282EAD8) % 2**32


def test_a_file_of_another_library(tmp_path: Path) -> None:
    columns = {"text": "review", "label": "stars"}

    assert read(tmp_path, WRITTEN_ELSEWHERE, columns=columns) == [
        ("Großartig, sharp and quick", "5"),
        ("dull and slow", "-1"),
    ]


def test_every_feature_of_another_library() -> None:
    first = WRITTEN_ELSEWHERE[12 : 12 + 0x55]

    assert features(first) == {
        "review": ["Großartig, sharp and quick".encode()],
        "stars": [5],
        "weight": [0.5, 2.0],
    }


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("label", ["pos", 3, -7, 2.0, 2**62])
def test_labels(tmp_path: Path, label: Any, packed: bool) -> None:
    record = example(text="a", label=label, packed=packed)
    expected = "2" if label == 2.0 else str(label)

    assert read(tmp_path, framed(record)) == [("a", expected)]


def test_long_records_and_other_features(tmp_path: Path) -> None:
    text = "ünï 😀 " * 30_000
    record = example(image=[b"\xff\xd8" * 1000], text=text, more=[1, 2, 3] * 99, label="x")

    assert read(tmp_path, framed(record, record)) == [(text, "x")] * 2


def test_shards_in_their_order_whether_packed_or_not(tmp_path: Path) -> None:
    for number, row in enumerate(POLAR):
        content = tfrecord([row])
        (tmp_path / f"train.tfrecord-{number:05}-of-00004").write_bytes(content)
    spec = data_spec({"d": {"test": "*.tfrecord-*"}})
    table = read_tables(spec, base_dir=tmp_path, fetch=None, wanted=[("d", "test")])["d", "test"]

    assert table["text"].to_pylist() == [text for text, _ in POLAR]


def test_another_ending_needs_the_format(tmp_path: Path) -> None:
    assert read(tmp_path, tfrecord(POLAR), "rows.bin", format="tfrecord") == POLAR
    with pytest.raises(InvalidInput, match=r"cannot be told from its ending"):
        read(tmp_path, tfrecord(POLAR), "rows.bin")


def test_a_record_as_long_as_a_gzip_file_begins(tmp_path: Path) -> None:
    """Its first bytes are the length: 0x8b1f is gzip's magic number, 0xfeff UTF-16's mark."""
    for length in (0x8B1F, 0xFEFF):
        without = len(example(text="x" * 30_000, label="a"))
        text = "x" * (30_000 + length - without)
        record = example(text=text, label="a")
        assert len(record) == length
        assert read(tmp_path, framed(record)) == [(text, "a")]


def test_the_last_of_repeated_fields_counts() -> None:
    twice = field(1, field(1, field(1, b"text") + field(2, feature("first"))))
    again = field(1, field(1, field(1, b"text") + field(2, feature("last"))))

    assert features(twice + again) == {"text": [b"last"]}


def test_a_sequence_example_has_its_context_read() -> None:
    steps = field(2, field(1, field(1, b"frames") + field(2, b"")))

    assert features(example(text="a") + steps) == {"text": [b"a"]}


def test_fields_of_later_versions_are_passed_over() -> None:
    later = b"\xa0\x06\x07" + b"\xa9\x06" + bytes(8) + b"\xad\x06" + bytes(4)  # number 100

    assert features(example(text="a") + later, {"text"}) == {"text": [b"a"]}


ROWS = tfrecord(POLAR)
GOOD = framed(example(text="a", label="pos"))


class Bad(NamedTuple):
    """The content behind four good records; what is told about it."""

    content: bytes
    message: str
    hint: str


def flipped(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


def with_text(value: bytes) -> bytes:
    return framed(entries({"text": value, "label": feature("pos")}))


WRONG = {
    "cut within the length": Bad(GOOD[:5], "record 5: the file is cut off within its length",
        "copy or write it again"),
    "cut within the data": Bad(GOOD[:-9],
        f"record 5: the file is cut off within it: {len(GOOD) - 21} of its {len(GOOD) - 12} bytes",
        "copy or write it again"),
    "length changed": Bad(flipped(GOOD, 0), "record 5: the checksum of its length is wrong",
        "copy or write it again"),
    "data changed": Bad(flipped(GOOD, 20) + GOOD, "record 5: the checksum of its data is wrong",
        "copy or write it again"),
    "two changed": Bad(flipped(GOOD, 20) + GOOD + flipped(GOOD, 21),
        "record 5: the checksum of its data is wrong (and in 1 more row)", "copy or write"),
    "huge": Bad(struct.pack("<Q", 2**40)
        + struct.pack("<I", masked_crc(struct.pack("<Q", 2**40))),
        "record 5: it says it has 1,099,511,627,776 bytes", "smaller records"),
    "no example": Bad(framed(b'{"text": "a"}'), "record 5: it is no tf.train.Example",
        "serialized tf.train.Example"),
    "no label": Bad(framed(example(text="a")), "record 5: column `label` has no value",
        "remove the row"),
    "no text in two": Bad(framed(example(label="a"), example(label="b")),
        "record 5: column `text` has no value (missing, null or NaN) (and in 1 more row)",
        "remove the row"),
    "empty list": Bad(with_text(field(1, b"")), "record 5: column `text` has no value",
        "remove the row"),
    "not UTF-8": Bad(with_text(feature([b"caf\xe9"])),
        "record 5: feature `text` holds bytes that are not UTF-8 text", "encode text as UTF-8"),
    "blank": Bad(with_text(feature(" \n")), "record 5: column `text` is empty", "remove the row"),
    "number": Bad(with_text(feature(5)), "record 5: column `text` holds a number, not text",
        "`columns`"),
    "many": Bad(with_text(feature([b"a", b"b"])),
        "record 5: feature `text` holds 2 values, not one", "one value a record"),
    "fraction": Bad(framed(example(text="a", label=0.5)),
        "record 5: column `label` holds a fractional number", "needs classes"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG.values(), ids=list(WRONG))
@pytest.mark.parametrize("packing", ["", ".gz"])
def test_wrong_records_are_named(tmp_path: Path, case: Bad, packing: str) -> None:
    content = ROWS + case.content
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, gzip.compress(content) if packing else content, f"rows.tfrecord{packing}")

    (problem,) = caught.value.problems
    assert problem.path == SOURCE
    assert problem.file == str(tmp_path / f"rows.tfrecord{packing}")
    assert case.message in problem.message
    assert problem.hint is not None
    assert case.hint in problem.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x01\x02", "is not a TFRecord file"),
        (b'{"text": "a", "label": "b"}\n' * 3, "is not a TFRecord file"),
        (zlib.compress(ROWS), "is not a TFRecord file"),
        (gzip.compress(ROWS), "is a gzip file"),
        (b"PAR1" + bytes(40), "is a Parquet file"),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, content)

    (problem,) = caught.value.problems
    assert (problem.path, message in problem.message) == (f"{SOURCE}.path", True)
    assert problem.hint


def test_a_gzip_file_that_was_cut_off(tmp_path: Path) -> None:
    content = gzip.compress(tfrecord([(f"text {n} {n * n * 7919}", "a") for n in range(400)]))
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, content[:-2000], "rows.tfrecord.gz")

    assert "cut off within" in caught.value.problems[0].message


def test_a_wrong_column_names_the_features(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, WRITTEN_ELSEWHERE, columns={"text": "reviews", "label": "stars"})

    (problem,) = caught.value.problems
    assert problem.path == f"{SOURCE}.columns.text"
    assert "it has: review, stars, weight" in problem.message
    assert problem.hint == "write columns: {text: review} in this source"


@pytest.mark.parametrize(
    "record",
    [
        b"\x0a",  # a length is missing
        b"\x0a\x05abc",  # a field longer than the record
        b"\x0b\x0c",  # a group
        b"\x02\x00",  # field number 0
        b"\xff" * 11,  # a number without an end
        field(1, field(1, field(1, b"\xff\xfe"))),  # a name that is not UTF-8
        field(1, field(1, field(1, b"n") + field(2, field(2, field(1, b"abc"))))),  # 3/4 of a float
        field(1, field(1, field(1, b"n") + field(2, field(3, b"\x0d" + bytes(4))))),  # a float
        b"\x08\x05",  # a number where features should be
    ],
)
def test_what_is_no_example(record: bytes) -> None:
    with pytest.raises(NoExample):
        features(record)


def test_no_part_of_an_example_passes_for_one() -> None:
    record = example(text="a text", label=5, weights=[0.5, 1.5])
    for end in range(1, len(record)):
        with pytest.raises(NoExample):
            features(record[:end])


def test_neither_tensorflow_nor_protobuf_is_imported() -> None:
    code = (
        "import sys, orchestrator.inspect.formats.tfrecord;"
        "print([n for n in ('tensorflow', 'google.protobuf') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
