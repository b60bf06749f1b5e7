from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.admission.plan import Plan, PlanInputs, make_plan
from orchestrator.inspect.mixing import Draw
from orchestrator.specs import Denoising, FineTune, ModelSpec
from orchestrator.specs.identity import run_digest
from tests.control.admission.builders import GB, data, gpu, machine, spec, split, tiny_model, tokens


def inputs(job: FineTune | None = None, **changes: Any) -> PlanInputs:
    facts = changes.pop("data", data())
    values: dict[str, Any] = {
        "spec": job or spec(),
        "data": facts,
        "tokens": tokens(facts),
        "model": tiny_model(),
        "base": ModelSpec(base="/models/tiny"),
        "hardware": machine(),
        "base_dir": Path("/home/me/job"),
        "default_store": "/home/me/models",
        "recipe": "7",
    }
    return PlanInputs(**{**values, **changes})


def paths(plan: Plan) -> list[str]:
    return [reason.path for reason in plan.reasons]


def test_a_job_that_fits() -> None:
    plan = make_plan(inputs())

    assert plan.verdict == "fits"
    assert plan.fits
    assert plan.reasons == ()
    assert plan.warnings == ()
    assert (plan.trainable_parameters, plan.total_parameters) == (1000, 1000)
    assert (plan.steps.per_epoch, plan.steps.total, plan.steps.evaluations) == (32, 96, 3)
    assert plan.steps.tokens_measured
    assert plan.memory.host_bytes == plan.memory.worker_bytes + 2_200_000_000
    assert plan.memory.host_limit_bytes == 95 * GB


def test_the_spec_of_a_plan_has_nothing_open() -> None:
    body = make_plan(inputs()).spec.spec

    assert body.model.base == "/models/tiny"
    assert body.task.labels == ("bad", "good")
    assert body.engine.zero_stage == 0
    assert body.engine.micro_batch_size == 32
    assert body.engine.gradient_checkpointing is False
    assert body.engine.offload == "none"
    assert body.output.store == "/home/me/models"


def test_choices_tell_what_was_left_open() -> None:
    plan = make_plan(inputs())

    assert {choice.path: choice.value for choice in plan.choices} == {
        "task.labels": "bad, good",
        "data.train_on": "camera",
        "training.epochs": "3",
        "selection.metric": "mean/macro_f1",
        "engine.zero_stage": "0",
        "engine.micro_batch_size": "32",
        "engine.gradient_checkpointing": "false",
    }


def test_identity_is_that_of_the_resolved_spec() -> None:
    plan = make_plan(inputs())

    assert plan.identity.base == "b" * 64
    assert plan.identity.recipe == "7"
    assert plan.identity.data == {
        "camera/train": "camera-train",
        "camera/valid": "camera-valid",
        "camera/test": "camera-test",
        "movie/test": "movie-test",
    }
    assert plan.identity.run == run_digest(plan.spec, plan.identity.data, "b" * 64, "7")


def test_identity_does_not_follow_the_machine_or_what_was_written_out() -> None:
    plain = make_plan(inputs()).identity.run
    written = spec(
        training={"max_length": 16, "epochs": 3, "warmup_ratio": 0.06},
        engine={"micro_batch_size": 4},
        resources={"workers": 2},
    )

    assert make_plan(inputs(written)).identity.run == plain
    assert make_plan(inputs(hardware=machine(cpus=64))).identity.run == plain
    other = spec(training={"max_length": 16, "epochs": 2})
    assert make_plan(inputs(other)).identity.run != plain


def test_every_stage_and_precision_beside_the_chosen() -> None:
    plan = make_plan(inputs(spec(resources={"workers": 2})))
    table = plan.memory.by_stage

    assert [(s.precision, s.zero_stage) for s in table] == [
        (precision, stage) for precision in ("fp32", "bf16") for stage in (0, 1, 2, 3)
    ]
    (chosen,) = (entry for entry in table if entry.chosen)
    assert (chosen.zero_stage, chosen.precision) == (2, "fp32")
    assert chosen.worker_bytes == plan.memory.worker_bytes


def test_ddp_is_in_the_table_too() -> None:
    plan = make_plan(inputs(spec(engine={"strategy": "ddp"})))

    assert [entry.strategy for entry in plan.memory.by_stage if entry.chosen] == ["ddp"]


def test_splits_with_their_classes() -> None:
    train, valid, *_ = make_plan(inputs()).splits

    assert (train.domain, train.split, train.num_rows) == ("camera", "train", 1000)
    assert train.class_counts == {"bad": 500, "good": 500}
    assert (train.held_out, valid.held_out) == (False, True)
    assert train.truncated_share == 0.05


