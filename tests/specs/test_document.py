"""YAML text -> data and positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.specs.document import decode, display, parse
from orchestrator.specs.loading import load_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-5", 5e-5),
        ("5.0e-5", 5e-5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-3", -3),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("2020-01-31", "2020-01-31"),
        ("12:30:45", "12:30:45"),
        ('"5"', "5"),
        ("'no'", "no"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = parse(f"key: {text}", file=None)
    assert found.problems == []
    assert found.data == {"key": value}
    assert type(found.data["key"]) is type(value)


def test_every_field_knows_its_line_and_its_own_text() -> None:
    found = parse("a: 1\nb:\n  c:\n    - x\n    - {d: no}\n", file=None)
    assert {display(steps): (p.line, p.text) for steps, p in found.positions.items()} == {
        "": (1, None),
        "a": (1, "1"),
        "b": (2, None),
        "b.c": (3, None),
        "b.c[0]": (4, "x"),
        "b.c[1]": (5, None),
        "b.c[1].d": (5, "no"),
    }


def test_anchors_and_merges_are_read() -> None:
    found = parse("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: *x\n", file=None)
    assert found.problems == []
    assert found.data["d"] == {"b": 1, "c": 3}
    assert found.data["e"] == {"b": 1, "c": 2}
    assert found.data["e"] is not found.data["a"]  # --set of one must not change the other


def test_json_with_tabs_and_characters_beyond_the_bmp() -> None:
    found = parse('{\n\t"a": "\\ud83d\\ude00",\n\t"b": [1.5, null]\n}', file="f")
    assert found.problems == []
    assert found.data == {"a": "😀", "b": [1.5, None]}
    assert found.positions[("b",)].line == 3


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "`a` is written twice (first in line 1)", "keep one"),
        ("a:\n\tb: 1", 2, "a tab is used for indentation", "indent with spaces"),
        ("a: b: c", 1, "mapping values are not allowed here", "in quotes"),
        ("a: [1, 2", 1, "expected ',' or ']'", "quote text"),
        ("a: *gone", 1, "found undefined alias 'gone'", "define it with &"),
        ("a: 1\n---\nb: 2\n", 3, "2 YAML documents", "one document a file"),
        ("---\n" * 5000, 3, "100 or more YAML documents", "one document a file"),
        ("a: &x [*x]", 1, "an alias repeats its own content", None),
        ("a: !!python/object/apply:os.system [ls]", 1, "is not allowed", None),
        ("a: !secret x", 1, "the tag !secret is not allowed", "remove the tag"),
        ("? [1, 2]\n: x", 1, "a key must be plain text", None),
        ("a: 1\nb: \x01", 2, "a character that YAML does not allow", "remove"),
        ("[" * 3000, None, "nested too deeply", None),
    ],
)
def test_what_is_no_spec_text(text: str, line: int | None, message: str, hint: str | None) -> None:
    (problem,) = parse(text, file="spec.yaml").problems
    assert (problem.file, problem.line) == ("spec.yaml", line)
    assert message in problem.message
    assert hint is None or hint in str(problem.hint)


def test_a_document_that_grows_without_end_is_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    found = parse("\n".join(levels), file=None)
    assert [p.message for p in found.problems] == ["the document expands to more than 50000 values"]


def test_of_very_many_problems_the_first_ones_are_told() -> None:
    """A server explains what is wrong for others too: nobody may keep it busy with that."""
    twice = parse("a: 1\n" * 5000, file=None)
    assert len(twice.problems) == 100
    fields = "".join(f"  field{number}: 1\n" for number in range(5000))
    unknown = load_document(f"metadata: {{name: x}}\nspec:\n{fields}")
    assert len(unknown.problems) == 100
    assert unknown.usable is None


def test_strict_json_names_the_line() -> None:
    (problem,) = parse('{\n"a": 1,\n}', file="s.json", strict_json=True).problems
    assert problem.line == 3
    assert problem.message.startswith("not valid JSON: ")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a: 1", "a: 1"),
        (b"\xef\xbb\xbfa: 1", "a: 1"),
        ("a: ä".encode("utf-16"), "a: ä"),
    ],
)
def test_encodings_of_editors(content: bytes, text: str) -> None:
    assert decode(content, Path("s.yaml")) == (text, [])


def test_latin_1_names_the_line() -> None:
    _, (problem,) = decode("a: 1\nb: ä".encode("latin-1"), Path("s.yaml"))
    assert (problem.message, problem.line) == ("not UTF-8 text", 2)


def test_binary_is_no_spec() -> None:
    _, (problem,) = decode(b"PAR1\x00\x00", Path("s.yaml"))
    assert problem.message == "this is not a spec"
