"""The model card says what a reader must know, in the form hubs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from orchestrator.records import SelectionOutcome
from orchestrator.storage.adapters import Origin
from orchestrator.worker.publishing.card import Loads, model_card
from tests.worker.tiny import launch


def figures(accuracy: float, majority: float) -> dict[str, Any]:
    return {
        "num_rows": 40,
        "accuracy": accuracy,
        "macro_f1": accuracy - 0.05,
        "majority_accuracy": majority,
        "intervals": {"accuracy": [accuracy - 0.1, accuracy + 0.1]},
    }


def card() -> str:
    return model_card(
        launch(Path("/base"), Path("/scratch")),
        {"toy": figures(0.9, 0.6), "news": figures(0.5, 0.7)},
        {"toy": figures(0.5, 0.6), "news": figures(0.4, 0.7)},
        SelectionOutcome(metric="toy/macro_f1", mode="max", value=0.8765, step=12),
        {"toy": {"train": 120, "test": 40}, "news": {"test": 40}},
    )


def test_the_front_matter_is_yaml_with_the_results() -> None:
    front = yaml.safe_load(card().split("---")[1])
    assert front["pipeline_tag"] == "text-classification"
    assert front["base_model"] == "/base"
    result = front["model-index"][0]["results"][0]
    assert result["dataset"]["name"] == "toy"
    assert result["metrics"][0] == {"type": "accuracy", "value": 0.9}


def test_the_table_shows_before_after_interval_and_floor() -> None:
    assert "| toy | trained on | 40 | 0.500 → 0.900 [0.800, 1.000] | 0.600 |" in card()
    assert "| news | transfer | 40 | 0.400 → 0.500 [0.400, 0.600] | 0.700 |" in card()


def test_the_limits_name_weak_and_unseen_domains() -> None:
    assert "No better than the floor on: news." in card()
    assert "Never saw text of: news" in card()
    assert "step 12, the best by toy/macro_f1 on the validation split (0.8765)" in card()


def test_several_tasks_have_a_row_and_a_folder_each() -> None:
    classify = {"type": "text-classification", "domains": ["toy"]}
    tasks = {
        "mood": {**classify, "labels": ["bad", "good"]},
        "topic": {**classify, "labels": ["art", "law"]},
    }
    job = launch(
        *(Path("/base"), Path("/scratch")),
        task={"type": "multi-task"},
        tasks=tasks,
        method={"type": "multi_task", "balancing": "uncertainty"},
        selection={"metric": "mean/macro_f1", "mode": "max"},
    )
    text = model_card(
        job,
        {"mood/toy": figures(0.9, 0.6), "topic/toy": figures(0.8, 0.5)},
        {},
        SelectionOutcome(metric="mean/macro_f1", mode="max", value=0.8, step=12),
        {"mood/toy": {"train": 120, "test": 40}},
        Loads(heads=True),
    )
    front = yaml.safe_load(text.split("---")[1])
    assert front["pipeline_tag"] == "text-classification"
    assert [found["dataset"]["name"] for found in front["model-index"][0]["results"]] == [
        "mood/toy",
        "topic/toy",
    ]
    assert "2 tasks over one base: `mood` (text-classification into bad, good), `topic`" in text
    assert "multi-task fine-tuning (proportional sampling, uncertainty losses)" in text
    assert "| topic/toy | trained on | 40 | 0.800 [0.700, 0.900] | 0.500 |" in text
    assert 'from_pretrained("path/to/this/folder/mood")' in text
    assert "the whole model of its own head: `mood`, `topic`" in text


def test_functions_of_the_users_own_are_named() -> None:
    evaluation = {"metrics": ["accuracy"], "custom_metrics": {"cost": "mine:cost"}}
    job = launch(Path("/base"), Path("/scratch"), evaluation=evaluation)
    identity = job.identity.model_copy(update={"code": "c" * 64})
    figure = {"toy": {**figures(0.9, 0.6), "cost": 0.25}}
    job = job.model_copy(update={"identity": identity})

    text = model_card(job, figure, {}, SelectionOutcome(last=True, step=3), {})

    assert "| domain | role | rows | accuracy | cost | floor |" in text
    assert "| toy | trained on | 40 | 0.900 [0.800, 1.000] | 0.250 | 0.600 |" in text
    assert f"own code (sha256 `{'c' * 64}`" in text
    assert "`evaluation.custom_metrics.cost: mine:cost`" in text
    assert "own code" not in card()


def test_an_adapter_is_shown_with_its_base_and_its_labels() -> None:
    method = {"type": "lora", "rank": 8, "alpha": 16.0, "target_modules": ["q"], "use_dora": True}
    text = model_card(
        launch(Path("/base"), Path("/scratch"), method=method),
        {"toy": figures(0.9, 0.6)},
        {},
        SelectionOutcome(last=True, step=12),
        {"toy": {"test": 40}},
        Loads(adapter_of=Origin("hf://org/encoder", "abc", "d" * 64)),
    )
    front = yaml.safe_load(text.split("---")[1])
    assert (front["library_name"], front["base_model"]) == ("peft", "hf://org/encoder")
    assert "LoRA (rank 8, alpha 16, DoRA) of `/base` on toy" in text
    assert 'from_pretrained(\n    "org/encoder", num_labels=len(labels)' in text
    assert "labels = ['negative', 'positive']" in text
    assert "PeftModel.from_pretrained(base" in text


def test_gaps_between_groups_have_a_part_of_their_own() -> None:
    gap = {
        "slice": "country",
        "group": "x|<b>",
        "num_rows": 100,
        "metric": "accuracy",
        "value": 0.5,
        "others": 0.9,
        "gap": -0.4,
        "interval": [-0.5, -0.3],
        "is_worse": True,
    }
    compared = {"accuracy": {"others": 0.9, "gap": -0.4}}
    sliced = {
        **figures(0.9, 0.6),
        "slices": {"country": {"x|<b>": {"num_rows": 100, "gaps": compared}}},
        "gaps": [gap],
    }
    text = model_card(
        launch(Path("/base"), Path("/scratch")),
        {"toy": sliced},
        {},
        SelectionOutcome(last=True, step=3),
        {},
    )

    line = "| toy | country | x\\|&lt;b> | 100 | accuracy | 0.500 | 0.900 |"
    assert f"{line} **-0.400 [-0.500, -0.300]** |" in text
    assert "The largest gaps of 1 comparisons on test" in text
    assert "## Fairness" not in card()


def test_a_translation_is_measured_against_copying() -> None:
    job = launch(
        Path("/base"),
        Path("/scratch"),
        task={"type": "translation"},
        evaluation={"metrics": ["bleu", "chrf"]},
    )
    values = {"num_rows": 9, "bleu": 0.1, "chrf": 0.31, "copy_bleu": 0.05, "copy_chrf": 0.33}

    text = model_card(job, {"toy": values}, {}, SelectionOutcome(last=True, step=3), {})

    assert "| toy | trained on | 9 | 0.100 | 0.310 | 0.330 |" in text
    assert "The floor is the chrf of giving the source back untranslated." in text
    assert "No better than the floor on: toy." in text


def test_calibration_has_a_table_of_its_own() -> None:
    after = {**figures(0.9, 0.6), "ece": 0.05, "brier": 0.2, "loss": 0.3}
    after["intervals"] = {**after["intervals"], "ece": [0.04, 0.09]}
    text = model_card(
        launch(Path("/base"), Path("/scratch")),
        {"toy": after},
        {"toy": {**figures(0.5, 0.6), "ece": 0.2, "brier": 0.5, "loss": 0.7}},
        SelectionOutcome(last=True, step=12),
        {"toy": {"test": 40}},
    )
    assert "| toy | 0.200 → 0.050 [0.040, 0.090] | 0.500 → 0.200 | 0.700 → 0.300 |" in text
    assert "Calibration" not in card()


def test_label_sets_have_their_floor_and_a_row_a_label() -> None:
    values = {
        "num_rows": 40,
        "micro_f1": 0.4,
        "ece": 0.1,
        "brier": 0.2,
        "loss": 0.5,
        "constant_micro_f1": 0.5,
        "per_class": {
            "a": {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 9, "given": 18}
        },
    }
    task = {"type": "text-classification", "problem": "multi_label", "labels": ["a", "b"]}
    evaluation = {"metrics": ["micro_f1"]}
    text = model_card(
        launch(Path("/base"), Path("/scratch"), task=task, evaluation=evaluation),
        {"toy": values},
        {},
        SelectionOutcome(last=True, step=12),
        {"toy": {"test": 40}},
    )
    assert "text-classification with any number of a, b, from 0.5 on" in text
    assert "| toy | trained on | 40 | 0.400 | 0.500 |" in text
    assert "The floor is the micro_f1 of the best answer that is the same for every row." in text
    assert "| toy | a | 9 | 18 | 0.500 | 1.000 | 0.667 |" in text
    assert "No better than the floor on: toy." in text


def test_a_regression_of_pairs_is_judged_by_its_error() -> None:
    values = {"num_rows": 40, "rmse": 0.4, "constant_rmse": 0.9}
    task = {"type": "text-classification", "problem": "regression", "pairs": True}
    method = {"type": "lora", "rank": 8, "alpha": 16.0, "target_modules": ["q"]}
    text = model_card(
        launch(
            Path("/base"),
            Path("/scratch"),
            task=task,
            method=method,
            evaluation={"metrics": ["rmse"]},
        ),
        {"toy": values},
        {"toy": {**values, "rmse": 1.5}},
        SelectionOutcome(last=True, step=12),
        {"toy": {"test": 40}},
        Loads(adapter_of=Origin("hf://org/encoder", "abc", "d" * 64)),
    )
    assert "of pairs of texts as a regression: a number for each" in text
    assert "| toy | trained on | 40 | 1.500 → 0.400 | 0.900 |" in text
    assert 'problem_type="regression"' in text
    assert "labels = ['value']" in text
    assert "No better than" not in text
    assert "Calibration" not in text
