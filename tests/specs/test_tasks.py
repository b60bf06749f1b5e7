"""Several tasks of one job: what contradicts, and each task's view of the spec."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from orchestrator.specs import FineTune
from orchestrator.specs.checks import check_spec
from orchestrator.specs.loading import load_document
from orchestrator.specs.task_views import deciding_keys, learned_keys, metrics_of_job, task_views
from tests.specs.builders import document

ROWS = {"train": [{"path": "x.csv"}], "test": [{"path": "y.csv"}]}
CLASSIFY = "text-classification"


def several(**sections: Any) -> dict[str, Any]:
    """A good document of two tasks; sections replace those of its body, None removes one."""
    body: dict[str, Any] = {
        "task": None,
        "tasks": {
            "sentiment": {"type": CLASSIFY, "domains": ["camera", "movie"]},
            "topic": {"type": CLASSIFY, "domains": ["camera"], "columns": {"label": "topic"}},
        },
        "data": {
            "domains": {"camera": ROWS, "movie": {"test": ROWS["test"]}},
            "train_on": ["camera"],
        },
        "method": {"type": "multi_task"},
    }
    return document(**{**body, **copy.deepcopy(sections)})


def task(name: str, **fields: Any) -> dict[str, Any]:
    tasks = several()["spec"]["tasks"]
    tasks[name] = {**tasks[name], **fields}
    return {"tasks": tasks}


TRANSLATE = {"type": "translation", "domains": ["camera"]}
LANGUAGES = {**TRANSLATE, "source_language": "en", "target_language": "de"}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"task": {"type": CLASSIFY}}, "task", "give either `task` or `tasks`, not both"),
    ({"tasks": None, "task": {"type": "multi-task"}}, "task.type", "names them in `tasks`"),
    ({"method": {"type": "full"}}, "method.type", "full learns one task, and `tasks` names 2"),
    ({"method": {"type": "lora"}}, "method.type", "lora learns one task"),
    ({"tasks": None, "task": {"type": CLASSIFY}}, "method.type", "and there is one"),
    (task("topic", **TRANSLATE, columns=None), "tasks.topic.type", "different kinds of base"),
    ({"tasks": {"a": LANGUAGES, "b": TRANSLATE}}, "tasks.a.source_language", "share a tokenizer"),
    (task("topic", domains=["camra"]), "tasks.topic.domains[0]", "unknown domain 'camra'"),
    (task("topic", domains=["camera"] * 2), "tasks.topic.domains[1]", "listed twice"),
    (task("topic", domains=["movie"]), "tasks.topic.domains", "has no rows to learn from"),
    (task("sentiment", domains=["camera"]), "data.domains.movie", "no task reads this domain"),
    (task("topic", columns={"lable": "x"}), "tasks.topic.columns.lable", "not a role"),
    (task("topic", labels=["a", "a"]), "tasks.topic.labels[1]", "'a' is listed twice"),
    (
        task("topic", labels=["a", "b"], class_weights={"weights": {"a": 1, "c": 1}}),
        "tasks.topic.class_weights.weights.c",
        "do not list 'c'",
    ),
    (
        {"method": {"type": "multi_task", "sampling": "weights", "weights": {"sentiment": 1}}},
        "method.weights",
        "task 'topic' has no weight",
    ),
    (
        {**task("topic", weight=2.0), "method": {"type": "multi_task", "balancing": "uncertainty"}},
        "tasks.topic.weight",
        "uncertainty is learned",
    ),
    (task("topic", problem="multi_label"), "tasks.topic.problem", "one label to one text"),
    (task("topic", pairs=True), "tasks.topic.pairs", "one label to one text"),
    ({"training": {"batching": {"packing": True}}}, "training.batching", "rows of several tasks"),
    ({"evaluation": {"gates": [{"metric": "mean/loss", "at_most": 1}]}}, "evaluation.gates", "one"),
    ({"training": {"layer_decay": 0.9}}, "training.layer_decay", "this is for one task"),
    ({"selection": {"metric": "camera/macro_f1"}}, "selection.metric", "no domain of a task"),
    ({"selection": {"metric": "topic/movie/loss"}}, "selection.metric", "reads no domain 'movie'"),
    ({"selection": {"metric": "sentiment/movie/loss"}}, "selection.metric", "has no valid split"),
    ({"selection": {"metric": "topic/mean/bleu"}}, "selection.metric", "no metric 'bleu'"),
    ({"evaluation": {"metrics": ["bleu"]}}, "evaluation.metrics[0]", "has no metric 'bleu'"),
]


@pytest.mark.parametrize(("sections", "path", "message"), WRONG)
def test_contradictions(sections: dict[str, Any], path: str, message: str) -> None:
    problems = check_spec(FineTune.model_validate(several(**sections)))
    assert [p for p in problems if p.path == path and message in p.message], problems
    assert all(problem.hint for problem in problems)


def test_mixing_is_the_sampling_of_tasks() -> None:
    spec = several()
    spec["spec"]["data"]["mixing"] = {"strategy": "equal"}
    (problem,) = check_spec(FineTune.model_validate(spec))
    assert (problem.path, problem.hint) == ("data.mixing", "remove it")


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"task": {"type": "multi-task"}},
        {"selection": {"metric": "topic/mean/macro_f1"}},
        {"selection": {"metric": "topic/camera/accuracy"}},
        {"method": {"type": "multi_task", "balancing": "uncertainty"}},
        {"tasks": {"a": TRANSLATE, "b": {"type": "causal-lm", "domains": ["camera", "movie"]}}},
    ],
)
def test_what_goes_together(sections: dict[str, Any]) -> None:
    assert check_spec(FineTune.model_validate(several(**sections))) == []


def test_a_lone_task_and_unknown_fields_are_refused_where_they_are() -> None:
    tasks = several()["spec"]["tasks"]
    lone = load_document(yaml.safe_dump(several(tasks={"topic": tasks["topic"]}))).problems
    assert [problem.path for problem in lone] == ["tasks"]
    odd = load_document(yaml.safe_dump(several(**task("topic", domain=["camera"])))).problems
    assert [(problem.path, problem.hint) for problem in odd] == [
        ("tasks.topic.domain", "did you mean domains?")
    ]


def test_each_task_sees_a_job_of_its_own() -> None:
    body = FineTune.model_validate(several()).spec
    views = task_views(body)

    assert list(views) == ["sentiment", "topic"]
    topic = views["topic"]
    assert (topic.task.type, topic.tasks, topic.data.train_on) == (CLASSIFY, None, ("camera",))
    assert list(topic.data.domains) == ["camera"]
    (source,) = topic.data.domains["camera"].train or ()
    assert source.columns == {"label": "topic"}
    assert learned_keys(body) == ("sentiment/camera", "topic/camera")


@pytest.mark.parametrize(
    ("metric", "keys"),
    [
        ("mean/loss", ("sentiment/camera", "topic/camera")),
        ("topic/mean/loss", ("topic/camera",)),
        ("sentiment/camera/loss", ("sentiment/camera",)),
    ],
)
def test_what_decides(metric: str, keys: tuple[str, ...]) -> None:
    body = FineTune.model_validate(several(selection={"metric": metric})).spec
    assert deciding_keys(body) == keys


def test_metrics_of_several_tasks() -> None:
    tasks = {"a": TRANSLATE, "b": {"type": "causal-lm", "domains": ["camera"]}}
    found = metrics_of_job(FineTune.model_validate(several(tasks=tasks)).spec)
    assert found.forced == ("loss", "perplexity", "token_accuracy")
    assert "bleu" in found.generated
    assert found.shown == ("chrf", "bleu", "perplexity", "token_accuracy")
    assert found.selection == "mean/loss"
