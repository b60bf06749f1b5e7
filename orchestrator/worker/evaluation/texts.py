"""Corpus metrics of written texts: sacreBLEU's and rouge-score's, with their intervals.

BLEU and chrF carry sacreBLEU's signature, without which their figures cannot be compared
(Post 2018, arXiv:1804.08771). Everything but the length ratio is between 0 and 1. Intervals are
percentile bootstraps over rows (Koehn 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

CONFIDENCE = 0.95
ROUGE = {"rouge1": "rouge1", "rouge2": "rouge2", "rouge_l": "rougeL", "rouge_lsum": "rougeLsum"}
"""Our name -> rouge-score's."""


def translation_metrics(
    written: Sequence[str], references: Sequence[str], num_samples: int, seed: int
) -> dict[str, Any]:
    """BLEU, chrF and the ratio of lengths, one reference a text."""
    scorers: dict[str, Metric] = {"bleu": BLEU(), "chrf": CHRF()}
    figures: dict[str, Any] = {"length_ratio": length_ratio(written, references)}
    intervals: dict[str, list[float]] = {}
    draws = _draws(len(written), num_samples, seed)
    for name, scorer in scorers.items():
        figures[name] = scorer.corpus_score(written, [references]).score / 100
        if num_samples > 1:
            # Counts of each text, of which a corpus score is made: as sacreBLEU's own bootstrap
            # does it, whose percentiles it does not tell.
            counts = np.array(scorer._extract_corpus_statistics(written, [references]))
            scores = [scorer._compute_score_from_stats(counts[d].sum(axis=0)).score for d in draws]
            intervals[name] = _percentiles(np.array(scores, dtype=np.float64) / 100)
    signatures = {name: scorer.get_signature().format() for name, scorer in scorers.items()}
    return {**figures, "signatures": signatures, "intervals": intervals}


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
    draws = _draws(len(scores), num_samples, seed)
    for name, theirs in ROUGE.items():
        values = np.array([score[theirs].fmeasure for score in scores])
        figures[name] = float(values.mean())
        if num_samples > 1:
            intervals[name] = _percentiles(values[draws].mean(axis=1))
    return {**figures, "intervals": intervals}


def length_ratio(written: Sequence[str], references: Sequence[str]) -> float:
    """Words written over words of the references."""
    words = sum(len(text.split()) for text in references)
    return sum(len(text.split()) for text in written) / max(words, 1)


def _draws(num_rows: int, num_samples: int, seed: int) -> np.ndarray:
    """(samples, rows): rows drawn with replacement."""
    return np.random.default_rng(seed).integers(0, num_rows, (num_samples, num_rows))


def _percentiles(values: np.ndarray) -> list[float]:
    tails = [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2]
    return [float(bound) for bound in np.percentile(values, tails)]


def _sentences(text: str) -> str:
    """One sentence a line, which is what ROUGE-Lsum compares."""
    return text.replace(". ", ".\n")
