"""A base that has no weights yet: the config of an architecture, and a tokenizer of its own.

The tokenizer is a byte-level BPE made of the training rows; it follows from them, from the spec and
from the release of the library alone, so that the plan and every node make the same. Called by the
plan, and by workers on nodes that do not share its folders.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa

from orchestrator.inspect.labels import LABEL
from orchestrator.inspect.model import ModelFacts, folder_digest
from orchestrator.inspect.model_by_config import inspect_config
from orchestrator.inspect.model_config import CONFIG_FILE
from orchestrator.inspect.tables import SplitKey
from orchestrator.inspect.tokens import sample_rows, texts_of
from orchestrator.specs.data import DataSpec, training_domains
from orchestrator.specs.model import FreshModel

FORMAT = 1
MAX_TEXTS = 200_000  # of each domain: more do not make a better tokenizer
SENTINELS = 100  # T5's
_UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class _Words:
    """Tokens that are no text, by what they are for, and where they stand around one."""

    special: Mapping[str, str]
    single: str
    pair: str
    sentinels: int = 0

    @property
    def all(self) -> list[str]:
        """By their numbers."""
        return [*self.special.values(), *(f"<extra_id_{n}>" for n in range(self.sentinels))]

    def id(self, name: str) -> int:
        return list(self.special).index(name)


_ENDED = {"pad_token": "<pad>", "eos_token": "</s>", "mask_token": "<mask>"}
_BEGUN = {**_ENDED, "bos_token": "<s>"}
_WORDS: Mapping[str, _Words] = {
    "t5": _Words(_ENDED, "$A </s>", "$A $B </s>", SENTINELS),
    "marian": _Words(_ENDED, "$A </s>", "$A $B </s>"),
    "bart": _Words(_BEGUN, "<s> $A </s>", "<s> $A </s> $B </s>"),
    "llama": _Words(
        {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}, "<s> $A", "<s> $A $B"
    ),
    "bert": _Words(
        {
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        },
        "[CLS] $A [SEP]",
        "[CLS] $A [SEP] $B:1 [SEP]:1",
    ),
}


def fresh_folder(
    fresh: FreshModel, data: DataSpec, tables: Mapping[SplitKey, pa.Table], cache: Path
) -> Path:
    """A folder with config and tokenizer, made once and kept in the cache.

    Args:
        fresh: The architecture.
        data: Says which domains are learned from.
        tables: Rows by split.
        cache: Local folder.
    """
    texts = list(_training_texts(data, tables))
    digest = hashlib.sha256(fresh.model_dump_json().encode())
    digest.update(f"{FORMAT} {metadata.version('tokenizers')}".encode())
    for text in texts:
        digest.update(text.encode())
        digest.update(b"\0")
    folder = cache / "fresh" / digest.hexdigest()[:32]
    if not folder.is_dir():
        part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        part.mkdir(parents=True)
        write_fresh(fresh, texts, part)
        _put(part, folder)
    return folder


def fresh_facts(fresh: FreshModel, folder: Path) -> ModelFacts:
    """Facts about a folder of `fresh_folder`; the digest is that of config and tokenizer."""
    facts = inspect_config(folder / CONFIG_FILE, fresh.shown)
    return facts.model_copy(update={"digest": folder_digest(folder)})


def write_fresh(fresh: FreshModel, texts: list[str], folder: Path) -> None:
    """Config and tokenizer, by the names that transformers reads."""
    words = _WORDS[fresh.architecture]
    tokenizer = _tokenizer(words, fresh.vocabulary_size, texts)
    tokenizer.save(str(folder / "tokenizer.json"))
    longest = _UNLIMITED if fresh.architecture == "t5" else fresh.max_positions
    told = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest,
        "clean_up_tokenization_spaces": False,
        **words.special,
    }
    _write(folder / "tokenizer_config.json", told)
    config = _CONFIGS[fresh.architecture](fresh, words)
    config["vocab_size"] = tokenizer.get_vocab_size()
    _write(folder / CONFIG_FILE, config)


def _training_texts(data: DataSpec, tables: Mapping[SplitKey, pa.Table]) -> Iterator[str]:
    for domain in training_domains(data):
        rows = sample_rows(tables[domain, "train"], MAX_TEXTS)
        for role in rows.column_names:
            if role != LABEL:
                yield from texts_of(rows, role)


def _tokenizer(words: _Words, size: int, texts: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=words.all,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=words.single,
        pair=words.pair,
        special_tokens=[(word, number) for number, word in enumerate(words.all)],
    )
    return tokenizer


def _t5(fresh: FreshModel, words: _Words) -> dict[str, Any]:
    return {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "d_model": fresh.hidden_size,
        "d_kv": fresh.hidden_size // fresh.heads,
        "d_ff": _inner(fresh),
        "num_layers": fresh.layers,
        "num_decoder_layers": fresh.layers,
        "num_heads": fresh.heads,
        "dropout_rate": fresh.dropout,
        "feed_forward_proj": "relu",
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        "pad_token_id": words.id("pad_token"),
        "eos_token_id": words.id("eos_token"),
        "decoder_start_token_id": words.id("pad_token"),
    }


def _two_stacks(fresh: FreshModel, words: _Words) -> dict[str, Any]:
    """What BART and Marian have in common."""
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {
            "layers": fresh.layers,
            "attention_heads": fresh.heads,
            "ffn_dim": _inner(fresh),
        }.items()
    }
    return {
        "d_model": fresh.hidden_size,
        **sides,
        "max_position_embeddings": fresh.max_positions,
        "dropout": fresh.dropout,
        "scale_embedding": True,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        "pad_token_id": words.id("pad_token"),
        "eos_token_id": words.id("eos_token"),
        "forced_eos_token_id": None,
    }


def _marian(fresh: FreshModel, words: _Words) -> dict[str, Any]:
    return {
        "model_type": "marian",
        "architectures": ["MarianMTModel"],
        **_two_stacks(fresh, words),
        "share_encoder_decoder_embeddings": True,
        "bos_token_id": None,
        "decoder_start_token_id": words.id("pad_token"),
    }


def _bart(fresh: FreshModel, words: _Words) -> dict[str, Any]:
    return {
        "model_type": "bart",
        "architectures": ["BartForConditionalGeneration"],
        **_two_stacks(fresh, words),
        "bos_token_id": words.id("bos_token"),
        "decoder_start_token_id": words.id("eos_token"),
    }


def _llama(fresh: FreshModel, words: _Words) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": fresh.hidden_size,
        "num_hidden_layers": fresh.layers,
        "num_attention_heads": fresh.heads,
        "num_key_value_heads": fresh.heads,
        "intermediate_size": _inner(fresh),
        "max_position_embeddings": fresh.max_positions,
        "attention_dropout": fresh.dropout,
        "tie_word_embeddings": True,
        "pad_token_id": words.id("pad_token"),
        "bos_token_id": words.id("bos_token"),
        "eos_token_id": words.id("eos_token"),
    }


def _bert(fresh: FreshModel, words: _Words) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "hidden_size": fresh.hidden_size,
        "num_hidden_layers": fresh.layers,
        "num_attention_heads": fresh.heads,
        "intermediate_size": _inner(fresh),
        "max_position_embeddings": fresh.max_positions,
        "hidden_dropout_prob": fresh.dropout,
        "attention_probs_dropout_prob": fresh.dropout,
        "type_vocab_size": 2,
        "tie_word_embeddings": True,
        "pad_token_id": words.id("pad_token"),
    }


_CONFIGS: Mapping[str, Callable[[FreshModel, _Words], dict[str, Any]]] = {
    "t5": _t5,
    "marian": _marian,
    "bart": _bart,
    "llama": _llama,
    "bert": _bert,
}


def _inner(fresh: FreshModel) -> int:
    return fresh.feed_forward_size or 4 * fresh.hidden_size


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")


def _put(part: Path, folder: Path) -> None:
    """Under its name at once, unless another process was faster."""
    try:
        part.rename(folder)
    except OSError:
        shutil.rmtree(part)
        if not folder.is_dir():
            raise
