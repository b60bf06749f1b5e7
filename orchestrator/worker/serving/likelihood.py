"""Labels by the likelihood of their words, from a published causal model; called by `predict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from orchestrator.specs import TextClassification
from orchestrator.worker.models.loading import load_tokenizer, on_device
from orchestrator.worker.serving.base import Text
from orchestrator.worker.serving.predict import Prediction
from orchestrator.worker.tasks.label_likelihood import LabelLikelihoodTask

DEFAULT_LENGTH = 512


class LikelihoodPredictor:
    """A causal model that is asked as it was measured: same prompt, same examples, same words."""

    def __init__(
        self, task: LabelLikelihoodTask, model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self._task = task
        self._tokenizer = tokenizer
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = on_device(model, self._device)

    @classmethod
    def load(
        cls, folder: Path, spec: Mapping[str, Any], base: Path | None = None
    ) -> LikelihoodPredictor:
        """Reads a model folder.

        Args:
            folder: A published version, pulled.
            spec: The body of its resolved spec.
            base: Of an adapter, the whole model it belongs to.
        """
        length = spec.get("training", {}).get("max_length") or DEFAULT_LENGTH
        task = LabelLikelihoodTask(TextClassification.model_validate(spec["task"]), length)
        task.read_beside(folder)
        model: torch.nn.Module = task.build_model(base or folder, "auto")
        if base is not None:
            model = PeftModel.from_pretrained(model, folder, torch_device="cpu")
        return cls(task, model, load_tokenizer(folder))

    def predict(self, texts: Sequence[Text], *, batch_size: int = 32) -> list[Prediction]:
        """One Prediction a text or a pair of texts, in order; those of like length together.

        Probabilities are those of the labels among themselves: a softmax over their scores.
        """
        if not texts:
            return []
        names = self._task.names
        given = [(text,) if isinstance(text, str) else text for text in texts]
        encoded = self._task.rows(given, [names[0]] * len(given), self._tokenizer)
        order = sorted(range(len(given)), key=lambda row: int(encoded.lengths[row]))
        found: dict[int, Prediction] = {}
        at_once = max(1, batch_size // len(names))
        for start in range(0, len(order), at_once):
            rows = order[start : start + at_once]
            batch = self._task.collate_candidates([encoded[row] for row in rows], self._tokenizer)
            labels = batch.pop("labels").to(self._device)
            with torch.no_grad():
                inputs = {key: value.to(self._device) for key, value in batch.items()}
                scores = self._task.predictions(self._model(**inputs), labels)
            for row, chances in zip(rows, scores.softmax(dim=-1).tolist(), strict=True):
                probabilities = dict(zip(names, chances, strict=True))
                label = max(probabilities, key=probabilities.__getitem__)
                found[row] = Prediction(label, probabilities)
        return [found[row] for row in range(len(given))]
