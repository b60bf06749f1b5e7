"""Corpus metrics of written texts: sacreBLEU's and rouge-score's, with their intervals and floors.

BLEU and chrF carry sacreBLEU's signature, without which their figures cannot be compared
(Post 2018, arXiv:1804.08771). Everything but the length ratio is between 0 and 1. Intervals are
percentile bootstraps over rows (Koehn 2004). Floors are what asks no model: the source itself for a
translation (`copy_chrf`), the first sentence for a summary (`lead_rouge_l`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from orchestrator.worker.evaluation.resampling import percentiles

ROUGE = {"rouge1": "rouge1", "rouge2": "rouge2", "rouge_l": "rougeL", "rouge_lsum": "rougeLsum"}
"""Our name -> rouge-score's."""

_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s")


@dataclass(frozen=True, slots=True)
class Texts:
    """What was written for some rows, beside what was read and what should have been written."""

    written: Sequence[str]
    references: Sequence[str]
    sources: Sequence[str]


def translation_metrics(texts: Texts, num_samples: int, seed: int) -> dict[str, Any]:
    """BLEU, chrF and the ratio of lengths, one reference a text; what the sources would score."""
    written, references = texts.written, texts.references
    scorers: dict[str, Metric] = {"bleu": BLEU(), "chrf": CHRF()}
    figures: dict[str, Any] = {"length_ratio": length_ratio(written, references)}
    intervals: dict[str, list[float]] = {}
    draws = _draws(len(written), num_samples, seed)
    for name, scorer in scorers.items():
        figures[name] = scorer.corpus_score(written, [references]).score / 100
        figures[f"copy_{name}"] = scorer.corpus_score(texts.sources, [references]).score / 100
        if num_samples > 1:
            # Counts of each text, of which a corpus score is made: as sacreBLEU's own bootstrap
            # does it, whose percentiles it does not tell.
            counts = np.array(scorer._extract_corpus_statistics(written, [references]))
            scores = [scorer._compute_score_from_stats(counts[d].sum(axis=0)).score for d in draws]
            intervals[name] = percentiles(np.array(scores, dtype=np.float64) / 100)
    signatures = {name: scorer.get_signature().format() for name, scorer in scorers.items()}
    return {**figures, "signatures": signatures, "intervals": intervals}


def summarization_metrics(texts: Texts, num_samples: int, seed: int) -> dict[str, Any]:
    """Mean F of ROUGE-1, -2, -L and -Lsum (Lin 2004), stemmed, and the ratio of lengths; what the
    first sentences would score."""
    written, references = texts.written, texts.references
    scores = _rouge(written, references)
    lead = _rouge([first_sentence(text) for text in texts.sources], references)
    figures: dict[str, Any] = {"length_ratio": length_ratio(written, references)}
    intervals: dict[str, list[float]] = {}
    draws = _draws(len(scores), num_samples, seed)
    for name, theirs in ROUGE.items():
        values = np.array([score[theirs].fmeasure for score in scores])
        figures[name] = float(values.mean())
        figures[f"lead_{name}"] = float(np.mean([score[theirs].fmeasure for score in lead]))
        if num_samples > 1:
            intervals[name] = percentiles(values[draws].mean(axis=1))
    return {**figures, "intervals": intervals}


def first_sentence(text: str) -> str:
    """Up to the first full stop, question or exclamation mark that a space follows."""
    return _SENTENCE_ENDS.split(text.strip(), maxsplit=1)[0]


def length_ratio(written: Sequence[str], references: Sequence[str]) -> float:
    """Words written over words of the references."""
    words = sum(len(text.split()) for text in references)
    return sum(len(text.split()) for text in written) / max(words, 1)


def _rouge(written: Sequence[str], references: Sequence[str]) -> list[dict[str, Any]]:
    scorer = RougeScorer(list(ROUGE.values()), use_stemmer=True)
    return [
        scorer.score(_sentences(reference), _sentences(text))
        for reference, text in zip(references, written, strict=True)
    ]


def _draws(num_rows: int, num_samples: int, seed: int) -> np.ndarray:
    """(samples, rows): rows drawn with replacement."""
    return np.random.default_rng(seed).integers(0, num_rows, (num_samples, num_rows))


def _sentences(text: str) -> str:
    """One sentence a line, which is what ROUGE-Lsum compares."""
    return text.replace(". ", ".\n")
