"""Figures of predicted tokens and of written texts, against hand and against the libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf

from orchestrator.worker.evaluation.texts import (
    Texts,
    first_sentence,
    summarization_metrics,
    translation_metrics,
)
from orchestrator.worker.evaluation.tokens import (
    token_intervals,
    token_loss_sum,
    token_metrics,
    token_sums,
)

REFERENCES = ["the cat sat on the mat", "there is a dog in the garden", "we went home"]
SOURCES = ["die Katze sat. A mat", "the dog in the garden", "wir went home"]
WRITTEN = ["the cat sat on a mat", "a dog is in the garden", "we went home"]


def test_figures_of_two_rows_by_hand() -> None:
    """A uniform guess over four tokens costs log 4; the rows have two tokens and one."""
    logits = torch.zeros(2, 2, 4)
    logits[0, 0, 1] = 100.0  # sure, and right
    labels = torch.tensor([[1, 2], [3, -100]])
    sums = token_sums(logits, labels)
    uniform = math.log(4)
    assert sums.tolist() == [
        [pytest.approx(uniform), 2, 1],
        [pytest.approx(uniform), 1, 0],
    ]
    assert token_loss_sum(logits, labels).item() == pytest.approx(2 * uniform)
    figures = token_metrics(sums.numpy())
    assert figures == {
        "num_rows": 2,
        "num_tokens": 3,
        "loss": pytest.approx(2 * uniform / 3),
        "perplexity": pytest.approx(4 ** (2 / 3)),
        "token_accuracy": pytest.approx(1 / 3),
    }


def test_an_absurd_loss_has_a_perplexity() -> None:
    assert math.isfinite(token_metrics(np.array([[1e6, 1.0, 0.0]]))["perplexity"])


def test_intervals_hold_the_figure_and_follow_from_the_seed() -> None:
    generator = np.random.default_rng(0)
    sums = np.stack([generator.uniform(1, 9, 50), np.full(50, 3.0), np.ones(50)], axis=1)
    found = token_intervals(sums, 200, seed=1)
    low, high = found["loss"]
    assert low < token_metrics(sums)["loss"] < high
    assert found == token_intervals(sums, 200, seed=1)
    assert token_intervals(sums, 0, seed=1) == {}


def test_translations_are_judged_as_sacrebleu_does() -> None:
    found = translation_metrics(Texts(WRITTEN, REFERENCES, SOURCES), 100, seed=1)
    assert found["bleu"] == pytest.approx(corpus_bleu(WRITTEN, [REFERENCES]).score / 100)
    assert found["chrf"] == pytest.approx(corpus_chrf(WRITTEN, [REFERENCES]).score / 100)
    assert found["length_ratio"] == pytest.approx(15 / 16)
    assert found["signatures"]["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0")
    for name in ("bleu", "chrf"):
        low, high = found["intervals"][name]
        assert 0 <= low <= found[name] <= high <= 1


def test_summaries_are_judged_as_rouge_score_does() -> None:
    found = summarization_metrics(Texts(WRITTEN, REFERENCES, SOURCES), 100, seed=1)
    scorer = RougeScorer(["rouge2"], use_stemmer=True)
    pairs = zip(REFERENCES, WRITTEN, strict=True)
    scores = [scorer.score(reference, text)["rouge2"].fmeasure for reference, text in pairs]
    assert found["rouge2"] == pytest.approx(sum(scores) / 3)
    low, high = found["intervals"]["rouge_l"]
    assert low <= found["rouge_l"] <= high


def judged(written: list[str]) -> Texts:
    return Texts(written, REFERENCES, SOURCES)


def test_the_floors_are_the_source_and_its_first_sentence() -> None:
    copied = translation_metrics(judged(WRITTEN), 0, 1)
    assert copied["copy_chrf"] == pytest.approx(corpus_chrf(SOURCES, [REFERENCES]).score / 100)
    assert copied["copy_bleu"] == pytest.approx(corpus_bleu(SOURCES, [REFERENCES]).score / 100)
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    lead = ["die Katze sat.", *SOURCES[1:]]
    scores = [scorer.score(r, t)["rougeL"].fmeasure for r, t in zip(REFERENCES, lead, strict=True)]
    found = summarization_metrics(judged(WRITTEN), 0, 1)["lead_rouge_l"]
    assert found == pytest.approx(sum(scores) / 3)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One."),
        ("  What? Yes!  ", "What?"),
        ("Version 2.6 of it. More", "Version 2.6 of it."),
        ("No end", "No end"),
        ("", ""),
    ],
)
def test_the_first_sentence_ends_where_a_space_follows_its_mark(text: str, first: str) -> None:
    assert first_sentence(text) == first


def test_a_perfect_text_and_an_empty_one() -> None:
    assert translation_metrics(judged(REFERENCES), 0, 1)["bleu"] == pytest.approx(1.0)
    empty = translation_metrics(judged([""] * 3), 10, 1)
    assert (empty["bleu"], empty["chrf"], empty["length_ratio"]) == (0.0, 0.0, 0.0)
    assert summarization_metrics(judged([""] * 3), 10, 1)["rouge1"] == 0.0
