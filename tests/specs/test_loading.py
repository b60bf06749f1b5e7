"""Specs as files: what is right loads, what is wrong is told at once, with path, line and hint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.errors import InvalidInput, Problem
from orchestrator.specs.loading import load_document, load_spec
from tests.specs.builders import GOOD, document


def problems_of(text: str) -> list[Problem]:
    return list(load_document(text).problems)


def test_a_good_file_loads(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(GOOD)
    loaded = load_spec(file)
    assert loaded.spec.metadata.name == "job-one"
    assert loaded.spec.spec.training.epochs == 2
    assert (loaded.path, loaded.base_dir, loaded.text) == (file, tmp_path, GOOD)


def test_json_loads_too(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(document(), indent="\t"))
    loaded = load_spec(file)
    assert loaded.spec == load_spec(json.dumps(document())).spec
    line = loaded.problem("data.domains.movie", "m").line
    assert line is not None
    assert file.read_text().splitlines()[line - 1].strip() == '"movie": {'


def test_crlf_and_a_byte_order_mark_load(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_spec(file).problem("resources.workers", "m").line == 17


def test_a_section_with_nothing_below_it_is_absent() -> None:
    text = GOOD.replace("  training: {epochs: 2, global_batch_size: 32}", "  training:\n  engine:")
    assert load_spec(text).spec.spec.training.epochs is None


def test_a_problem_of_an_absent_field_points_at_the_one_above_it() -> None:
    loaded = load_spec(GOOD)
    found = loaded.problem("data.domains.camera.train[0].columns.text", "wrong", "right")
    assert found == Problem(
        "wrong", "data.domains.camera.train[0].columns.text", "right", file="<text>", line=10
    )
    assert loaded.problem("engine.zero_stage", "m").line == 4  # `spec:`
    assert loaded.problem(None, "m").line == 1


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_spec(tmp_path / "none.yaml")
    (problem,) = caught.value.problems
    assert problem.message == "the spec file does not exist"
    assert problem.file == str(tmp_path / "none.yaml")


def test_a_folder_is_no_spec(tmp_path: Path) -> None:
    (problem,) = load_document(tmp_path).problems
    assert (problem.message, problem.hint) == ("this is a folder", "give the spec file in it")


def test_data_in_the_place_of_a_spec(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text('{"text": "a", "label": "b"}\n{"text": "c", "label": "d"}\n')
    (problem,) = load_document(file).problems
    assert problem.line == 2
    assert "data" in str(problem.hint) or "document" in problem.message


# What is replaced in the good spec, by what; then the field's path, its line, the message and hint.
WRONG: list[tuple[str, str, str, int, str, str]] = [
    ("v1alpha1", "v2", "apiVersion", 1, "must be finetune.orchestrator/v1alpha1", "v1alpha1"),
    ("FineTune", "Finetune", "kind", 2, "must be FineTune, not 'Finetune'", "write FineTune"),
    ("job-one", "Job_One", "metadata.name", 3, "'Job_One' is not a name", "job-one"),
    ("{name: job-one}", "{name: a, labels: {a: 1}}", "metadata.labels.a", 3, "be text", '"1"'),
    ("{name: job-one}", "{name: a, lables: {}}", "metadata.lables", 3, "unknown field", "labels"),
    ('{base: "package://some_package/model"}', "hf://a/b", "model", 5, "a mapping", "{base: hf:"),
    ("  task: {type: text-classification}\n", "", "task", 4, "required", "write task: {type:"),
    ("text-classification", "text-clasification", "task.type", 6, "must be one of text-classi",
     "did you mean text-classification?"),
    ("{type: text-classification}", "custom", "task", 6, "be a mapping, not 'custom'", "{type: cu"),
    ("text-classification", "custom, entrypoint: ../train.py", "task.entrypoint", 6,
     "'../train.py' is not a script", "train.py"),
    ("text-classification", "custom, entrypoint: a.py, arguments: {steps: 4}",
     "task.arguments.steps", 6, "must be text, not 4", '"4"'),
    ("text-classification", "custom", "task.entrypoint", 6, "required", "The script"),
    ("text-classification}", "text-classification, labels: [a, true]}", "task.labels[1]", 6,
     "must be text, not true", '"true"'),
    ("text-classification}", "text-classification, labels: [1, b]}", "task.labels[0]", 6,
     "must be text, not 1", '"1"'),
    ("text-classification}", "text-classification, labels: [a]}", "task.labels", 6,
     "needs at least 2 labels, has 1", "remove the field"),
    ("[{path: camera/train.jsonl}]", "camera/train.jsonl", "data.domains.camera.train", 10,
     "must be a list", "train: [{path: camera/train.jsonl}]"),
    ("[{path: camera/train.jsonl}]", "{path: x}", "data.domains.camera.train", 10,
     "must be a list, not a mapping", "brackets"),
    ("[{path: camera/train.jsonl}]", "[a.csv]", "data.domains.camera.train[0]", 10,
     "must be a mapping, not 'a.csv'", "write {path: a.csv}"),
    ("[{path: camera/train.jsonl}]", "[]", "data.domains.camera.train", 10, "not be empty", "one"),
    ("{path: camera/train.jsonl}", "{path: x, hub: a/b}", "data.domains.camera.train[0]", 10,
     "give either `path` or `hub`", "for files"),
    ("{path: camera/train.jsonl}", "{hub: a/b}", "data.domains.camera.train[0].split", 10,
     "needs its `split`", "split: train"),
    ("{path: camera/train.jsonl}", "{path: x, split: y}", "data.domains.camera.train[0]", 10,
     "belong to a `hub` data set", "remove"),
    ("{path: camera/train.jsonl}", "{path: x, format: tsv}", "data.domains.camera.train[0].format",
     10, "must be one of jsonl, csv, parquet, tfrecord, not 'tsv'", ""),
    ("{path: camera/train.jsonl}", "{path: x, weight: 0}", "data.domains.camera.train[0].weight",
     10, "must be greater than 0, not 0", ""),
    ("{path: camera/train.jsonl}", "{path: x, colums: {}}", "data.domains.camera.train[0].colums",
     10, "unknown field", "columns"),
    ("      movie:", "      Movie Reviews:", "data.domains.Movie Reviews", 13, "is not a name",
     "movie-reviews"),
    ("        valid:", "        validation:", "data.domains.camera.validation", 11, "unknown field",
     "write valid"),
    ("[camera]", "camera", "data.train_on", 15, "must be a list", "write train_on: [camera]"),
    ("[camera]", "[camera]\n    valid_fraction: 1.5", "data.valid_fraction", 16,
     "must be less than 1, not 1.5", ""),
    ("epochs: 2", 'epochs: "2"', "training.epochs", 16, "must be a number, not '2'", "the quotes"),
    ("epochs: 2", "epoch: 2", "training.epoch", 16, "unknown field", "did you mean epochs?"),
    ("epochs: 2", "learningRate: 2", "training.learningRate", 16, "unknown", "learning_rate"),
    ("epochs: 2", "lr: 0.1", "training.lr", 16, "unknown field", "training.learning_rate"),
    ("epochs: 2", "zero_stage: 2", "training.zero_stage", 16, "unknown", "write engine.zero_stage"),
    ("epochs: 2", "batch_size: 2", "training.batch_size", 16, "unknown", "global_batch_size"),
    ("epochs: 2", "fp16: true", "training.fp16", 16, "unknown field", "training.precision: fp16"),
    ("epochs: 2", "xyz: 2", "training.xyz", 16, "unknown field", "fields here: adam_beta1"),
    ("epochs: 2", "max_steps: 2, epochs: 1", "training.max_steps", 16, "not both", "remove one"),
    ("epochs: 2", "learning_rate: .nan", "training.learning_rate", 16, "a finite number", ""),
    ("epochs: 2", "learning_rate: fast", "training.learning_rate", 16, "be a number, not 'fa", ""),
    ("epochs: 2", "precision: fp23", "training.precision", 16, "one of fp32, tf32, bf16", "fp"),
    ("epochs: 2", "seed: 1.5", "training.seed", 16, "must be a whole number, not 1.5", ""),
    ("epochs: 2", "seed: 2.0", "training.seed", 16, "must be a whole number, not 2.0", "write 2"),
    ("epochs: 2", "early_stopping: {min_delta: 0}", "training.early_stopping.patience", 16,
     "required", "Evaluations without improvement"),
    ("epochs: 2", "early_stopping: 3", "training.early_stopping", 16, "a mapping", "patience: 3"),
    ("global_batch_size: 32", "global_batch_size: -1", "training.global_batch_size", 16,
     "must be at least 1, not -1", ""),
    ("resources: {workers: 2}", "resources: {workers: true}", "resources.workers", 17,
     "must be a whole number, not true", ""),
    ("resources: {workers: 2}", "engine: {zero_stage: 4}", "engine.zero_stage", 17,
     "must be one of 0, 1, 2, 3, not 4", ""),
    ("resources: {workers: 2}", "engine: {gradient_checkpointing: yes}",
     "engine.gradient_checkpointing", 17, "must be true or false, not 'yes'", "write true"),
    ("resources: {workers: 2}", "epochs: 3", "epochs", 17, "unknown field", "training.epochs"),
    ("resources: {workers: 2}", "method: full", "method", 17, "mapping", "{type: full}"),
    ("resources: {workers: 2}", "method: {type: frozen}", "method.type", 17,
     "must be one of full, freeze, lora, qlora, pretrain, multi_task, not 'frozen'", ""),
    ("resources: {workers: 2}", "method: {num_layers: 2}", "method.type", 17, "required", "full"),
    ("resources: {workers: 2}", "method: {type: freeze, num_layers: x}", "method.num_layers", 17,
     "must be a whole number, not 'x'", ""),
    ("resources: {workers: 2}", "method: {type: freeze}", "method", 17, "give either `num_layers",
     "all_layers: true"),
    ("resources: {workers: 2}", "checkpoint: {every_steps: 1, every_minutes: 1}",
     "checkpoint.every_minutes", 17, "not both", "remove one"),
    ("resources: {workers: 2}", "selection: {metric: macro_f1}", "selection.metric", 17,
     "'macro_f1' is not domain/metric", "camera/macro_f1"),
    ("resources: {workers: 2}", "evaluation: {metrics: [f1]}", "evaluation.metrics[0]", 17,
     "must be one of accuracy", ""),
    ("resources: {workers: 2}", "evaluation: {metrics: accuracy}", "evaluation.metrics", 17,
     "must be a list", "write metrics: [accuracy]"),
    ("epochs: 2", "loss: focal", "training.loss", 16, "'focal' is not module:function", "e.g."),
    ("resources: {workers: 2}", "runtime: ./code", "runtime", 17, "a mapping", "{code: ./code}"),
    ("resources: {workers: 2}", "runtime: {env: {A-B: x}}", "runtime.env.A-B", 17,
     "'A-B' is not a name of letters", ""),
    ("resources: {workers: 2}", "runtime: {env: {A: 1}}", "runtime.env.A", 17, "text", '"1"'),
    ("resources: {workers: 2}", "runtime: {secrets: [HF_TOKEN]}", "runtime.secrets[0]", 17,
     "'HF_TOKEN' is not a name", "hf-token"),
    ("resources: {workers: 2}", "evaluation: {custom_metrics: {Cost: a:b}}",
     "evaluation.custom_metrics.Cost", 17, "'Cost' is not a metric's name", "lower-case"),
    ("resources: {workers: 2}", "output: {name: A}", "output.name", 17, "is not a name", "e.g. a"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "path", "line", "message", "hint"), WRONG)
def test_one_wrong_field(old: str, new: str, path: str, line: int, message: str, hint: str) -> None:
    assert old in GOOD
    (problem,) = problems_of(GOOD.replace(old, new, 1))
    assert (problem.path, problem.file, problem.line) == (path, "<text>", line)
    assert message in problem.message
    assert hint in (problem.hint or "")


def test_a_section_beside_spec_is_told_where_it_belongs() -> None:
    (problem,) = problems_of(GOOD + "training: {epochs: 2}\n")
    assert (problem.path, problem.line) == ("training", 18)
    assert problem.hint == "indent it below `spec:`, as spec.training"


def test_all_problems_come_at_once_in_the_order_of_their_lines() -> None:
    text = GOOD.replace("FineTune", "Tune").replace("epochs: 2", "epocs: 2")
    text = text.replace("workers: 2", "workers: many").replace("[camera]", "[camera]\n    x: 1")
    assert [(p.path, p.line) for p in problems_of(text)] == [
        ("kind", 2),
        ("data.x", 16),
        ("training.epocs", 17),
        ("resources.workers", 18),
    ]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", ["the spec is empty"]),
        ("# only a comment\n", ["the spec is empty"]),
        ("- a\n- b\n", ["a spec is a mapping of fields"]),
        ("just words", ["a spec is a mapping of fields"]),
        ("a: 1", ["required"] * 4 + ["unknown field"]),
    ],
)
def test_what_is_no_spec_at_all(text: str, messages: list[str]) -> None:
    found = problems_of(text)
    assert [problem.message for problem in found] == messages
    assert all(problem.hint for problem in found)


def test_what_is_left_of_a_wrong_spec_can_be_used() -> None:
    text = GOOD.replace("epochs: 2", "epochs: x, max_length: 64").replace(
        "[{path: camera/train.jsonl}]", "[{hub: a/b}, {path: camera/train.jsonl, colums: {}}]"
    )
    found = load_document(text)
    assert found.doubtful == {
        "training.epochs",
        "data.domains.camera.train[0].split",
        "data.domains.camera.train[1].colums",
    }
    assert found.usable is not None
    body = found.usable.spec
    assert (body.training.epochs, body.training.max_length) == (None, 64)
    train = body.data.domains["camera"].train or ()
    assert [source.path for source in train] == ["<cut out>", "camera/train.jsonl"]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[2])
def test_something_is_left_of_every_wrong_spec(case: tuple[str, str, str, int, str, str]) -> None:
    found = load_document(GOOD.replace(case[0], case[1], 1))
    assert found.usable is not None
