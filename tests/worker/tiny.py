"""A base model small enough to train in a blink, and the Launch of a job on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

from orchestrator.records import Identity, Launch
from orchestrator.specs import API_VERSION, FineTune

WORDS = ("good", "great", "fine", "bad", "poor", "awful", "the", "camera", "movie", "is", "very")
GOOD, BAD = ("good", "great", "fine"), ("bad", "poor", "awful")


def write_base(folder: Path, dropout: float = 0.0) -> Path:
    """A two-layer BERT with random weights and a word-level tokenizer."""
    vocab = {word: n for n, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
    )
    fast.save_pretrained(folder)
    set_seed(7)
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def rows(num_rows: int) -> dict[str, list[str]]:
    """Texts of differing length whose label is told by one word."""
    texts, labels = [], []
    for number in range(num_rows):
        words = GOOD if number % 2 else BAD
        filler = ["very"] * (number % 5)
        texts.append(" ".join(["the", "camera", "is", *filler, words[number % 3]]))
        labels.append("positive" if number % 2 else "negative")
    return {"text": texts, "label": labels}


def launch(base: Path, scratch: Path, **spec: Any) -> Launch:
    """A Launch with a resolved spec; keyword arguments replace sections of it."""
    sections: dict[str, Any] = {
        "model": {"base": str(base)},
        "task": {"type": "text-classification", "labels": ["negative", "positive"]},
        "data": {
            "domains": {
                "toy": {"train": [{"path": "/toy.jsonl"}], "test": [{"path": "/toy.jsonl"}]}
            },
            "train_on": ["toy"],
        },
        "training": {"epochs": 1, "warmup_ratio": 0.0, "max_length": 16},
        "engine": {"zero_stage": 2, "micro_batch_size": 8},
        "selection": {"metric": "toy/macro_f1", "mode": "max"},
        "evaluation": {"metrics": ["accuracy"]},
        "output": {"store": str(scratch / "store"), "name": "toy"},
    }
    sections.update(spec)
    written = {"apiVersion": API_VERSION, "kind": "FineTune", "metadata": {"name": "toy"}}
    return Launch(
        job="job-01arz3ndektsv4rrffq69g5fav",
        attempt=1,
        spec=FineTune.model_validate({**written, "spec": sections}),
        written="",
        identity=Identity(run="0" * 64, data={}, base="1" * 64, recipe="test"),
        store=str(scratch / "store"),
        base_path=str(base),
        cache=str(scratch / "cache"),
        scratch=str(scratch),
        submitted_at=0.0,
    )
