"""Facts about a base model, from config.json and the headers of its weights; no torch.

Called by `storage.bases` (which finds the folder), and through it by the plan. Everything wrong
with a folder is told at once, at `model.base`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.adapters import AdapterFacts, adapter_problems
from orchestrator.inspect.architectures import (
    DENSE_HEADS,
    can_do,
    can_pack,
    is_known,
    knows_more_than_this,
)
from orchestrator.inspect.facts import Facts
from orchestrator.inspect.model_config import CONFIG_FILE, ModelConfig, read_config
from orchestrator.inspect.modules import TensorGroup, grouped, is_embedding, layer_of
from orchestrator.inspect.safetensors import BASE, Tensor, Weights, read_weights
from orchestrator.records import Record
from orchestrator.specs import FineTuneSpec
from orchestrator.specs.task_checks import WRITES_TEXT
from orchestrator.specs.task_views import task_views

TOKENIZER_FILES = (
    *("added_tokens.json", "merges.txt", "sentencepiece.bpe.model", "special_tokens_map.json"),
    *("spiece.model", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
    *("vocab.json", "vocab.txt"),
)
"""Files that decide how texts become tokens, by transformers' names."""

_VOCABULARIES = frozenset(TOKENIZER_FILES) - {
    *("added_tokens.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json")
}
_HASH_BYTES = 1 << 20
T = TypeVar("T")
_HEAD = re.compile(
    r"^(cls|lm_head|classifier|score|predictions|qa_outputs|head|decoder(?=\.(weight|bias)$)"
    r"|vocab_(transform|layer_norm|projector)|(generator|discriminator)_predictions)\b"
)


class ParameterCounts(Facts):
    """Parameters of the base, without the heads of the task it was pretrained for."""

    embeddings: int
    layers: tuple[int, ...] = Field(description="Of each layer, from the first; shared ones once.")
    other: int = Field(description="What is in no layer: poolers, final norms.")
    largest: int = Field(description="Of the largest single tensor.")
    heads: int = Field(default=0, description="Stored beside the base, of an earlier task.")

    @property
    def total(self) -> int:
        return self.embeddings + sum(self.layers) + self.other


class ModelFacts(Record):
    """What a base model is."""

    model_type: str
    architectures: tuple[str, ...]
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    intermediate_size: int
    vocab_size: int
    max_positions: int | None = Field(description="Tokens of the longest text; None: no limit.")
    tied_embeddings: bool
    attention_dropout: float
    parameters: ParameterCounts
    weights_bytes: int = Field(description="Of the base's parameters as they are stored.")
    dtype: str = Field(description="Of most parameters as they are stored: F32, BF16, F16, …")
    digest: str = Field(
        description="sha256 over config, weights and tokenizer, hex, or the hub's commit."
    )
    revision: str | None = Field(default=None, description="Commit, for a model of the hub.")
    tensors: tuple[TensorGroup, ...] = Field(
        default=(), description="Of the base, without heads; alike ones of all layers once."
    )
    adapter: AdapterFacts | None = Field(
        default=None, description="That the base is seen through, where training goes on with one."
    )

    def new_head_parameters(self, num_labels: int) -> int:
        """Of the classification head that is put on the base."""
        dense = self.hidden_size * (self.hidden_size + 1) if self.model_type in DENSE_HEADS else 0
        return dense + (self.hidden_size + 1) * num_labels

    @property
    def new_masked_head_parameters(self) -> int:
        """Of an encoder's head over the vocabulary, beside the table of words that it shares: a
        square layer, a norm and a bias of every word."""
        return self.hidden_size * (self.hidden_size + 3) + self.vocab_size


