"""Files of a custom task: found, hashed and handed on, whatever they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.inspect.data import DataFacts, inspect_data
from orchestrator.inspect.given import given_files
from orchestrator.specs.data import DataSpec
from tests.specs.builders import spec


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def facts(folder: Path, *paths: str, domain: str = "camera") -> DataFacts:
    sources = [{"path": path} for path in paths]
    body = spec(
        model=None,
        task={"type": "custom", "entrypoint": "train.py"},
        data={"domains": {domain: {"train": sources}}},
        runtime={"code": "pkg"},
    )
    return inspect_data(body.spec, base_dir=folder, fetch=None)


def digest(folder: Path, *paths: str) -> str:
    return facts(folder, *paths).digests["camera/train"]


def test_files_of_any_kind_in_a_fixed_order(tmp_path: Path) -> None:
    write(tmp_path, one_bin="1", more__b_img="2", more__a_img="3", more__deep__c_txt="4")
    data: Any = {"camera": {"train": [{"path": "one.bin"}, {"path": "more"}]}}

    found = given_files(DataSpec(domains=data), base_dir=tmp_path, fetch=None, hashed=False)

    inside = [path.relative_to(tmp_path).as_posix() for path in found.paths["camera", "train"]]
    assert inside == ["one.bin", "more/a.img", "more/b.img", "more/deep/c.txt"]
    assert found.digests == {}


def test_what_makes_other_data(tmp_path: Path) -> None:
    write(tmp_path, a_txt="1", copy_txt="1", b_txt="2", x__a_txt="1", x__b_txt="2")
    write(tmp_path, y__a_txt="1", y__b_txt="2", z__a_txt="1", z__c_txt="2")

    assert digest(tmp_path, "a.txt") == digest(tmp_path, "copy.txt")  # moved
    assert digest(tmp_path, "x") == digest(tmp_path, "y")
    assert digest(tmp_path, "a.txt") != digest(tmp_path, "b.txt")
    assert digest(tmp_path, "x") != digest(tmp_path, "z")  # a script may go by names
    assert digest(tmp_path, "a.txt", "b.txt") != digest(tmp_path, "b.txt", "a.txt")


@pytest.mark.parametrize(
    ("path", "told"), [("nothing.txt", "nothing.txt"), ("*.none", "none"), ("s3://b/x", "s3://b/x")]
)
def test_what_is_not_there(path: str, told: str, tmp_path: Path) -> None:
    (problem,) = facts(tmp_path, path).problems

    assert problem.path == "data.domains.camera.train[0].path"
    assert told in problem.message
