"""A base model small enough to train in a blink, and the Launch of a job on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

from orchestrator.records import Identity, Launch
from orchestrator.specs import API_VERSION, FineTune
from orchestrator.worker.training import arguments

WORDS = ("good", "great", "fine", "bad", "poor", "awful", "the", "camera", "movie", "is", "very")
GOOD, BAD = ("good", "great", "fine"), ("bad", "poor", "awful")


def write_base(folder: Path, dropout: float = 0.0, *, masks: bool = False) -> Path:
    """A two-layer BERT with random weights and a word-level tokenizer."""
    more = ("[MASK]",) if masks else ()
    vocab = {word: n for n, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *more))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]" if masks else None,
        model_max_length=32,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
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


def write_causal_base(folder: Path) -> Path:
    """A two-layer Llama with random weights; its texts begin with [CLS] and end with [SEP]."""
    tokenizer = _tokenizer("[CLS] $A", bos_token="[CLS]", eos_token="[SEP]")
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    set_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=64,
        max_position_embeddings=64,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_seq2seq_base(folder: Path, dropout: float = 0.0, *, masks: bool = False) -> Path:
    """A T5 of two layers on each side with random weights."""
    masked = {"mask_token": "[MASK]"} if masks else {}
    tokenizer = _tokenizer("$A [SEP]", eos_token="[SEP]", **masked)
    tokenizer.save_pretrained(folder)
    set_seed(7)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        dropout_rate=dropout,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=0,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} [SEP] {% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)


def _tokenizer(template: str, **special: str) -> PreTrainedTokenizerFast:
    vocab = {word: n for n, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *LANGUAGE))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", **special
    )


def texts(num_rows: int) -> dict[str, list[str]]:
    """Texts of differing length: for causal language modelling."""
    return {"text": rows(num_rows)["text"]}


def pairs(num_rows: int) -> dict[str, list[str]]:
    """Word for word translations of differing length."""
    source = rows(num_rows)["text"]
    target = [" ".join(TRANSLATED.get(word, word) for word in text.split()) for text in source]
    return {"source": source, "target": target}


TRANSLATED = {"the": "die", "camera": "kamera", "is": "ist", "very": "sehr", "good": "gut"}
LANGUAGE = (*WORDS, *TRANSLATED.values(), "=>", ":", "user", "assistant", "system")


def long_texts(num_rows: int) -> dict[str, list[str]]:
    """Texts of up to 40 words, of which some become several rows."""
    return {
        "text": [" ".join([text] * (1 + n % 4)) for n, text in enumerate(texts(num_rows)["text"])]
    }


def shard_everything() -> None:
    """Lets ZeRO 3 shard weights as small as these too; it would leave them whole."""
    whole = arguments.deepspeed_config

    def sharded(*given: Any) -> dict[str, Any]:
        config = whole(*given)
        if config["zero_optimization"]["stage"] == 3:
            config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return config

    arguments.deepspeed_config = sharded


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
    sections["evaluation"] = {"batch_size": 8, **sections["evaluation"]}
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
