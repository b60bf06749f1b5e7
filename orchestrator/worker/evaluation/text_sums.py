"""Metrics of written texts as sums over rows: sacreBLEU's counts, rouge-score's F.

As `sums`, for the tasks whose models write; apart from it, since these libraries load slowly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from orchestrator.worker.evaluation.sums import Figures, RowSums, ratio
from orchestrator.worker.evaluation.texts import ROUGE


def translation_sums(written: Sequence[str], references: Sequence[str]) -> RowSums:
    """chrF and BLEU, from sacreBLEU's own counts of each text."""
    scorers: dict[str, Metric] = {"chrf": CHRF(), "bleu": BLEU()}
    parts = {
        name: np.array(scorer._extract_corpus_statistics(written, [references]), dtype=np.float64)
        for name, scorer in scorers.items()
    }
    ends = np.cumsum([part.shape[1] for part in parts.values()])[:-1]

    def figures(sums: np.ndarray) -> Figures:
        found = {}
        for (name, scorer), counts in zip(
            scorers.items(), np.split(sums, ends, axis=1), strict=True
        ):
            whole = counts.astype(np.int64)
            scores = [scorer._compute_score_from_stats(line).score for line in whole]
            found[name] = np.array(scores, dtype=np.float64) / 100
        return found

    return RowSums(np.hstack(list(parts.values())), figures)


def summarization_sums(written: Sequence[str], references: Sequence[str]) -> RowSums:
    """Mean F of ROUGE-L, -1 and -2."""
    names = ("rouge_l", "rouge1", "rouge2")
    scorer = RougeScorer([ROUGE[name] for name in names], use_stemmer=True)
    lines = []
    for text, reference in zip(written, references, strict=True):
        score = scorer.score(reference, text)
        lines.append([*(score[ROUGE[name]].fmeasure for name in names), 1.0])

    def figures(sums: np.ndarray) -> Figures:
        return {name: ratio(sums[:, n], sums[:, -1]) for n, name in enumerate(names)}

    return RowSums(np.array(lines, dtype=np.float64).reshape(-1, 4), figures)
