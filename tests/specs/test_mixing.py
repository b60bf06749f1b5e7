"""What `data.mixing` and `task.class_weights` refuse, and where they point."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.specs import drawn_domains
from orchestrator.specs.checks import check_spec
from orchestrator.specs.loading import load_document
from tests.specs.builders import document, spec

ROWS = {"train": [{"path": "x.csv"}], "test": [{"path": "y.csv"}]}
DATA: dict[str, Any] = {
    "domains": {"camera": ROWS, "movie": ROWS, "tweet": ROWS, "news": {"test": ROWS["test"]}},
    "train_on": ["camera", "movie"],
}


def mixed(**mixing: Any) -> dict[str, Any]:
    return {"data": {**DATA, "mixing": mixing}}


def classify(**fields: Any) -> dict[str, Any]:
    return {"task": {"type": "text-classification", **fields}}


STAGES = [{"domains": ["camera"]}, {"domains": ["camera", "movie"]}]
WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    (
        mixed(strategy="weights", weights={"camera": 1, "movie": 1, "twet": 1}),
        "data.mixing.weights.twet",
        "no domain that could be drawn",
        "one of camera, movie",
    ),
    (
        mixed(strategy="weights", weights={"camera": 1}),
        "data.mixing.weights",
        "domain 'movie' is learned from and has no weight",
        "write movie: 1",
    ),
    (
        mixed(strategy="curriculum", stages=STAGES[:1]),
        "data.mixing.stages",
        "no stage draws rows of domain 'movie'",
        "add it to a stage",
    ),
    (
        mixed(strategy="curriculum", stages=[{"domains": ["camera", "movi"]}, *STAGES]),
        "data.mixing.stages[0].domains[1]",
        "'movi' is no domain",
        "did you mean movie?",
    ),
    (
        mixed(strategy="curriculum", stages=[{**STAGES[0], "share": 0.5}, STAGES[1]]),
        "data.mixing.stages[1].share",
        "other stages say their share",
        "or of none",
    ),
    (
        mixed(strategy="curriculum", stages=[{**stage, "share": 0.4} for stage in STAGES]),
        "data.mixing.stages",
        "add up to 0.8, not to 1",
        "equally long",
    ),
    (
        mixed(replay={"domains": ["movie"], "fraction": 0.2}),
        "data.mixing.replay.domains[0]",
        "'movie' is learned from already (data.train_on)",
        "data.train_on",
    ),
    (
        mixed(replay={"domains": ["news"], "fraction": 0.2}),
        "data.mixing.replay.domains[0]",
        "'news' has no train split",
        "add data.domains.news.train",
    ),
    (
        mixed(replay={"domains": ["tweet", "tweet"], "fraction": 0.2}),
        "data.mixing.replay.domains[1]",
        "'tweet' is listed twice",
        "remove one",
    ),
    (
        {"task": {"type": "causal-lm"}, **mixed(balance_classes=True)},
        "data.mixing.balance_classes",
        "rows of causal-lm have no classes",
        "remove it",
    ),
    (
        classify(labels=["a", "b"], class_weights={"weights": {"a": 1, "c": 2}}),
        "task.class_weights.weights.c",
        "the labels of the task do not list 'c'",
        "one of a, b",
    ),
    (
        classify(labels=["a", "b", "c"], class_weights={"weights": {"a": 1, "b": 2}}),
        "task.class_weights.weights",
        "'c' has no weight",
        "write c: 1",
    ),
    (
        {
            **classify(class_weights={"balanced": True}),
            "training": {"loss": "losses:focal"},
            "runtime": {"code": "code"},
        },
        "task.class_weights",
        "losses:focal's, which is given no weights",
        "training.loss",
    ),
]


@pytest.mark.parametrize(("sections", "path", "message", "hint"), WRONG)
def test_contradictions(sections: dict[str, Any], path: str, message: str, hint: str) -> None:
    found = [p for p in check_spec(spec(**sections)) if p.path == path and message in p.message]
    assert len(found) == 1, check_spec(spec(**sections))
    assert hint in (found[0].hint or "")


@pytest.mark.parametrize(
    ("mixing", "path", "message"),
    [
        ({"strategy": "temperature"}, "temperature", "needs `temperature`"),
        ({"strategy": "weights"}, "weights", "needs `weights`"),
        ({"strategy": "curriculum"}, "stages", "needs `stages`"),
        ({"strategy": "equal", "temperature": 2.0}, "temperature", "the strategy temperature's"),
        ({"replay": {"domains": ["tweet"], "fraction": 1.0}}, "replay.fraction", "less than 1"),
        ({"strategy": "even"}, "strategy", "must be one of"),
    ],
)
def test_fields_of_another_strategy(mixing: dict[str, Any], path: str, message: str) -> None:
    import yaml

    (problem,) = load_document(yaml.safe_dump(document(**mixed(**mixing)))).problems
    assert problem.path == f"data.mixing.{path}"
    assert message in problem.message


@pytest.mark.parametrize(
    "mixing",
    [
        {"strategy": "equal"},
        {"strategy": "temperature", "temperature": 3},
        {"strategy": "curriculum", "stages": STAGES, "balance_classes": True},
        {"replay": {"domains": ["tweet"], "fraction": 0.2}},
    ],
)
def test_what_goes_together(mixing: dict[str, Any]) -> None:
    assert check_spec(spec(**mixed(**mixing))) == []


def test_replayed_domains_are_drawn_from() -> None:
    body = spec(**mixed(replay={"domains": ["tweet"], "fraction": 0.2})).spec
    assert drawn_domains(body.data) == ("camera", "movie", "tweet")
