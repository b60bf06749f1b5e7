"""Texts from a published model that writes; called by `orchestrator predict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from peft import PeftModel
from pydantic import TypeAdapter
from transformers import PreTrainedTokenizerBase

from orchestrator.specs import CausalLm, GenerationSpec, Summarization, TaskSpec, Translation
from orchestrator.worker.data.prompts import prompt_ids
from orchestrator.worker.evaluation.generation import Writer
from orchestrator.worker.models.loading import load_tokenizer, on_device
from orchestrator.worker.serving.base import Text
from orchestrator.worker.tasks.causal_lm import CausalLmTask
from orchestrator.worker.tasks.writing import writing_of, writing_task

DEFAULT_LENGTH = 512
DEFAULT_NEW_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Written:
    """What the model made of one text."""

    text: str

    def fields(self) -> dict[str, Any]:
        """What a row is written out with."""
        return {"predicted_text": self.text}


@dataclass(frozen=True, slots=True)
class TextPredictor:
    """A model ready to write; `load` reads safetensors and runs no code of the folder."""

    task: CausalLm | Translation | Summarization
    folder: Path  # of the whole model
    writer: Writer
    max_length: int
    labels: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path, spec: Mapping[str, Any], base: Path | None = None) -> TextPredictor:
        """Reads a model folder.

        Args:
            folder: A published version, pulled.
            spec: The body of its resolved spec.
            base: Of an adapter, the whole model it belongs to.
        """
        task = TypeAdapter[TaskSpec](TaskSpec).validate_python(spec["task"])
        assert isinstance(task, CausalLm | Translation | Summarization)
        training = spec.get("training", {})
        length = training.get("max_length") or DEFAULT_LENGTH
        told = spec.get("evaluation", {}).get("generation") or {}
        settings = GenerationSpec(**told)
        if settings.max_new_tokens is None:
            settings = settings.model_copy(update={"max_new_tokens": DEFAULT_NEW_TOKENS})
        tokenizer, whole = load_tokenizer(folder), base or folder
        if isinstance(task, CausalLm):
            model, after_prompt = CausalLmTask(task, length).build_model(whole, "auto"), True
        else:
            target = training.get("max_target_length") or length
            worker = writing_task(task, whole, length, target)
            model, after_prompt = worker.build_model(whole, "auto"), worker.writes_after_prompt
        answering: torch.nn.Module = model
        if base is not None:
            answering = PeftModel.from_pretrained(model, folder, torch_device="cpu")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        writer = Writer(on_device(answering, device), tokenizer, settings, after_prompt)
        return cls(task, whole, writer, length)

    def predict(self, texts: Sequence[Text], *, batch_size: int = 32) -> list[Written]:
        """One text a text, in order."""
        alone = [text if isinstance(text, str) else text[0] for text in texts]
        settings = self.writer.settings.model_copy(update={"batch_size": batch_size})
        writer = replace(self.writer, settings=settings)
        return [Written(text) for text in writer.write(self._prompts(alone))]

    def _prompts(self, texts: Sequence[str]) -> list[list[int]]:
        tokenizer = self.writer.tokenizer
        if isinstance(self.task, CausalLm):
            if self.task.rows == "chat":
                texts = [_opened(tokenizer, text) for text in texts]
            return prompt_ids(texts, tokenizer, self.max_length)
        writing = writing_of(self.task)
        rows = pa.table({writing.reads: list(texts), writing.writes: [""] * len(texts)})
        task = writing_task(self.task, self.folder, self.max_length, self.max_length)
        return task.encode(rows, tokenizer).prompts


def _opened(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """A user's message in the model's template, up to where the assistant speaks."""
    chat = [{"role": "user", "content": text}]
    opened = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert isinstance(opened, str)
    return opened
