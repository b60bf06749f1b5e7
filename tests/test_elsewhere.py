"""`plan --hardware` from the spec's file to the answer, with a base whose weights are not here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator import server
from orchestrator.errors import InvalidInput, SettingsError, UserError
from orchestrator.server import HardwarePlan
from orchestrator.settings import Settings, load_settings
from tests.inspect.model_folders import write_model
from tests.inspect.published import LLAMA_3_8B
from tests.inspect.rows import POLAR, jsonl
from tests.test_server import SPEC

CUSTOM = """\
apiVersion: finetune.orchestrator/v1alpha1
kind: FineTune
metadata: {name: script}
spec:
  task: {type: custom, entrypoint: train.py}
  data: {domains: {camera: {train: [{path: train.jsonl}]}}}
  runtime: {code: code}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The spec of four rows, and a base of which there is a config alone."""
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(jsonl(POLAR))
    (tmp_path / "spec.yaml").write_text(SPEC.replace("  resources: {workers: 2}\n", ""))
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text(json.dumps(LLAMA_3_8B))
    (tmp_path / "script.yaml").write_text(CUSTOM)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("")
    return tmp_path


def settings(folder: Path, **environ: str) -> Settings:
    return load_settings(environ={"HOME": str(folder), **environ}, directory=folder)


def planned(folder: Path, *hardware: str, name: str = "spec.yaml", **environ: str) -> HardwarePlan:
    return server.plan_elsewhere(
        folder / name,
        ("training.precision=bf16",) if name == "spec.yaml" else (),
        hardware=hardware or ("4xH100",),
        settings=settings(folder, **environ),
    )


def test_a_base_whose_weights_are_not_here(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    found = planned(folder, "4xH100,2xL4")

    assert found.fits
    assert [fleet.hardware for fleet in found.fleets] == ["4xH100", "2xL4"]
    assert found.model.parameters.total == 8_030_261_248 - 128_256 * 4096
    assert found.warnings[0] == (
        "the base's parameters are counted from its config: its weights are not here"
    )
    assert sorted(folder.rglob("*")) == before


def test_a_base_that_is_here_is_read_from_its_header(folder: Path) -> None:
    write_model(folder / "base")
    (folder / "base/tokenizer.json").unlink()
    with pytest.raises(InvalidInput, match="holds no tokenizer"):
        planned(folder)
    found = server.plan_elsewhere(
        Path("jobs/quickstart.yaml").absolute(), hardware=["8xA10"], settings=settings(folder)
    )

    assert found.model.parameters.total == 22_713_216
    assert found.steps.tokens_measured
    assert found.warnings == ()
    assert found.fleets[0].workers == 2  # as the spec writes


def test_prices_may_be_set_by_any_name_of_a_gpu(folder: Path) -> None:
    choice = planned(folder, ORCHESTRATOR_PRICES='{"nvidia-h100-80gb": 3}').fleets[0].choice

    assert choice is not None
    assert choice.cost == pytest.approx(4 * 3 * choice.total_seconds / 3600, abs=1e-4)


def test_a_spec_that_was_written_for_cpus_may_ask_for_what_needs_gpus(folder: Path) -> None:
    engine = ("training.precision=fp16", "engine.offload=optimizer", "engine.zero_stage=2")
    found = server.plan_elsewhere(
        folder / "spec.yaml", engine, hardware=["2xV100"], settings=settings(folder)
    )

    assert found.fits
    assert found.precision == "fp16"


def test_a_price_of_no_gpu(folder: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        planned(folder, ORCHESTRATOR_PRICES='{"H10O": 3}')

    assert caught.value.message == (
        "prices (environment ORCHESTRATOR_PRICES): no GPU 'H10O' is known"
    )
    assert caught.value.hint == "did you mean H100?"


def test_a_script_cannot_be_planned_for(folder: Path) -> None:
    with pytest.raises(UserError, match="a custom task's script decides itself"):
        planned(folder, name="script.yaml")


def test_wrong_hardware_is_told_before_anything_is_read(folder: Path) -> None:
    with pytest.raises(UserError, match="no GPU 'H1000' is known"):
        planned(folder, "8xH1000", name="nowhere.yaml")


def test_a_wrong_spec_is_told_as_ever(folder: Path) -> None:
    (folder / "train.jsonl").unlink()
    (folder / "base/config.json").write_text("{}")
    with pytest.raises(InvalidInput) as caught:
        planned(folder)

    paths = {problem.path for problem in caught.value.problems}
    assert paths == {"data.domains.camera.train[0].path", "model.base"}