def inspect_model(folder: Path) -> ModelFacts:
    """Facts about a folder that `from_pretrained` would load.

    Raises:
        InvalidInput: It cannot be loaded, or not without running code from it; every reason.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        hint = "correct the path; a hub model is written hf://org/name"
        raise InvalidInput([Problem(f"the folder {folder} {what}", path=BASE, hint=hint)])
    problems: list[Problem] = []
    config = _gathered(problems, lambda: _config(folder))
    weights = _gathered(problems, lambda: read_weights(folder))
    tokenizer = sorted(name for name in TOKENIZER_FILES if (folder / name).is_file())
    if not has_vocabulary(tokenizer):
        problems.append(no_tokenizer(str(folder)))
    if problems or config is None or weights is None:
        raise InvalidInput(problems)
    files = [CONFIG_FILE, *weights.files, *tokenizer]
    return facts_of(config, weights, _digest(folder, files), str(folder))


def facts_of(
    config: ModelConfig, weights: Weights, digest: str, shown: str, revision: str | None = None
) -> ModelFacts:
    """The facts of a config and the tensors beside it; raises InvalidInput if they are unclear."""
    counted = [t for t in weights.tensors if t.is_parameter]
    used = [t for t in counted if not _HEAD.match(t.name)]
    table = max((t for t in used if _is_table(t)), key=lambda t: t.num_elements, default=None)
    parameters = _grouped(used, sum(t.num_elements for t in counted if _HEAD.match(t.name)))
    hidden = config.hidden_size or (table.shape[1] if table else None)
    layers = config.num_layers or len(parameters.layers)
    if not parameters.total or not hidden or not layers:
        message = f"{shown} does not look like a transformer: its sizes cannot be told"
        raise InvalidInput([Problem(message, path=BASE, hint="choose another base")])
    stored = Counter[str]()
    for tensor in used:
        stored[tensor.dtype] += tensor.num_elements
    return ModelFacts(
        model_type=config.model_type,
        architectures=config.architectures,
        hidden_size=hidden,
        num_layers=layers,
        num_heads=config.num_heads or 1,
        num_kv_heads=config.num_kv_heads or config.num_heads or 1,
        intermediate_size=config.intermediate_size or 4 * hidden,
        vocab_size=config.vocab_size or (table.shape[0] if table else 1),
        max_positions=config.max_positions,
        tied_embeddings=config.tied_embeddings,
        attention_dropout=config.attention_dropout,
        parameters=parameters,
        weights_bytes=sum(t.num_bytes for t in used),
        dtype=stored.most_common(1)[0][0],
        digest=digest,
        revision=revision,
        tensors=grouped(used),
    )


def model_problems(facts: ModelFacts, spec: FineTuneSpec) -> tuple[Problem, ...]:
    """What keeps this base from doing this job, as far as config and spec tell."""
    if spec.tasks:
        of_tasks = [model_problems(facts, view) for view in task_views(spec).values()]
        if facts.adapter is not None:
            hint = "publish the adapter with method.merge: true and start from that"
            message = "several tasks learn on a whole base, and this is an adapter"
            of_tasks.append((Problem(message, path=BASE, hint=hint),))
        return tuple(dict.fromkeys(problem for problems in of_tasks for problem in problems))
    return (
        *_unfit(facts, spec),
        *_too_long(facts, spec),
        *_too_many_frozen(facts, spec),
        *_unpackable(facts, spec),
        *adapter_problems(facts.tensors, facts.adapter, spec),
    )


def model_warnings(facts: ModelFacts, spec: FineTuneSpec) -> tuple[str, ...]:
    """What may go wrong with this base."""
    if spec.tasks:
        of_tasks = [model_warnings(facts, view) for view in task_views(spec).values()]
        return tuple(dict.fromkeys(warning for warnings in of_tasks for warning in warnings))
    if can_do(spec.task.type, facts.model_type):
        return ()
    return (
        f"model.base: '{facts.model_type}' is newer than what is known here; whether transformers "
        f"can do {spec.task.type} with it shows when it is loaded",
    )


def has_vocabulary(names: Sequence[str]) -> bool:
    """Whether files of these names make a tokenizer."""
    return any(name in _VOCABULARIES for name in names)


def no_tokenizer(shown: str) -> Problem:
    return Problem(
        f"{shown} holds no tokenizer (tokenizer.json or a vocabulary)",
        path=BASE,
        hint="copy the tokenizer's files of the same model beside its weights",
    )


_FITTING = {
    "text-classification": "an encoder such as bert, roberta, deberta-v2 or modernbert",
    "causal-lm": "a causal model such as gpt2, llama, qwen3 or smollm3",
    "masked-lm": "an encoder such as bert, roberta, deberta-v2 or modernbert",
    "denoising": "an encoder-decoder such as t5, bart or mbart",
    "translation": "an encoder-decoder such as marian, t5 or mbart, or a causal model",
    "summarization": "an encoder-decoder such as bart, t5 or pegasus, or a causal model",
}


def _unfit(facts: ModelFacts, spec: FineTuneSpec) -> Iterator[Problem]:
    task, kind = spec.task.type, facts.model_type
    if not can_do(task, kind) and (is_known(kind) or not knows_more_than_this()):
        yield Problem(
            f"a model of type '{kind}' cannot do {task}",
            path=BASE,
            hint=f"choose {_FITTING[task]}",
        )


def _unpackable(facts: ModelFacts, spec: FineTuneSpec) -> Iterator[Problem]:
    if spec.training.packs and not can_pack(spec.task.type, facts.model_type):
        yield Problem(
            f"a model of type '{facts.model_type}' cannot tell rows apart that lie side by side "
            f"({spec.task.type})",
            path="training.batching.packing",
            hint="write group_by_length: true instead",
        )


def _too_long(facts: ModelFacts, spec: FineTuneSpec) -> Iterator[Problem]:
    most, training = facts.max_positions, spec.training
    if most is None:
        return
    if training.max_length > most:
        yield Problem(
            f"the base reads at most {most} tokens, not {training.max_length}",
            path="training.max_length",
            hint=f"write {most} or less, or choose a base that reads longer texts",
        )
    target = training.max_target_length or 0
    if isinstance(spec.task, WRITES_TEXT) and target > most:
        yield Problem(
            f"the base writes at most {most} tokens, not {target}",
            path="training.max_target_length",
            hint=f"write {most} or less, or choose a base of longer texts",
        )


def _too_many_frozen(facts: ModelFacts, spec: FineTuneSpec) -> Iterator[Problem]:
    method = spec.method
    if method.type == "freeze" and (method.num_layers or 0) > facts.num_layers:
        yield Problem(
            f"the base has {facts.num_layers} layers, {method.num_layers} cannot be frozen",
            path="method.num_layers",
            hint=f"write {facts.num_layers} or less, or `all_layers: true`",
        )


def _config(folder: Path) -> ModelConfig:
    path = folder / CONFIG_FILE
    if not path.is_file():
        hint = "it is no model's folder, or only a part of one; is the model in a folder below it?"
        raise InvalidInput([Problem(f"{folder} has no {CONFIG_FILE}", path=BASE, hint=hint)])
    return read_config(path)


def _gathered(problems: list[Problem], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except InvalidInput as error:
        problems.extend(error.problems)
        return None


def _is_table(tensor: Tensor) -> bool:
    return len(tensor.shape) == 2 and is_embedding(tensor.name)


def _grouped(used: Sequence[Tensor], heads: int) -> ParameterCounts:
    """Sorts parameters by where they are; of two stacks (encoder, decoder) the longer counts."""
    stacks: dict[str, Counter[int]] = {}
    embeddings = other = 0
    for tensor in used:
        layer = layer_of(tensor.name)
        if layer is not None:
            stack, number = layer
            stacks.setdefault(stack, Counter())[number] += tensor.num_elements
        elif is_embedding(tensor.name):
            embeddings += tensor.num_elements
        else:
            other += tensor.num_elements
    longest = max(sorted(stacks, reverse=True), key=lambda name: len(stacks[name]), default=None)
    layers = stacks.pop(longest) if longest is not None else Counter[int]()
    return ParameterCounts(
        embeddings=embeddings,
        layers=tuple(layers[at] for at in sorted(layers)),
        other=other + sum(sum(stack.values()) for stack in stacks.values()),
        largest=max((t.num_elements for t in used), default=0),
        heads=heads,
    )


def folder_digest(folder: Path) -> str:
    """sha256 over the names and bytes of every file of a folder but the hidden ones."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = (f.as_posix() for f in files if not any(part.startswith(".") for part in f.parts))
    return _digest(folder, list(names))


def _digest(folder: Path, names: Sequence[str]) -> str:
    """sha256 over the sorted names and the sha256 of each file."""
    digest = hashlib.sha256()
    for name in sorted(names):
        status = (folder / name).stat()
        content = _file_digest(folder / name, status.st_size, status.st_mtime_ns)
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    """Size and time of change are part of the key: a changed file is read again."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
