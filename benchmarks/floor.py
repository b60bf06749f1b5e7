"""Fine-tuning against its floor: `python -m benchmarks.floor SPEC [--model name@N --store URL]`.

The baseline is a logistic regression on the frozen base's embeddings (mean of the last hidden
states, normalized), trained on the very rows the spec trains on. Printed by domain: the accuracy on
test of the baseline and, where a published model is named, of the model, from its metrics.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer

from orchestrator.inspect.data import read_tables
from orchestrator.specs import FineTuneSpec
from orchestrator.specs.data import training_domains
from orchestrator.specs.loading import load_spec
from orchestrator.storage.bases import BasePlaces, fetch_base, resolve_base
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry
from orchestrator.worker.data.collating import pad_rows

BATCH_SIZE = 64
MAX_ITERATIONS = 2000


def floors(spec: FineTuneSpec, base_dir: Path, cache: Path) -> dict[str, tuple[int, float]]:
    """domain -> (test rows, accuracy of the logistic regression)."""
    base = fetch_base(resolve_base(spec.model, BasePlaces(base_dir, cache, None)))
    tables = read_tables(spec, base_dir=base_dir, fetch=None)
    train = pa.concat_tables([tables[name, "train"] for name in training_domains(spec.data)])
    length = spec.training.max_length
    classifier = LogisticRegression(max_iter=MAX_ITERATIONS)
    classifier.fit(embeddings(base, texts(train), length), labels(train))
    found = {}
    for (domain, split), table in tables.items():
        if split == "test":
            features = embeddings(base, texts(table), length)
            found[domain] = len(features), float(classifier.score(features, labels(table)))
    return found


def texts(table: pa.Table) -> list[str]:
    return list(table.column("text").to_pylist())


def labels(table: pa.Table) -> list[str]:
    return list(table.column("label").to_pylist())


def embeddings(base: Path, rows: list[str], max_length: int) -> np.ndarray:
    """(rows, hidden) of unit length."""
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    model = AutoModel.from_pretrained(base, local_files_only=True, use_safetensors=True)
    token_ids = tokenizer(rows, truncation=True, max_length=max_length)["input_ids"]
    order = sorted(range(len(rows)), key=lambda index: len(token_ids[index]))
    found = np.zeros((len(rows), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        batch = pad_rows([token_ids[index] for index in chosen], tokenizer)
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        found[chosen] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--model", help="name@N of a published model to compare")
    parser.add_argument("--store", default="models")
    options = parser.parse_args()
    loaded = load_spec(options.spec)
    published: dict[str, dict[str, float]] = {}
    if options.model:
        registry = ModelRegistry(open_store(options.store))
        published = registry.read_json(registry.resolve(options.model), "metrics.json")["test"]
    cache = Path.home() / ".cache" / "orchestrator"
    for domain, (rows, floor) in floors(loaded.spec.spec, loaded.base_dir, cache).items():
        line = f"{domain:12} {rows:5} rows  floor {floor:.3f}"
        if domain in published:
            accuracy = published[domain]["accuracy"]
            line += f"  model {accuracy:.3f}  gain {accuracy - floor:+.3f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
