"""Hub data sets, through a local folder that the `datasets` library accepts in place of a name."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.errors import MissingExtra, Problem
from orchestrator.inspect.data import inspect_data, read_tables
from orchestrator.inspect.hub import pin_sources
from tests.inspect.rows import POLAR, data_spec, jsonl, write

PLACE = "data.domains.d.test[0]"


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def problems(folder: Path, **source: Any) -> list[Problem]:
    spec = data_spec({"d": {"test": source}})
    return list(inspect_data(spec, base_dir=folder, fetch=None).problems)


def test_a_split_is_read(tmp_path: Path) -> None:
    write(tmp_path / "set", train_jsonl=jsonl(POLAR), test_jsonl=jsonl(POLAR[:3]))
    spec = data_spec({"d": {"test": {"hub": "set", "split": "train[:2]"}}})
    found = inspect_data(spec, base_dir=tmp_path, fetch=None)
    assert found.problems == ()
    table = read_tables(spec, base_dir=tmp_path, fetch=None, wanted=[("d", "test")])["d", "test"]
    assert table.to_pydict() == {
        "text": ["a fine camera", "a poor camera"],
        "label": ["pos", "neg"],
    }


def test_its_digest_is_of_its_rows(tmp_path: Path) -> None:
    write(tmp_path / "one", train_jsonl=jsonl(POLAR))
    write(tmp_path / "two", train_jsonl="\n".join(jsonl(POLAR).splitlines()) + "\n\n")
    write(tmp_path / "three", train_jsonl=jsonl(POLAR[::-1]))

    def digest(name: str) -> str:
        spec = data_spec({"d": {"test": {"hub": name, "split": "train"}}})
        return inspect_data(spec, base_dir=tmp_path, fetch=None).digests["d/test"]

    assert digest("one") == digest("two")
    assert digest("one") != digest("three")


def test_numbers_of_classes_become_their_names(tmp_path: Path) -> None:
    card = """---
dataset_info:
  features:
  - {name: text, dtype: string}
  - name: label
    dtype: {class_label: {names: {'0': bad, '1': good}}}
---
"""
    rows = [{"text": "x", "label": 1}, {"text": "y", "label": 0}]
    write(tmp_path / "set", README_md=card, train_jsonl=jsonl(rows))
    spec = data_spec({"d": {"test": {"hub": "set", "split": "train"}}})
    table = read_tables(spec, base_dir=tmp_path, fetch=None, wanted=[("d", "test")])["d", "test"]
    assert table.column("label").to_pylist() == ["good", "bad"]


def test_wrong_columns(tmp_path: Path) -> None:
    write(tmp_path / "set", train_jsonl=jsonl([{"txt": "a", "label": "b"}]))
    (problem,) = problems(tmp_path, hub="set", split="train")
    assert problem.path == f"{PLACE}.columns.text"
    assert problem.message == "set has no column `text`; it has: txt, label"
    assert problem.hint == "write columns: {text: txt} in this source"


def test_rows_without_a_value_are_counted(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "b"}, {"text": " ", "label": "b"}, {"text": "", "label": None}]
    write(tmp_path / "set", train_jsonl=jsonl(rows))
    found = {problem.message for problem in problems(tmp_path, hub="set", split="train")}
    assert found == {
        "row 2: column `text` is empty (and in 1 more row)",
        "row 3: column `label` has no value (missing, null or NaN)",
    }


@pytest.mark.parametrize(
    ("source", "path", "message", "hint"),
    [
        ({"hub": "set", "split": "dev"}, f"{PLACE}.split", "has no split 'dev'", "splits"),
        ({"hub": "set", "split": "train", "config": "en"}, f"{PLACE}.config", "en", "configurat"),
        ({"hub": "no/such-set", "split": "train"}, f"{PLACE}.hub", "no/such-set", "HF_HUB_OFFLINE"),
    ],
)
def test_what_the_hub_does_not_have(
    tmp_path: Path, source: dict[str, Any], path: str, message: str, hint: str
) -> None:
    write(tmp_path / "set", train_jsonl=jsonl(POLAR))
    (problem,) = problems(tmp_path, **source)
    assert problem.path == path
    assert message in problem.message
    assert hint in str(problem.hint)


def test_without_the_library_the_pip_line_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra) as caught:
        problems(tmp_path, hub="a/b", split="train")
    assert caught.value.hint == "pip install 'finetune-orchestrator[worker]'"


class FakeHub:
    """Knows the commits of two revisions of one data set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    def dataset_info(
        self, repo_id: str, *, revision: str | None = None, timeout: float | None = None
    ) -> SimpleNamespace:
        self.asked.append((repo_id, revision))
        if repo_id != "org/set":
            raise ConnectionError("no network")
        return SimpleNamespace(sha={None: "a" * 40, "v1": "b" * 40}[revision])


def test_revisions_are_pinned_to_commits(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    sources = [
        {"hub": "org/set", "split": "train"},
        {"hub": "org/set", "split": "train", "revision": "v1"},
        {"hub": "org/set", "split": "train", "revision": "c" * 40},
        {"hub": "org/out-of-reach", "split": "train"},
        {"hub": "local", "split": "train"},
        "rows.jsonl",
    ]
    hub = FakeHub()
    data = data_spec({"d": {"train": sources, "test": "rows.jsonl"}}).data
    pinned = pin_sources(data, base_dir=tmp_path, api=hub)
    revisions = [source.revision for source in pinned.domains["d"].train or ()]
    assert revisions == ["a" * 40, "b" * 40, "c" * 40, None, None, None]
    assert hub.asked == [("org/set", None), ("org/set", "v1"), ("org/out-of-reach", None)]
    assert pinned.domains["d"].test == data.domains["d"].test
