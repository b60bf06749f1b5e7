"""Groups of a split: planted gaps are found with intervals; what no model sees survives reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from orchestrator.errors import InvalidInput
from orchestrator.inspect.data import inspect_data, read_tables
from orchestrator.specs import EvaluationSpec, SliceSpec
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.evaluation.reported import reported_figures
from orchestrator.worker.evaluation.slices import NONE_OF_THEM, groups_of, sliced_figures
from orchestrator.worker.evaluation.sums import class_sums, token_row_sums
from orchestrator.worker.evaluation.text_sums import summarization_sums, translation_sums
from orchestrator.worker.evaluation.texts import (
    Texts,
    summarization_metrics,
    translation_metrics,
)
from orchestrator.worker.models.loading import load_tokenizer
from orchestrator.worker.tasks import task_for
from tests.inspect.rows import data_spec, jsonl, write
from tests.inspect.tfrecord_files import tfrecord
from tests.worker.tiny import launch, write_base

NUM_ROWS = 400


def planted(wrong_share: float = 0.5, seed: int = 3) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Rows of two countries; of those of `x` so many are predicted wrongly, of others a tenth."""
    generator = np.random.default_rng(seed)
    country = np.where(np.arange(NUM_ROWS) % 4 == 0, "x", "y")
    labels = np.arange(NUM_ROWS) % 2
    wrong = generator.random(NUM_ROWS) < np.where(country == "x", wrong_share, 0.1)
    predicted = np.where(wrong, 1 - labels, labels)
    texts = [("she said " if n % 5 == 0 else "He ") + "word " * (n % 30) for n in range(NUM_ROWS)]
    table = pa.table(
        {
            "text": texts,
            "label": [("bad", "good")[n] for n in labels],
            "slice:country": country.tolist(),
        }
    )
    return table, predicted, labels


def test_a_planted_gap_comes_first_with_an_interval_around_it() -> None:
    table, predicted, labels = planted()
    slices = {
        "country": SliceSpec(column="country"),
        "gender": SliceSpec(terms={"women": ("she", "her"), "men": ("he",)}),
        "length": SliceSpec(lengths=(10, 20)),
        "class": SliceSpec(label=True),
    }

    found = sliced_figures(slices, table, class_sums(predicted, labels, 2), 1000, 0)

    is_x = np.array(table.column("slice:country").to_pylist()) == "x"
    right = predicted == labels
    truth = right[is_x].mean() - right[~is_x].mean()
    gap = found["slices"]["country"]["x"]["gaps"]["accuracy"]
    assert gap["gap"] == pytest.approx(truth)
    assert gap["interval"][0] < truth < gap["interval"][1] < 0
    first = found["gaps"][0]
    assert (first["slice"], first["is_worse"]) == ("country", first["group"] == "x")
    women, men = found["slices"]["gender"]["women"], found["slices"]["gender"]["men"]
    assert (women["num_rows"], men["num_rows"]) == (80, 320)
    assert list(found["slices"]["length"]) == ["below 10 words", "10-19 words", "20 words or more"]
    by_class = found["slices"]["class"]["bad"]
    assert by_class["accuracy"] == pytest.approx(right[labels == 0].mean())
    assert "macro_f1" not in by_class
    assert json.loads(json.dumps(found)) == found


def test_the_interval_is_as_wide_as_theory_has_it() -> None:
    """Of two shares the standard error of the difference is known."""
    table, predicted, labels = planted()
    sums = class_sums(predicted, labels, 2)
    gap = sliced_figures({"c": SliceSpec(column="country")}, table, sums, 4000, 1)["slices"]["c"]
    low, high = gap["x"]["gaps"]["accuracy"]["interval"]
    shares = [(gap[name]["accuracy"], gap[name]["num_rows"]) for name in ("x", "y")]
    width = 2 * 1.96 * sum(p * (1 - p) / n for p, n in shares) ** 0.5
    assert high - low == pytest.approx(width, rel=0.06)


def test_without_a_gap_the_interval_holds_zero_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        table, predicted, labels = planted(wrong_share=0.1, seed=seed)
        sums = class_sums(predicted, labels, 2)
        found = sliced_figures({"c": SliceSpec(column="country")}, table, sums, 500, seed)
        low, high = found["slices"]["c"]["x"]["gaps"]["accuracy"]["interval"]
        held += low <= 0 <= high
    assert 52 <= held <= 60  # 57 are expected


def test_small_groups_are_shown_and_not_compared() -> None:
    table, predicted, labels = planted()
    values = ["rare" if n < 19 else "usual" for n in range(NUM_ROWS)]
    table = table.append_column("slice:k", pa.array(values))
    sums = class_sums(predicted, labels, 2)
    found = sliced_figures({"k": SliceSpec(column="k")}, table, sums, 100, 0)
    assert found["slices"]["k"]["rare"]["num_rows"] == 19
    assert "gaps" not in found["slices"]["k"]["rare"]
    assert found["gaps"] == []


def test_terms_are_whole_words_in_any_case() -> None:
    table = pa.table({"text": ["The cat", "CATS", "concat", "a dog and a cat", "none"]})
    groups = groups_of(SliceSpec(terms={"cat": ("cat",), "dog": ("dog",)}), table)
    assert groups["cat"].tolist() == [True, False, False, True, False]
    assert groups["dog"].tolist() == [False, False, False, True, False]
    assert groups[NONE_OF_THEM].tolist() == [False, True, True, False, True]


WRITTEN = ["the cat sat on the mat", "a dog", "hello big world here", "ein haus im wald"] * 6
WANTED = ["the cat sat on a mat", "a dog barks", "hello world here now", "das haus im wald"] * 6


