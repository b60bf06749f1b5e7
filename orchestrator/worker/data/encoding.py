"""From a table of a split to encoded rows, through the node's cache of them.

Which rows a key stands for is said by their contents, by the tokenizer's files, by what of the spec
decides how a task encodes, and by the versions of what does it. Called by the training function.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from orchestrator.inspect.files import file_digest
from orchestrator.specs import FineTuneSpec
from orchestrator.worker.data.splits import table_digest
from orchestrator.worker.data.stored import RowCache
from orchestrator.worker.tasks.base import Encoded, HidesTokens, Task

FORMAT = 2
_LIBRARIES = ("tokenizers", "transformers")
_TOKENIZER_FILES = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
    *("vocab*", "merges*", "*.model", "*.spm", "*.bpe", "*.tiktoken"),
)


@dataclass(frozen=True, slots=True)
class RowEncoder:
    """Encodes tables as one task and tokenizer do, or reads what they made of equal rows before."""

    task: Task
    tokenizer: PreTrainedTokenizerBase
    cache: RowCache
    settings: str  # digest of all but the rows

    @classmethod
    def of(
        cls, spec: FineTuneSpec, task: Task, tokenizer: PreTrainedTokenizerBase, place: Place
    ) -> RowEncoder:
        """For the task of a resolved spec; `place` says where its tokenizer and the cache are."""
        how = {
            "format": FORMAT,
            "task": [task.version, spec.task.model_dump(mode="json", exclude_none=True)],
            "lengths": [spec.training.max_length, spec.training.max_target_length],
            "tokenizer": [type(tokenizer).__name__, _tokenizer_digests(place.tokenizer)],
            "libraries": [metadata.version(name) for name in _LIBRARIES],
        }
        return cls(task, tokenizer, place.cache, _digest(how))

    def __call__(self, table: pa.Table) -> Encoded:
        key = _digest([self.settings, table_digest(table)])[:40]
        rows = self.cache.rows(key, lambda: self._encode(table))
        if isinstance(self.task, HidesTokens):
            return self.task.hidden(rows, self.tokenizer)
        return rows

    def _encode(self, table: pa.Table) -> Encoded:
        with _left_as_it_is(self.tokenizer):
            return self.task.encode(table, self.tokenizer)


@dataclass(frozen=True, slots=True)
class Place:
    """Of the tokenizer's files, and of encoded rows on this node."""

    tokenizer: Path
    cache: RowCache


def _tokenizer_digests(folder: Path) -> dict[str, str]:
    found = {path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)}
    return {path.name: file_digest(path) for path in sorted(found) if path.is_file()}


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


@contextmanager
def _left_as_it_is(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """A fast tokenizer remembers how it cut last, and would be published so: or not, by chance."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        yield
        return
    cut, filled = backend.truncation, backend.padding
    try:
        yield
    finally:
        backend.no_truncation() if cut is None else backend.enable_truncation(**cut)
        backend.no_padding() if filled is None else backend.enable_padding(**filled)
