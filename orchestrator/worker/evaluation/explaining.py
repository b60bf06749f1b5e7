"""Which words carry a classifier's decisions: integrated gradients on its embeddings.

Sundararajan et al. 2017 (arXiv:1703.01365), as Captum has it: the gradient of the decision is
summed along the straight way from a text of padding to the text. What is explained are the log-odds
of the label that was predicted, so that words add up to how much the text raises them
(completeness); what the sum misses is told as `delta`, and steps are doubled until it is small.

Called once at the end of an Attempt with the weights that are published. Ranks share the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from captum.attr import LayerIntegratedGradients
from transformers import PreTrainedTokenizerBase

from orchestrator.inspect.labels import LABEL
from orchestrator.inspect.values import is_extra
from orchestrator.specs import ExplanationsSpec
from orchestrator.worker.evaluation.classification import softmax
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.tasks.base import Encoded

FEWEST_STEPS, MOST_STEPS = 32, 512
SMALL_DELTA = 0.02  # of what the words of a text add up to
ROWS_AT_ONCE = 32  # interpolated texts in one forward and backward pass
MOST_ROWS = 200  # of a domain: many classes have fewer samples each


@dataclass(frozen=True, slots=True)
class Chosen:
    """A row that is explained."""

    row: int
    is_error: bool  # one of the worst errors, otherwise a sample of its class
    label: int
    predicted: int
    probability: float  # of the predicted label


@dataclass(frozen=True, slots=True)
class Explanation:
    """A row with what each of its words adds to the log-odds of the predicted label."""

    row: int
    is_error: bool
    label: str
    predicted: str
    probability: float
    words: tuple[tuple[str, float], ...]  # in the order of the text, as it is written
    rest: float  # of special tokens
    delta: float  # by which the sum misses the change of the log-odds, as a share of it
    steps: int


def chosen_rows(logits: np.ndarray, labels: np.ndarray, spec: ExplanationsSpec) -> list[Chosen]:
    """Samples of each class, evenly spread, then the most confident errors; each row once."""
    probabilities = softmax(logits)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(labels)), predicted]
    classes = np.unique(labels)
    room = max((MOST_ROWS - spec.worst_errors) // max(len(classes), 1), 1)
    samples: list[int] = []
    for number in classes:
        rows = np.flatnonzero(labels == number)
        count = min(spec.samples_per_class, room, len(rows))
        samples += rows[np.linspace(0, len(rows) - 1, count).round().astype(int)].tolist()
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.lexsort((wrong, -confidence[wrong]))][: spec.worst_errors].tolist()
    rows_of = [(row, False) for row in samples if row not in set(worst)]
    return [
        Chosen(row, is_error, int(labels[row]), int(predicted[row]), float(confidence[row]))
        for row, is_error in [*rows_of, *((row, True) for row in worst)]
    ]


def explained_split(
    evaluation: EvaluationPass,
    model: torch.nn.Module,
    encoded: Encoded,
    table: pa.Table,
    spec: ExplanationsSpec,
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """Explanations of one test split as documents, the same on every rank.

    Args:
        evaluation: The pass, with task and tokenizer.
        model: A classifier with whole weights, in evaluation mode, on the rank's device.
        encoded: The split.
        table: Its rows.
        spec: Which of them.
        names: The labels.
    """
    gang = evaluation.gang
    logits = evaluation.predict(model, encoded)
    chosen = chosen_rows(logits, encoded.targets, spec)
    mine = chosen[gang.rank :: gang.world_size]
    explainer = Explainer(evaluation, model, names)
    texts = _texts(table)
    found = [(row.row, explainer.explain(row, encoded[row.row], texts[row.row])) for row in mine]
    by_row = dict(pair for part in gang.gather(found) for pair in part)
    return [asdict(by_row[row.row]) for row in chosen]


def _texts(table: pa.Table) -> list[tuple[str, ...]]:
    """The texts of each row: one, or two of a pair."""
    roles = [role for role in table.column_names if role != LABEL and not is_extra(role)]
    return list(zip(*(table.column(role).to_pylist() for role in roles), strict=True))


class Explainer:
    """Integrated gradients of one model."""

    def __init__(self, evaluation: EvaluationPass, model: Any, names: Sequence[str]) -> None:
        self.evaluation = evaluation
        self.tokenizer = evaluation.tokenizer
        self.names = names
        # Steps of bf16 are too coarse to add up; 4-bit weights stay as they are.
        quantized = getattr(model, "is_quantized", False) is True
        self.model: Any = model if quantized else model.to(torch.float32)
        for parameter in model.parameters():
            parameter.requires_grad_(False)  # gradients of activations are all that is needed
        embeddings = self.model.get_input_embeddings()
        self.attribution = LayerIntegratedGradients(self._log_odds, embeddings)

    def explain(self, chosen: Chosen, row: dict[str, Any], texts: tuple[str, ...]) -> Explanation:
        """Of one row; steps are doubled until they add up."""
        batch = self.evaluation.task.collate([row], self.tokenizer)
        batch.pop("labels")
        inputs = {key: value.to(self.evaluation.device) for key, value in batch.items()}
        ids = inputs.pop("input_ids")
        steps = FEWEST_STEPS
        while True:
            scores, delta = self._attributed(ids, inputs, chosen.predicted, steps)
            if delta <= SMALL_DELTA or steps >= MOST_STEPS:
                break
            steps *= 2
        words, rest = joined_words(self.tokenizer, ids[0].tolist(), scores, texts)
        return Explanation(
            *(chosen.row, chosen.is_error, self.names[chosen.label]),
            predicted=self.names[chosen.predicted],
            probability=chosen.probability,
            words=tuple(words),
            rest=rest,
            delta=delta,
            steps=steps,
        )

    def _attributed(
        self, ids: torch.Tensor, inputs: dict[str, torch.Tensor], target: int, steps: int
    ) -> tuple[list[float], float]:
        """What each token adds, and by which share their sum misses the whole change."""
        names, values = tuple(inputs), tuple(inputs.values())
        baseline = self._baseline(ids)
        given = (names, target)
        scores = self.attribution.attribute(
            ids,
            baselines=baseline,
            additional_forward_args=(*values, given),
            n_steps=steps,
            internal_batch_size=ROWS_AT_ONCE,
        )
        tokens = scores.double().sum(dim=-1)[0]
        with torch.no_grad():
            whole = self._log_odds(ids, *values, given) - self._log_odds(baseline, *values, given)
        change = float(whole[0])
        missed = abs(float(tokens.sum()) - change) / max(abs(change), 0.1)
        return tokens.cpu().tolist(), missed

    def _log_odds(self, ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        *values, (names, target) = rest
        outputs: Any = self.model(input_ids=ids, **dict(zip(names, values, strict=True)))
        logits = outputs.logits.float()
        others = [number for number in range(logits.shape[1]) if number != target]
        odds: torch.Tensor = logits[:, target] - torch.logsumexp(logits[:, others], dim=1)
        return odds

    def _baseline(self, ids: torch.Tensor) -> torch.Tensor:
        """The text with padding for every token but the special ones."""
        tokenizer = self.tokenizer
        blank = tokenizer.pad_token_id
        if blank is None:
            blank = tokenizer.unk_token_id if tokenizer.unk_token_id is not None else 0
        special = torch.tensor(tokenizer.all_special_ids, device=ids.device)
        unknown = tokenizer.unk_token_id
        keeps = torch.isin(ids, special) & (ids != (unknown if unknown is not None else -1))
        return torch.where(keeps, ids, torch.full_like(ids, int(blank)))


def joined_words(
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[int],
    scores: Sequence[float],
    texts: tuple[str, ...],
) -> tuple[list[tuple[str, float]], float]:
    """Words as they are written with the sums of their tokens, and what special tokens have."""
    encoding: Any = tokenizer(*texts, truncation=True, max_length=len(ids))
    if not tokenizer.is_fast or list(encoding["input_ids"]) != list(ids):
        # A collator of the user's own, or a tokenizer that does not tell words: tokens as they are.
        tokens = tokenizer.convert_ids_to_tokens(list(ids))
        return [(str(t), float(s)) for t, s in zip(tokens, scores, strict=True)], 0.0
    words: list[tuple[str, float]] = []
    rest = 0.0
    before: tuple[int, int] | None = None
    for place, score in enumerate(scores):
        word, sequence = encoding.word_ids()[place], encoding.sequence_ids()[place]
        if word is None:
            rest += float(score)
            before = None
            continue
        if (sequence, word) == before:
            words[-1] = (words[-1][0], words[-1][1] + float(score))
            continue
        before = (sequence, word)
        span = encoding.word_to_chars(word, sequence_index=sequence or 0)
        words.append((texts[sequence or 0][span.start : span.end].strip(), float(score)))
    return words, rest


@dataclass(frozen=True, slots=True)
class TopWord:
    """A word of the explained rows that were predicted as one label."""

    word: str
    mean: float  # what it adds to the log-odds, in each of its places
    count: int


def top_words(explanations: Sequence[dict[str, Any]], label: str, most: int = 12) -> list[TopWord]:
    """The words that carry the decisions for a label, those that add most altogether first."""
    sums: dict[str, list[float]] = {}
    for entry in explanations:
        if entry["predicted"] == label:
            for word, score in _spoken(entry["words"]):
                sums.setdefault(word, []).append(score)
    found = [TopWord(word, sum(v) / len(v), len(v)) for word, v in sums.items()]
    carrying = [word for word in found if word.mean > 0]
    return sorted(carrying, key=lambda w: (-w.mean * w.count, w.word))[:most]


def _spoken(words: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Words in lower case, without what is no word."""
    for word, score in words:
        if any(sign.isalnum() for sign in word):
            yield word.lower(), score
