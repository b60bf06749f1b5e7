"""Fields that contradict each other."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.specs.checks import check_spec, touches
from tests.specs.builders import document, spec

DOMAINS = document()["spec"]["data"]["domains"]


def domains(**more: Any) -> dict[str, Any]:
    return {"domains": {**DOMAINS, **more}}


def with_source(**fields: Any) -> dict[str, Any]:
    return domains(extra={"train": [{"path": "x.csv", **fields}]})


EXTRA = "data.domains.extra"

# Sections of the spec; then the field's path, the message and the hint.
WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    ({"training": {"batching": {"packing": True}}, "data": domains() | {"collator": "a:b"},
      "runtime": {"code": "."}}, "training.batching.packing", "a:b makes of rows cannot be packed",
     "data.collator"),
    ({"training": {"precision": "tf32"}}, "training.precision", "tf32 needs GPUs", "fp32 or bf16"),
    ({"engine": {"strategy": "ddp", "deepspeed": {"dump_state": True}}}, "engine.deepspeed",
     "engine.strategy is ddp", "strategy: deepspeed"),
    ({"engine": {"zero_stage": 2, "deepspeed": {"zero_optimization": {"sub_group_size": 9}}}},
     "engine.deepspeed.zero_optimization.sub_group_size", "ZeRO stage 2 does not read it",
     "zero_stage: 3"),
    ({"data": domains() | {"train_on": ["camrea"]}}, "data.train_on[0]", "unknown domain 'camrea'",
     "did you mean camera?"),
    ({"data": domains() | {"train_on": ["camera", "movie"]}}, "data.train_on[1]",
     "domain 'movie' has no train split", "or train on camera"),
    ({"data": domains() | {"train_on": ["camera", "camera"]}}, "data.train_on[1]",
     "domain 'camera' is listed twice", "weight: 2.0"),
    ({"data": {"domains": {"movie": {"test": [{"path": "x.csv"}]}}}}, "data.domains",
     "no domain has a train split", "add data.domains.movie.train"),
    ({"data": {"domains": {"movie": {"train": [{"path": "x.csv"}]}}}}, "data.domains",
     "no domain has a test split", "add data.domains.movie.test"),
    ({"data": domains(extra={})}, EXTRA, "no split is given", "add train, valid or test"),
    ({"data": domains(mean={"test": [{"path": "x.csv"}]})}, "data.domains.mean",
     "names the mean over domains", "otherwise"),
    ({"data": with_source(columns={"txt": "a"})}, f"{EXTRA}.train[0].columns.txt",
     "'txt' is not a role", "did you mean text?"),
    ({"data": with_source(columns={"score": "a"})}, f"{EXTRA}.train[0].columns.score",
     "'score' is not a role", "roles of text-classification: text, label"),
    ({"data": with_source(columns={"text": " "})}, f"{EXTRA}.train[0].columns.text",
     "names no column", "'text'"),
    ({"data": with_source(columns={"text": "label"})}, f"{EXTRA}.train[0].columns",
     "text and label are the same column", "two columns"),
    ({"data": domains(extra={"test": [{"path": "x", "weight": 2.0}]})}, f"{EXTRA}.test[0].weight",
     "test is read once, whole", "remove it"),
    ({"model": {"base": "hf://org/name", "optimizer": True}}, "model.optimizer",
     "hf://org/name was not trained by a job", "job://name"),
    ({"resources": {"workers": 2, "min_workers": 4}}, "resources.min_workers",
     "4 workers at least are more than the 2", "write 2 or less"),
    ({"resources": {"workers": 4, "min_workers": 3}}, "resources.min_workers",
     "no number from 3 to 3 divides the 32 rows", "write 2"),
    ({"resources": {"patience_seconds": 5}}, "resources.patience_seconds",
     "no fewer workers to lose patience for", "write resources.min_workers"),
    ({"task": {"type": "text-classification", "labels": ["a", "b", "a"]}}, "task.labels[2]",
     "'a' is listed twice", "remove one"),
    ({"task": {"type": "text-classification", "labels": ["a", " b"]}}, "task.labels[1]",
     "must not begin or end with a space", "write 'b'"),
    ({"selection": {"metric": "camera/f1"}}, "selection.metric", "unknown metric 'f1'", "macro_f1"),
    ({"selection": {"metric": "mean/micro_f"}}, "selection.metric", "unknown metric 'micro_f'",
     "write mean/micro_f1"),
    ({"selection": {"metric": "camra/loss"}}, "selection.metric", "unknown domain 'camra'",
     "write camera/loss"),
    ({"selection": {"metric": "movie/loss"}}, "selection.metric",
     "domain 'movie' has no valid split, and selection never reads test", "movie.valid"),
    ({"selection": {"metric": "camera/accuracy", "mode": "min"}}, "selection.mode",
     "accuracy is better the larger it is", "write mode: max"),
    ({"selection": {"metric": "camera/loss", "mode": "max"}}, "selection.mode",
     "loss is better the smaller it is", "write mode: min"),
    ({"selection": {"every_steps": 20}, "training": {"max_steps": 10}}, "selection.every_steps",
     "training ends after 10 steps", "at most 10"),
    ({"training": {"global_batch_size": 32}, "resources": {"workers": 3}},
     "training.global_batch_size", "32 rows a step cannot be divided among 3 workers",
     "write 30 or 33"),
    ({"training": {"global_batch_size": 2}, "resources": {"workers": 4}},
     "training.global_batch_size", "2 rows a step cannot be divided among 4 workers", "write 4"),
    ({"training": {"global_batch_size": 32}, "resources": {"workers": 2},
      "engine": {"micro_batch_size": 5}}, "engine.micro_batch_size",
     "5 rows on each of 2 workers do not divide the global batch of 32",
     "write 4, or training.global_batch_size: 30 or 40"),
    ({"training": {"global_batch_size": 4}, "engine": {"micro_batch_size": 8}},
     "engine.micro_batch_size", "8 rows on each of 1 workers", "write 4, or"),
    ({"training": {"max_steps": 50, "warmup_steps": 50}}, "training.warmup_steps",
     "the warm-up would last all 50 steps", "less than 50, e.g. 5"),
    ({"training": {"precision": "fp16"}}, "training.precision", "fp16 needs GPUs", "fp32 or bf16"),
    ({"resources": {"accelerator": "A100"}}, "resources.accelerator", "without a GPU",
     "gpus_per_worker: 1"),
    ({"engine": {"strategy": "ddp", "zero_stage": 2}}, "engine.zero_stage",
     "`zero_stage: 2` is DeepSpeed's", "remove it"),
    ({"engine": {"strategy": "ddp", "offload": "optimizer"}}, "engine.offload",
     "`offload: optimizer` is DeepSpeed's", "remove it"),
    ({"engine": {"zero_stage": 2, "offload": "parameters"}}, "engine.offload",
     "offloading parameters needs ZeRO stage 3, not 2", "write engine.zero_stage: 3"),
    ({"engine": {"zero_stage": 0, "offload": "optimizer"}}, "engine.offload",
     "offloading optimizer needs ZeRO stage 1, 2 or 3, not 0", "write engine.zero_stage: 1"),
    ({"evaluation": {"metrics": ["accuracy", "loss", "accuracy"]}}, "evaluation.metrics[2]",
     "'accuracy' is listed twice", "remove one"),
    ({"method": {"type": "lora", "target_modules": ["query", "query"]}}, "method.target_modules[1]",
     "'query' is listed twice", "remove one"),
    ({"method": {"type": "lora", "modules_to_save": ["pooler", "pooler"]}},
     "method.modules_to_save[1]", "'pooler' is listed twice", "remove one"),
    ({"method": {"type": "lora", "target_modules": ["query"], "modules_to_save": ["query"]}},
     "method.modules_to_save[0]", "'query' cannot learn whole and get an update", "remove it"),
    ({"method": {"type": "qlora"}}, "method.type", "4-bit weights need GPUs", "type: lora"),
    ({"method": {"type": "qlora"}, "engine": {"zero_stage": 3},
      "resources": {"gpus_per_worker": 1}}, "engine.zero_stage", "ZeRO 3 cannot shard 4-bit",
     "write engine.zero_stage: 2"),
    ({"method": {"type": "qlora"}, "engine": {"offload": "parameters"},
      "resources": {"gpus_per_worker": 1}}, "engine.offload", "cannot be moved to host memory",
     "write engine.offload: optimizer"),
    ({"method": {"type": "lora"}, "task": {"type": "custom", "entrypoint": "train.py"},
      "runtime": {"code": "code"}}, "method", "a custom task's script decides what learns",
     "do it in the script"),
    ({"method": {"type": "lora"}, "training": {"layer_decay": 0.9}}, "training.layer_decay",
     "the matrices of lora all learn at training.learning_rate", "method.type: full"),
    ({"task": {"type": "masked-lm"}}, "method.type",
     "masked-lm makes a base for other jobs, which method full does not",
     "write method: {type: pretrain}"),
    ({"task": {"type": "denoising"}, "method": {"type": "lora"}}, "method.type",
     "which method lora does not", "write method: {type: pretrain}"),
    ({"method": {"type": "pretrain"}}, "method.type",
     "pretrain learns texts without labels, which text-classification is not",
     "a task of masked-lm, denoising or causal-lm"),
    ({"task": {"type": "causal-lm", "rows": "chat"}, "method": {"type": "pretrain"}}, "task.rows",
     "pretrain learns plain texts, not rows of kind chat", "write rows: text"),
    ({"method": {"type": "freeze", "all_layers": True}, "training": {"layer_decay": 0.9}},
     "training.layer_decay", "no layer learns", "remove it"),
    ({"model": {"base": "hff://a/b"}}, "model.base", "hff:// cannot be read", "did you mean hf://"),
    ({"model": {"base": "https://a/b"}}, "model.base", "https:// cannot be read", "or one of hf:"),
    ({"model": {"base": "hf://a/b/c"}}, "model.base", "a hub model is hf://org/name", "folder"),
    ({"model": {"base": "hf://a/b@main"}}, "model.base", "a field of its own", "revision: main"),
    ({"model": {"base": "models://"}}, "model.base", "names nothing after ://", "hf://org/name"),
    ({"model": {"base": "some/folder", "revision": "main"}}, "model.revision",
     "a revision is one of a hub model", "remove it"),
    ({"output": {"store": "ftp://host/x"}}, "output.store", "ftp:// cannot be read", "a folder"),
    ({"output": {"store": "s3://"}}, "output.store", "names no bucket", "s3://bucket/prefix"),
    ({"output": {"store": "s3://AKIA:secret@bucket/x"}}, "output.store",
     "credentials do not belong in a spec", "environment"),
    ({"output": {"store": "s3://bucket/x?aws_secret_access_key=abc"}}, "output.store",
     "credentials do not belong in a spec", "environment"),
    ({"data": with_source(path="s3://k:s@bucket/x")}, f"{EXTRA}.train[0].path",
     "credentials do not belong in a spec", "environment"),
    ({"data": with_source(path="hf://org/name")}, f"{EXTRA}.train[0].path",
     "a hub data set is no path", "write hub: org/name"),
]  # fmt: skip


@pytest.mark.parametrize(("sections", "path", "message", "hint"), WRONG)
def test_one_contradiction(sections: dict[str, Any], path: str, message: str, hint: str) -> None:
    (problem,) = check_spec(spec(**sections))
    assert problem.path == path
    assert message in problem.message
    assert hint in (problem.hint or "")


def test_no_secret_is_repeated() -> None:
    (problem,) = check_spec(spec(output={"store": "s3://AKIA:s3cret@bucket/x"}))
    assert "s3cret" not in str(problem)


RIGHT: list[dict[str, Any]] = [
    {},
    {"training": {"global_batch_size": 30}, "resources": {"workers": 3}},
    {"engine": {"micro_batch_size": 8}, "resources": {"workers": 2}},
    {"engine": {"strategy": "ddp", "zero_stage": 0, "offload": "none"}},
    {"engine": {"zero_stage": 3, "offload": "parameters"}},
    {"engine": {"offload": "parameters"}},
    {"selection": {"metric": "mean/loss", "mode": "min"}},
    {"selection": {"last": True}},
    {"selection": {"last": True, "metric": "camera/loss"}},
    {"selection": {"last": True, "metric": "camera/loss"},
     "training": {"early_stopping": {"patience": 2}}},
    {"selection": {"metric": "camera/accuracy", "every_steps": 10}, "training": {"max_steps": 10}},
    {"training": {"precision": "fp16"}, "resources": {"gpus_per_worker": 1, "accelerator": "A"}},
    {"training": {"warmup_steps": 9, "max_steps": 10}},
    {"output": {"store": "s3://bucket/prefix"}},
    {"output": {"store": "/some/folder"}},
    {"model": {"base": "hf://org/name", "revision": "main"}},
    {"model": {"base": "models://name@2"}},
    {"model": {"base": "../folder"}},
    {"data": with_source(path="gs://bucket/x/*.csv", columns={"text": "review"}, weight=0.5)},
    {"data": {**with_source(), "train_on": ["extra", "camera"]}},
    {"data": domains(movie={"valid": [{"path": "v"}]}), "selection": {"metric": "movie/loss"}},
]  # fmt: skip


@pytest.mark.parametrize("sections", RIGHT)
def test_what_is_right_passes(sections: dict[str, Any]) -> None:
    assert check_spec(spec(**sections)) == []


def test_several_contradictions_come_at_once() -> None:
    found = check_spec(
        spec(
            training={"precision": "fp16", "global_batch_size": 3},
            resources={"workers": 2},
            output={"store": "ftp://x"},
        )
    )
    assert {problem.path for problem in found} == {
        "training.precision",
        "training.global_batch_size",
        "output.store",
    }


def test_checks_that_rest_on_a_refused_field_stay_silent() -> None:
    wrong = spec(training={"precision": "fp16", "global_batch_size": 3}, resources={"workers": 2})
    assert [p.path for p in check_spec(wrong, doubtful=["resources.workers"])] == [
        "training.precision"
    ]
    assert check_spec(wrong, doubtful=["resources"]) == []


def test_a_fault_within_a_source_silences_no_check_of_domains() -> None:
    wrong = spec(data=domains() | {"train_on": ["camrea"]})
    doubtful = ["data.domains.camera.train[0].colums"]
    assert [p.path for p in check_spec(wrong, doubtful=doubtful)] == ["data.train_on[0]"]
    assert check_spec(wrong, doubtful=["data.domains.camera.validation"]) == []


@pytest.mark.parametrize(
    ("field", "other", "expected"),
    [
        ("training", "training.epochs", True),
        ("training.epochs", "training", True),
        ("task.labels", "task.labels[0]", True),
        ("training.epochs", "training.epochs", True),
        ("training.epochs", "training.epochs_per_year", False),
        ("data", "dat", False),
    ],
)
def test_touches(field: str, other: str, expected: bool) -> None:
    assert touches(field, other) is expected