def test_disk() -> None:
    """16,000 bytes a checkpoint at stage 2, 4,000 of weights, 5 MB of other files a model."""
    local = make_plan(inputs(spec(resources={"workers": 2}, checkpoint={"keep": 3}))).disk

    assert local.model_bytes == 4000 + 5_000_000
    assert local.checkpoints_bytes == 4 * 16_000 + 4000  # one more for a moment; the best weights
    assert local.scratch_bytes == 16_000 + 4000 + 5_004_000
    assert local.needed_bytes == 5_024_000 + 5_004_000 + 68_000
    assert local.store_is_local


def test_a_bucket_takes_no_disk_here() -> None:
    remote = make_plan(inputs(spec(output={"store": "s3://bucket/models"}))).disk

    assert not remote.store_is_local
    assert remote.needed_bytes == remote.scratch_bytes


# Refusals


@pytest.mark.parametrize(
    ("sections", "hardware", "path", "change"),
    [
        (
            {"resources": {"gpus_per_worker": 1}},
            {},
            "resources.gpus_per_worker",
            "write resources.gpus_per_worker: 0",
        ),
        (
            {"resources": {"workers": 8}},
            {},
            "resources.workers",
            "write resources.workers: 4",
        ),
        (
            {"training": {"precision": "fp16", "max_length": 16}},
            {},
            "training.precision",
            "write fp32 or bf16",
        ),
        (
            {"resources": {"memory_gb_per_worker": 0.1}},
            {},
            "resources.memory_gb_per_worker",
            "write resources.memory_gb_per_worker: 0.8",
        ),
        (
            {"resources": {"workers": 2}},
            {"memory_bytes": 3_500_000_000},
            "resources.workers",
            "write resources.workers: 1",
        ),
        ({}, {"memory_bytes": GB}, "model.base", "choose a smaller base"),
        ({}, {"disk_free_bytes": 1000}, "output.store", "free 0.0 GB"),
        (
            {"engine": {"micro_batch_size": 5}},
            {},
            "training.global_batch_size",
            "write training.global_batch_size: 30",
        ),
        (
            {"resources": {"gpus_per_worker": 1}, "training": {"precision": "bf16"}},
            {"gpus": (gpu(compute_capability=7.5),)},
            "training.precision",
            "write fp16 or fp32",
        ),
    ],
)
def test_refusals(
    sections: dict[str, Any], hardware: dict[str, Any], path: str, change: str
) -> None:
    plan = make_plan(inputs(spec(**sections), hardware=machine(**hardware)))

    assert plan.verdict == "refused"
    assert paths(plan) == [path]
    assert plan.reasons[0].change.startswith(change)


def test_a_refusal_tells_every_reason() -> None:
    job = spec(resources={"workers": 8, "gpus_per_worker": 1})
    plan = make_plan(inputs(job, hardware=machine(disk_free_bytes=0)))

    assert paths(plan) == ["resources.gpus_per_worker", "resources.workers", "output.store"]


# Warnings


def warnings(job: FineTune | None = None, **changes: Any) -> tuple[str, ...]:
    return make_plan(inputs(job, **changes)).warnings


def test_warnings_of_the_data_are_passed_on() -> None:
    assert warnings(data=data(warnings=("the training classes are skewed",))) == (
        "the training classes are skewed",
    )


def test_texts_that_are_cut() -> None:
    facts = data()
    cut = tokens(facts, cut=0.25, longest=90)

    found = warnings(tokens=cut)
    assert len(found) == 4
    assert found[0].startswith("25% of the train rows of camera are cut to training.max_length")


def test_too_few_rows_decide() -> None:
    few = data(
        split("camera", "train", 1000),
        split("camera", "valid", 20),
        split("movie", "valid", 10),
        split("camera", "test", 10),
    )
    (found,) = warnings(data=few)
    assert found.startswith("only 20 valid rows (camera) decide")

    (found,) = warnings(spec(selection={"metric": "movie/accuracy"}), data=few)
    assert found.startswith("only 10 valid rows (movie) decide")

    assert warnings(spec(selection={"last": True}), data=few) == ()


def test_what_the_plan_chose_itself_is_not_doubted() -> None:
    assert warnings(spec(engine={"zero_stage": 2}))[0].startswith("engine.zero_stage: one worker")
    assert warnings() == ()


def test_a_busy_machine() -> None:
    (found,) = warnings(hardware=machine(available_memory_bytes=GB))

    assert found == (
        "the job needs 3.0 GB of memory, and other processes leave only 1.0 GB free now"
    )


# As a record


def test_a_plan_survives_json() -> None:
    plan = make_plan(inputs())
    text = plan.model_dump_json()

    assert Plan.model_validate_json(text) == plan
    assert json.loads(text)["time"]["total_seconds"] > 0