@pytest.mark.parametrize(
    ("sums", "metrics"),
    [(translation_sums, translation_metrics), (summarization_sums, summarization_metrics)],
)
def test_sums_of_texts_are_the_metrics_themselves(
    sums: Callable[..., Any], metrics: Callable[..., dict[str, Any]]
) -> None:
    some = np.arange(len(WRITTEN)) % 3 == 0
    figures = sums(WRITTEN, WANTED).of(some)
    chosen = [
        [text for text, is_in in zip(texts, some, strict=True) if is_in]
        for texts in (WRITTEN, WANTED)
    ]
    expected = metrics(Texts(*chosen, sources=chosen[0]), 0, 0)
    assert figures == {name: pytest.approx(expected[name]) for name in figures}
    assert len(figures) >= 2


def test_tokens_are_weighed_within_a_group() -> None:
    lines = np.array([[4.0, 2.0, 1.0], [1.0, 1.0, 1.0], [9.0, 3.0, 0.0]])
    figures = token_row_sums(lines).of(np.array([True, True, False]))
    assert figures["loss"] == pytest.approx(5 / 3)
    assert figures["token_accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "tfrecord"])
def test_columns_of_slices_survive_reading_and_no_model_gets_them(
    kind: str, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    rows = [{"text": f"text {n}", "label": "ab"[n % 2], "year": 1990 + n % 2} for n in range(8)]
    write(tmp_path, train_jsonl=jsonl([("one", "a"), ("two", "b"), ("three", "a"), ("four", "b")]))
    path = tmp_path / f"test.{kind}"
    if kind == "jsonl":
        path.write_text(jsonl([*rows[:-1], {**rows[-1], "year": None}]))
    elif kind == "csv":
        lines = [f"{r['text']},{r['label']},{r['year']}" for r in rows[:-1]] + ["text 7,b,"]
        path.write_text("\n".join(["text,label,year", *lines]) + "\n")
    elif kind == "parquet":
        years = [*(r["year"] for r in rows[:-1]), None]
        columns = {name: [row[name] for row in rows] for name in ("text", "label")}
        pq.write_table(pa.table({**columns, "year": pa.array(years, pa.int32())}), path)
    else:
        path.write_bytes(tfrecord([(str(r["text"]), str(r["label"])) for r in rows]))
    column = "label" if kind == "tfrecord" else "year"
    spec = data_spec(
        {"d": {"train": "train.jsonl", "test": path.name}},
        evaluation={"slices": {"year": {"column": column}}},
    )

    seen = read_tables(spec, base_dir=tmp_path, fetch=None)
    kept = read_tables(spec, base_dir=tmp_path, fetch=None, with_extra=True)["d", "test"]

    assert seen["d", "test"].column_names == ["text", "label"]
    assert kept.column_names == ["text", "label", f"slice:{column}"]
    values = kept.column(2).to_pylist()
    assert values == (
        ["a", "b"] * 4 if kind == "tfrecord" else ["1990", "1991"] * 3 + ["1990", "(none)"]
    )
    plain = data_spec({"d": {"train": "train.jsonl", "test": path.name}})
    digests = [inspect_data(s, base_dir=tmp_path, fetch=None).digests for s in (spec, plain)]
    assert digests[0] == digests[1]


def test_a_column_that_is_not_there_is_told(tmp_path: Path) -> None:
    write(
        tmp_path,
        train_jsonl=jsonl([("one", "a"), ("two", "b"), ("six", "a"), ("ten", "b")]),
        test_jsonl=jsonl([("x", "a")]),
    )
    spec = data_spec(
        {"d": {"train": "train.jsonl", "test": "test.jsonl"}},
        evaluation={"slices": {"where": {"column": "country"}}},
    )
    with pytest.raises(InvalidInput, match="has no column `country`") as raised:
        read_tables(spec, base_dir=tmp_path, fetch=None, with_extra=True)
    assert [problem.path for problem in raised.value.problems] == ["evaluation.slices"]
    told = inspect_data(spec, base_dir=tmp_path, fetch=None).problems
    assert [problem.path for problem in told] == ["evaluation.slices"]


def test_figures_of_a_split_are_sliced_where_its_rows_are_given(tmp_path: Path) -> None:
    base = write_base(tmp_path)
    task, tokenizer = task_for(launch(base, tmp_path).spec.spec, base), load_tokenizer(base)
    labels = ["positive", "negative"] * 30
    table = pa.table({"text": ["good", "bad"] * 30, "label": labels})
    rows = table.append_column("slice:c", pa.array(["x"] * 30 + ["y"] * 30))
    gang: Any = SimpleNamespace(rank=0, world_size=1, is_first=True, from_first=lambda value: value)
    gang.gather = lambda value: [value]

    def forward(input_ids: torch.Tensor, **_: torch.Tensor) -> SimpleNamespace:
        score = (input_ids[:, 1] == tokenizer.convert_tokens_to_ids("good")).float()
        return SimpleNamespace(logits=torch.stack([1 - score, score], dim=1))

    each = EvaluationPass(task, tokenizer, gang, 8, torch.device("cpu"))
    spec = EvaluationSpec(slices={"c": SliceSpec(column="c")}, bootstrap_samples=50)
    model: Any = forward
    encoded = task.encode(table, tokenizer)

    sliced = reported_figures(each, model, encoded, spec, 0, rows)
    whole = reported_figures(each, model, encoded, spec, 0)

    assert sliced["slices"]["c"]["x"] == {
        "num_rows": 30,
        "accuracy": 1.0,
        "macro_f1": 1.0,
        "gaps": sliced["slices"]["c"]["x"]["gaps"],
    }
    assert sliced["slices"]["c"]["x"]["gaps"]["accuracy"]["interval"] == [0.0, 0.0]
    assert {k: v for k, v in sliced.items() if k not in ("slices", "gaps")} == whole
