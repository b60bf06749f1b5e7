"""Bases without weights: their tokenizer is made of the rows, and always the same."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from orchestrator.inspect.fresh import fresh_facts, fresh_folder, write_fresh
from orchestrator.specs import DataSpec
from orchestrator.specs.model import FreshModel

DATA = DataSpec.model_validate(
    {
        "domains": {
            "camera": {"train": [{"path": "a"}], "test": [{"path": "b"}]},
            "movie": {"train": [{"path": "c"}], "test": [{"path": "d"}]},
        },
        "train_on": ["camera"],
    }
)
TEXTS = [f"The camera number {n} of {n % 7} is very gööd, and its lens too." for n in range(200)]


def tables(camera: list[str], movie: list[str]) -> dict[tuple[str, str], pa.Table]:
    labels = ["x"] * len(camera)
    return {
        ("camera", "train"): pa.table({"text": camera, "label": labels}),
        ("camera", "test"): pa.table({"text": ["seen at the end"], "label": ["x"]}),
        ("movie", "train"): pa.table({"text": movie, "label": ["x"] * len(movie)}),
    }


def fresh(architecture: str = "t5", **changes: int) -> FreshModel:
    sizes = {"hidden_size": 32, "layers": 2, "heads": 2, "vocabulary_size": 600, **changes}
    return FreshModel.model_validate({"architecture": architecture, **sizes})


def test_the_tokenizer_gives_every_text_back(tmp_path: Path) -> None:
    folder = fresh_folder(fresh(), DATA, tables(TEXTS, []), tmp_path)  # type: ignore[arg-type]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "Never seen: ünïcode — 漢字\n  spaces\t"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    ids = tokenizer.encode("The camera").ids
    assert ids[-1] == tokenizer.token_to_id("</s>") == 1
    assert tokenizer.token_to_id("<extra_id_99>") is not None
    assert tokenizer.get_vocab_size() <= 600


def test_it_is_made_of_the_rows_that_are_learned_from(tmp_path: Path) -> None:
    def digest(camera: list[str], movie: list[str], model: FreshModel) -> str:
        folder = fresh_folder(model, DATA, tables(camera, movie), tmp_path)  # type: ignore[arg-type]
        return fresh_facts(model, folder).digest

    one = digest(TEXTS, ["a movie"], fresh())
    assert digest(TEXTS, ["another movie"], fresh()) == one
    assert digest([*TEXTS, "more lenses " * 9], ["a movie"], fresh()) != one
    assert digest(TEXTS, ["a movie"], fresh(layers=3)) != one


def test_another_process_makes_the_same(tmp_path: Path) -> None:
    """Whatever its threads and its order of hashes."""
    program = (
        "import json, sys; from pathlib import Path\n"
        "from orchestrator.inspect.fresh import write_fresh\n"
        "from orchestrator.specs.model import FreshModel\n"
        "texts, fresh, folder = json.loads(sys.stdin.read())\n"
        "write_fresh(FreshModel.model_validate(fresh), texts, Path(folder))\n"
    )
    found = set()
    for number, threads in enumerate(("1", "4")):
        folder = tmp_path / str(number)
        folder.mkdir()
        given = json.dumps([TEXTS, fresh().model_dump(), str(folder)])
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        subprocess.run(
            [sys.executable, "-c", program], input=given, text=True, env=environment, check=True
        )
        found.add(hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest())
    write_fresh(fresh(), TEXTS, tmp_path)
    found.add(hashlib.sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest())
    assert len(found) == 1


@pytest.mark.parametrize("architecture", ["t5", "marian", "bart", "llama", "bert"])
def test_the_plan_knows_its_sizes(architecture: str, tmp_path: Path) -> None:
    model = fresh(architecture)
    folder = fresh_folder(model, DATA, tables(TEXTS, []), tmp_path)  # type: ignore[arg-type]
    facts = fresh_facts(model, folder)
    assert (facts.model_type, facts.hidden_size, facts.num_layers) == (architecture, 32, 2)
    assert (facts.num_heads, facts.intermediate_size, facts.tied_embeddings) == (2, 128, True)
    assert facts.max_positions == (None if architecture == "t5" else 512)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert facts.vocab_size == tokenizer.get_vocab_size() <= 600
