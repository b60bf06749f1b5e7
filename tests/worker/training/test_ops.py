"""Compiled ops: locks of the dead go, those of the living stay, a half-built op is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.worker.training import ops

OP = "deepspeed_shm_comm"
HOLD = """
import os, sys
os.open(sys.argv[1], os.O_CREAT | os.O_EXCL)  # as torch's builds do
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of ops."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def compiling(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of an op, as one that compiles does."""
    (folder / OP).mkdir()
    command = [sys.executable, "-c", HOLD, str(folder / OP / "lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_lock_of_a_living_build_stays(folder: Path, compiling: subprocess.Popen[str]) -> None:
    assert ops.remove_stale_locks() == []
    assert (folder / OP / "lock").exists()


def test_the_lock_of_a_killed_build_goes(folder: Path, compiling: subprocess.Popen[str]) -> None:
    compiling.kill()
    compiling.wait()

    assert ops.remove_stale_locks() == [folder / OP / "lock"]
    assert not (folder / OP / "lock").exists()


def test_no_folder_no_locks(folder: Path) -> None:
    assert ops.remove_stale_locks() == []


@pytest.mark.parametrize(
    ("files", "missing"),
    [([], [OP]), ([f"{OP}.so"], [OP]), ([".built"], [OP]), ([f"{OP}.so", ".built"], [])],
    ids=["nothing", "only linked", "deleted", "built"],
)
def test_missing_ops(folder: Path, files: list[str], missing: list[str]) -> None:
    (folder / OP).mkdir()
    for name in files:
        (folder / OP / name).touch()

    assert ops.missing_ops([OP]) == missing


def test_a_gpu_needs_no_op_of_the_cpu() -> None:
    assert ops.needed_ops(cuda=True) == []


def test_a_chosen_folder_wins(folder: Path) -> None:
    assert ops.extensions_dir() == folder


def test_an_environment_has_ops_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
    here = ops.extensions_dir()
    monkeypatch.setattr(ops, "version", {"torch": "99.0", "deepspeed": "0.19.8"}.__getitem__)

    assert here.is_relative_to(sys.prefix)
    assert ops.extensions_dir().parent == here.parent
    assert ops.extensions_dir() != here, "another torch needs other ops"


def test_a_read_only_environment_builds_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(ops.os, "access", lambda *_: False)

    assert ops.extensions_dir().is_relative_to(tmp_path / "finetune-orchestrator")


def test_the_environment_finds_ninja_first(folder: Path) -> None:
    programs = str(Path(sys.executable).parent)

    chosen = ops.environment({"PATH": f"/usr/bin:{programs}:/bin"})

    assert chosen["PATH"] == f"{programs}:/usr/bin:/bin"
    assert chosen["TORCH_EXTENSIONS_DIR"] == str(folder)


@pytest.mark.parametrize(("cuda", "accelerator"), [(False, "cpu"), (True, None)])
def test_deepspeed_is_told_of_a_machine_without_gpu(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, accelerator: str | None
) -> None:
    monkeypatch.setattr(ops, "_has_cuda", lambda: cuda)

    assert ops.environment({}).get("DS_ACCELERATOR") == accelerator


def test_a_failing_compiler_is_told_and_leaves_the_op_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/bin/false")

    with pytest.raises(ops.OpBuildFailed, match=OP) as failure:
        ops.prebuild([OP])

    assert failure.value.hint is not None
    assert "g++" in failure.value.hint
    assert ops.missing_ops([OP]) == [OP]
    assert ops.remove_stale_locks() == []
