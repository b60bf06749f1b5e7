"""Facts with round numbers, so that expected values can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.control.admission.memory import MemoryCase
from orchestrator.control.admission.trainable import trained_model
from orchestrator.inspect.data import DataFacts, LengthFacts, SplitFacts
from orchestrator.inspect.hardware import Gpu, HardwareFacts
from orchestrator.inspect.model import ModelFacts, ParameterCounts
from orchestrator.inspect.tokens import TokenFacts
from orchestrator.specs import (
    API_VERSION,
    FineTune,
    FreezeMethod,
    FullMethod,
    Split,
    TextClassification,
)

GB = 1_000_000_000

CLASSIFY = TextClassification(type="text-classification")
FULL = FullMethod(type="full")
FREEZE_ONE = FreezeMethod(type="freeze", num_layers=1)
FREEZE_ALL = FreezeMethod(type="freeze", all_layers=True)


def tiny_model(**changes: Any) -> ModelFacts:
    """982 parameters; with a head of two labels (2 x (8 + 1) = 18) exactly 1,000."""
    values: dict[str, Any] = {
        "model_type": "bert",
        "architectures": ("BertModel",),
        "hidden_size": 8,
        "num_layers": 2,
        "num_heads": 2,
        "num_kv_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 30,
        "max_positions": 512,
        "tied_embeddings": True,
        "attention_dropout": 0.1,
        "parameters": ParameterCounts(
            embeddings=400, layers=(250, 250), other=82, largest=240, heads=0
        ),
        "weights_bytes": 3928,
        "dtype": "F32",
        "digest": "b" * 64,
    }
    return ModelFacts(**{**values, **changes})


def case(method: FullMethod | FreezeMethod = FULL, **changes: Any) -> MemoryCase:
    """One CPU worker, plain fp32 DDP, 4 rows of 16 tokens."""
    plain = MemoryCase(
        model=trained_model(tiny_model(), CLASSIFY, method, 2),
        strategy="ddp",
        zero_stage=0,
        precision="fp32",
        offload="none",
        workers=1,
        on_gpu=False,
        micro_batch_size=4,
        length=16,
        num_labels=2,
        checkpointing=False,
        evaluation_rows=1,
    )
    return replace(plain, **changes)


def machine(**changes: Any) -> HardwareFacts:
    """4 cores, 100 GB of memory and of disk, no GPU."""
    values: dict[str, Any] = {
        "cpus": 4,
        "memory_bytes": 100 * GB,
        "available_memory_bytes": 90 * GB,
        "disk_path": "/",
        "disk_free_bytes": 100 * GB,
        "shm_bytes": 10 * GB,
    }
    return HardwareFacts(**{**values, **changes})


def gpu(
    index: int = 0, name: str = "NVIDIA A100-SXM4-80GB", size_gb: float = 80, **more: Any
) -> Gpu:
    size = int(size_gb * GB)
    capability = more.get("compute_capability", 8.0)
    return Gpu(
        index=index,
        name=name,
        memory_bytes=size,
        free_memory_bytes=size,
        compute_capability=capability,
    )


def split(domain: str, name: Split, rows: int, *, derived: bool = False) -> SplitFacts:
    counts = {"bad": rows // 2, "good": rows - rows // 2}
    lengths = LengthFacts(mean=40.0, p95=60.0, max=90)
    return SplitFacts(domain, name, rows, f"{domain}-{name}", counts, derived, lengths)


def data(*splits: SplitFacts, warnings: tuple[str, ...] = ()) -> DataFacts:
    """Camera with 1,000 rows to learn from, and movie to measure on, unless others are given."""
    chosen = splits or (
        split("camera", "train", 1000),
        split("camera", "valid", 100, derived=True),
        split("camera", "test", 200),
        split("movie", "test", 300),
    )
    by_key = {(facts.domain, facts.split): facts for facts in chosen}
    return DataFacts(by_key, ("bad", "good"), (), warnings)


def tokens(
    facts: DataFacts,
    *,
    mean: float = 10.0,
    p95: int = 14,
    longest: int = 20,
    max_length: int = 16,
    cut: float = 0.05,
) -> dict[tuple[str, Split], TokenFacts]:
    """The same lengths in every split, all rows counted."""
    return {
        key: TokenFacts(
            domain=found.domain,
            split=found.split,
            num_sampled=found.num_rows,
            mean=mean,
            p95=p95,
            max=longest,
            mean_kept=min(mean, max_length),
            truncated_share=cut,
        )
        for key, found in facts.splits.items()
    }


def spec(**sections: Any) -> FineTune:
    """The camera job; keyword arguments replace sections of its body."""
    body: dict[str, Any] = {
        "model": {"base": "base"},
        "task": {"type": "text-classification"},
        "data": {
            "domains": {
                "camera": {"train": [{"path": "train.jsonl"}], "test": [{"path": "test.jsonl"}]},
                "movie": {"test": [{"path": "s3://bucket/movie.jsonl"}]},
            }
        },
        "training": {"max_length": 16},
    }
    document = {"apiVersion": API_VERSION, "kind": "FineTune", "metadata": {"name": "reviews"}}
    return FineTune.model_validate({**document, "spec": {**body, **sections}})