def test_admission_is_pure() -> None:
    assert make_plan(inputs()) == make_plan(inputs())


def several() -> PlanInputs:
    """Two tasks on camera, of two labels and of three."""
    classify = {"type": "text-classification", "domains": ["camera"]}
    facts = data(split("camera", "train", 1000), split("camera", "test", 200))
    mood = replace(facts, draws=(Draw("camera", 1000, 1000, {"bad": 500.0, "good": 500.0}),))
    topic = replace(mood, labels=("a", "b", "c"))
    splits = {
        (f"{name}/{domain}", part): replace(found, domain=f"{name}/{domain}")
        for name in ("mood", "topic")
        for (domain, part), found in facts.splits.items()
    }
    together = replace(
        facts,
        splits=splits,
        labels=(*mood.labels, *topic.labels),
        draws=(Draw("mood", 1000, 1000), Draw("topic", 1000, 1000)),
        tasks={"mood": mood, "topic": topic},
    )
    job = spec(
        task={"type": "multi-task"},
        tasks={
            "mood": {**classify, "class_weights": {"balanced": True}},
            "topic": {**classify, "labels": ["a", "b", "c"]},
        },
        method={"type": "multi_task"},
    )
    return inputs(job, data=together)


def test_several_tasks() -> None:
    plan = make_plan(several())
    body = plan.spec.spec

    # 982 of the base, and (8 + 1) x 2 and x 3 of the heads
    assert plan.total_parameters == plan.trainable_parameters == 982 + 18 + 27
    # The base alone and beside each head, and the heads; the rest is 5 MB of other files.
    assert plan.disk.model_bytes == 4 * (3 * 982 + 45) + 5_000_000
    assert (plan.steps.train_rows, plan.steps.per_epoch) == (2000, 63)
    assert [(draw.domain, draw.share) for draw in plan.draws] == [("mood", 0.5), ("topic", 0.5)]
    assert body.tasks["mood"].labels == ("bad", "good")
    assert body.tasks["mood"].class_weights.weights == {"bad": 1.0, "good": 1.0}
    assert (body.selection.metric, body.selection.mode) == ("mean/macro_f1", "max")
    assert {choice.path for choice in plan.choices} >= {
        "tasks.mood.labels",
        "tasks.mood.class_weights",
    }


def test_a_pretraining_counts_the_rows_that_long_texts_become() -> None:
    facts = data()
    long = {key: replace(found, pieces=1.5) for key, found in tokens(facts).items()}
    job = spec(task={"type": "masked-lm"}, method={"type": "pretrain"})

    plan = make_plan(inputs(job, data=facts, tokens=long))

    assert plan.fits
    assert (plan.steps.train_rows, plan.steps.per_epoch) == (1500, 47)
    # 982 of the base, and a head of 8 x (8 + 3) + 30 over its table of words.
    assert (plan.trainable_parameters, plan.total_parameters) == (1100, 1100)
    assert plan.spec.spec.selection.metric == "mean/loss"


@pytest.mark.parametrize(
    ("model_type", "written", "objective", "share", "tokens_per_row"),
    [
        ("t5", {}, "spans", 0.15, 14 * 1.15),
        ("bart", {}, "infill", 0.3, 14 * 2),
        ("t5", {"objective": "infill", "masked_share": 0.2}, "infill", 0.2, 14 * 2),
    ],
)
def test_what_is_hidden_follows_from_the_base(
    model_type: str,
    written: dict[str, Any],
    objective: str,
    share: float,
    tokens_per_row: float,
) -> None:
    job = spec(task={"type": "denoising", **written}, method={"type": "pretrain"})

    plan = make_plan(inputs(job, model=tiny_model(model_type=model_type)))

    task = plan.spec.spec.task
    assert isinstance(task, Denoising)
    assert (task.objective, task.masked_share) == (objective, share)
    assert plan.steps.tokens_per_row == pytest.approx(tokens_per_row)


def test_a_job_that_may_be_smaller_begins_with_what_the_machine_holds() -> None:
    """It has four cores."""
    elastic = make_plan(inputs(spec(resources={"workers": 8, "min_workers": 2})))
    assert elastic.fits
    assert "this machine holds 4 of 8 workers: it begins with these" in elastic.warnings
    assert elastic.fewest is not None
    assert elastic.fewest.workers == 2
    whole = make_plan(inputs(spec(resources={"workers": 8})))
    assert [reason.path for reason in whole.reasons] == ["resources.workers"]
    too_many = make_plan(inputs(spec(resources={"workers": 16, "min_workers": 8})))
    assert [reason.path for reason in too_many.reasons] == ["resources.workers"]
