"""Corpus metrics of written texts: sacreBLEU's and rouge-score's, with their intervals.

BLEU and chrF carry sacreBLEU's signature, without which their figures cannot be compared
(Post 2018, arXiv:1804.08771). Everything but the length ratio is between 0 and 1. Intervals are
bootstraps over rows (Koehn 2004), sacreBLEU's own where it has them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

CONFIDENCE = 0.95
ROUGE = {"rouge1": "rouge1", "rouge2": "rouge2", "rouge_l": "rougeL", "rouge_lsum": "rougeLsum"}
"""Our name -> rouge-score's."""

_SEED = "SACREBLEU_SEED"
_TAILS = [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2]


def translation_metrics(
    written: Sequence[str], references: Sequence[str], num_samples: int, seed: int
) -> dict[str, Any]:
    """BLEU, chrF and the ratio of lengths, one reference a text."""
    scorers = {"bleu": BLEU(), "chrf": CHRF()}
    figures: dict[str, Any] = {"length_ratio": length_ratio(written, references)}
    intervals: dict[str, list[float]] = {}
    with _drawing(seed):
        for name, scorer in scorers.items():
            score = scorer.corpus_score(written, [references], n_bootstrap=max(num_samples, 1))
            figures[name] = score.score / 100
            if num_samples > 1:
                middle, half = score._mean / 100, score._ci / 100  # its only way to tell them
                intervals[name] = [max(middle - half, 0.0), min(middle + half, 1.0)]
    signatures = {name: scorer.get_signature().format() for name, scorer in scorers.items()}
    return {**figures, "signatures": signatures, "intervals": intervals}


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """sacreBLEU takes the seed of its bootstrap from the environment."""
    before = os.environ.get(_SEED)
    os.environ[_SEED] = str(seed)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SEED]
        else:
            os.environ[_SEED] = before


def summarization_metrics(
    written: Sequence[str], references: Sequence[str], num_samples: int, seed: int
) -> dict[str, Any]:
    """Mean F of ROUGE-1, -2, -L and -Lsum (Lin 2004), stemmed, and the ratio of lengths."""
    scorer = RougeScorer(list(ROUGE.values()), use_stemmer=True)
    scores = [
        scorer.score(_sentences(reference), _sentences(text))
        for reference, text in zip(references, written, strict=True)
    ]
    figures: dict[str, Any] = {"length_ratio": length_ratio(written, references)}
    intervals: dict[str, list[float]] = {}
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(scores), (num_samples, len(scores)))
    for name, theirs in ROUGE.items():
        values = np.array([score[theirs].fmeasure for score in scores])
        figures[name] = float(values.mean())
        if num_samples > 1:
            bounds = np.percentile(values[draws].mean(axis=1), _TAILS)
            intervals[name] = [float(bound) for bound in bounds]
    return {**figures, "intervals": intervals}


def length_ratio(written: Sequence[str], references: Sequence[str]) -> float:
    """Words written over words of the references."""
    words = sum(len(text.split()) for text in references)
    return sum(len(text.split()) for text in written) / max(words, 1)


def _sentences(text: str) -> str:
    """One sentence a line, which is what ROUGE-Lsum compares."""
    return text.replace(". ", ".\n")
