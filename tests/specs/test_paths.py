"""Relative places become absolute."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.specs.paths import local_path, with_absolute_paths
from tests.specs.builders import document, spec


def test_local_places_become_absolute_and_urls_stay() -> None:
    data = document()["spec"]["data"]
    data["domains"]["movie"]["test"] = [{"path": "s3://bucket/x"}, {"hub": "a/b", "split": "test"}]
    found = with_absolute_paths(
        spec(data=data, model={"base": "bases/tiny"}, output={"store": "models"}), Path("/home/me")
    ).spec
    (train,) = found.data.domains["camera"].train or ()
    first, second = found.data.domains["movie"].test or ()
    assert train.path == "/home/me/camera/train.jsonl"
    assert (first.path, second.hub, second.path) == ("s3://bucket/x", "a/b", None)
    assert found.model.base == "/home/me/bases/tiny"
    assert found.output.store == "/home/me/models"


def test_a_base_that_is_a_url_stays() -> None:
    found = with_absolute_paths(spec(), Path("/home/me"))
    assert found.spec.model.base == "package://some_package/model"
    assert found == with_absolute_paths(found, Path("/elsewhere"))


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("a/b.csv", Path("/base/a/b.csv")),
        ("/abs/b.csv", Path("/abs/b.csv")),
        ("file:///abs/b.csv", Path("/abs/b.csv")),
        ("s3://bucket/b.csv", None),
        ("~/b.csv", Path.home() / "b.csv"),
    ],
)
def test_local_path(place: str, path: Path | None) -> None:
    assert local_path(place, Path("/base")) == path
