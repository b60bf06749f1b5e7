"""User code on its way into a rank: by its digest, anew for every Attempt, importable, and ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestrator.errors import IntegrityError, StoreUnavailable, UserCodeError
from orchestrator.worker.custom.code import UserCode, bring_code
from orchestrator.worker.gang import Gang
from tests.worker.custom.builders import script_launch


def bring(gang: Gang, tmp_path: Path, files: dict[str, str]) -> UserCode:
    code = bring_code(script_launch(tmp_path, "", files), gang, tmp_path)
    assert code is not None
    return code


def test_modules_and_packages_are_imported(gang: Gang, tmp_path: Path) -> None:
    files = {
        "figures/__init__.py": "from figures.inner import cost\n",
        "figures/inner.py": "def cost(a, b):\n    return a + b\n",
    }

    code = bring(gang, tmp_path, files)

    assert code.function("figures:cost", "x")(1, 2) == 3
    assert code.function("figures.inner:cost", "x")(1, 2) == 3
    assert str(tmp_path / "code") in sys.path


def test_it_is_unpacked_anew_for_each_attempt(gang: Gang, tmp_path: Path) -> None:
    job = script_launch(tmp_path, "print('mine')\n")
    bring_code(job, gang, tmp_path)
    (tmp_path / "code" / "train.py").write_text("changed")
    (tmp_path / "code" / "left.py").write_text("left")

    bring_code(job, gang, tmp_path)

    assert [path.name for path in (tmp_path / "code").iterdir()] == ["train.py"]
    assert (tmp_path / "code" / "train.py").read_text() == "print('mine')\n"


def test_without_code_there_is_none(gang: Gang, tmp_path: Path) -> None:
    job = script_launch(tmp_path, "")
    identity = job.identity.model_copy(update={"code": None})

    assert bring_code(job.model_copy(update={"identity": identity}), gang, tmp_path) is None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.unlink(), "is gone .*submit the job again"),
        (lambda path: path.write_bytes(b"other"), "is damaged: its sha256 is "),
    ],
)
def test_other_bytes_are_not_run(damage: object, told: str, gang: Gang, tmp_path: Path) -> None:
    job = script_launch(tmp_path, "")
    assert callable(damage)
    damage(tmp_path / "store" / ".code" / f"{job.identity.code}.tar")

    with pytest.raises(IntegrityError, match=told):
        bring_code(job, gang, tmp_path)


def test_a_name_that_is_taken_is_refused(gang: Gang, tmp_path: Path) -> None:
    code = bring(gang, tmp_path, {"json.py": "def cost():\n    return 1\n"})

    with pytest.raises(UserCodeError, match=r"^x: json:cost: the name json is taken by .*json"):
        code.function("json:cost", "x")


def test_what_is_not_of_its_making_passes(gang: Gang, tmp_path: Path) -> None:
    code = bring(gang, tmp_path, {})
    passing: list[BaseException] = [
        MemoryError(),
        RuntimeError("CUDA out of memory"),
        RuntimeError("Connection closed by peer"),
        StoreUnavailable("the store is away"),
        KeyboardInterrupt(),
    ]
    for error in passing:
        with pytest.raises(type(error)) as caught, code.errors("x"):
            raise error
        assert caught.value is error


def test_a_module_that_fails_is_told_by_its_own_line(gang: Gang, tmp_path: Path) -> None:
    files = {"outer.py": "import inner\n", "inner.py": "\nimport no_such_library\n"}
    code = bring(gang, tmp_path, files)

    with pytest.raises(UserCodeError) as caught:
        code.function("outer:f", "training.loss")

    assert caught.value.message == (
        "training.loss: outer:f raised ModuleNotFoundError: No module named 'no_such_library' "
        "(inner.py, line 2)"
    )
