"""Whether the rows are there that episodes and k-shot curves draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.inspect.data import DataFacts, inspect_data
from orchestrator.specs.identity import identity_document
from tests.inspect.rows import Row, data_spec, jsonl, write
from tests.specs.builders import spec

META: dict[str, Any] = {"type": "meta", "algorithm": "fomaml", "shots": 2}


def opinions(positive: int, negative: int, what: str) -> list[Row]:
    return [(f"{what} is fine {n}", "pos") for n in range(positive)] + [
        (f"{what} is poor {n}", "neg") for n in range(negative)
    ]


def facts(folder: Path, tweets: list[Row], **sections: Any) -> DataFacts:
    write(
        folder,
        camera_jsonl=jsonl(opinions(6, 6, "camera")),
        movie_jsonl=jsonl(opinions(5, 3, "movie")),
        valid_jsonl=jsonl(opinions(2, 2, "lens")),
        tweet_jsonl=jsonl(tweets),
        test_jsonl=jsonl(opinions(2, 2, "phone")),
    )
    domains = {
        "camera": {"train": "camera.jsonl", "valid": "valid.jsonl", "test": "test.jsonl"},
        "movie": {"train": "movie.jsonl", "valid": "valid.jsonl"},
        "tweet": {"train": "tweet.jsonl", "test": "test.jsonl"},
    }
    body = data_spec(
        domains,
        data={"train_on": ["camera", "movie"]},
        method=META,
        evaluation={"adaptation": {"shots": [0, 4]}},
        **sections,
    )
    return inspect_data(body, base_dir=folder, fetch=None)


def test_held_out_rows_are_read_and_not_learned(tmp_path: Path) -> None:
    found = facts(tmp_path, opinions(9, 8, "tweet"))
    assert found.problems == ()
    assert found.num_train_rows == 12 + 8
    assert found.lent == {("tweet", "train")}
    assert found.splits["tweet", "train"].num_rows == 17
    assert "tweet/train" in found.digests
    assert found.shares_labels


def test_too_few_rows_are_told(tmp_path: Path) -> None:
    found = facts(tmp_path, opinions(9, 3, "tweet"))
    movie, tweet = (text for text in found.warnings if " draws " in text)
    assert "an episode of movie draws 4 train rows of each class" in movie
    assert "'neg' 3" in movie
    assert "the last point of its curve of tweet draws 4" in tweet


def test_one_class_alone_teaches_nothing(tmp_path: Path) -> None:
    (problem,) = facts(tmp_path, opinions(9, 0, "tweet")).problems
    assert problem.path == "data.domains.tweet.train"
    assert "few rows of one class teach nothing" in problem.message


def test_domains_without_a_common_label(tmp_path: Path) -> None:
    other = [(f"tweet {n}", label) for n in range(9) for label in ("angry", "glad")]
    task = {"type": "text-classification", "labels": ["pos", "neg", "angry", "glad"]}
    assert not facts(tmp_path, other, task=task).shares_labels


def test_what_is_lent_is_part_of_the_identity() -> None:
    def train_splits(**evaluation: Any) -> set[str]:
        source = [{"path": "x.jsonl"}]
        domains = {name: {"train": source, "test": source} for name in ("a", "b", "c")}
        job = spec(data={"domains": domains, "train_on": ["a", "b"]}, evaluation=evaluation)
        read = identity_document(job)["spec"]["data"]["domains"]
        return {name for name, splits in read.items() if "train" in splits}

    assert train_splits() == {"a", "b"}
    assert train_splits(adaptation={}) == {"a", "b", "c"}
