"""What becomes of a script: however it ends, its job ends with a reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import TrainingDiverged, UserCodeError
from orchestrator.records import CheckpointRef, JobState, Launch, Outcome, Reason
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry
from orchestrator.worker.custom.attempt import CustomAttempt, command_line
from orchestrator.worker.folders import node_folders
from orchestrator.worker.gang import Gang
from orchestrator.worker.training.clock import Clock
from orchestrator.worker.training.reporting import Reporter
from tests.worker.custom.builders import checkpoints_of, script_launch

HEAD = """
from pathlib import Path
import sys
import torch
from safetensors.torch import save_file
from orchestrator.worker.custom import current_session
session = current_session()
def model():
    folder = session.scratch / "model"
    folder.mkdir(exist_ok=True)
    save_file({"weight": torch.ones(2)}, folder / "model.safetensors")
    return folder
"""


class Told(Reporter):
    """Stands for a control plane that asks to stop at the n-th look; 0: never."""

    def __init__(self, launch: Launch, looks: int = 0) -> None:
        super().__init__(launch, 0)
        self.looks = looks

    @property
    def should_stop(self) -> bool:
        self.looks -= 1
        return self.looks == 0


def run(launch: Launch, gang: Gang, looks: int = 0) -> Outcome:
    store = checkpoints_of(launch)
    if launch.attempt not in store.attempts():
        assert store.claim_attempt({"engine": {}}) == launch.attempt
    reporter = Told(launch, looks)
    with node_folders(launch) as folders:
        return CustomAttempt(launch, gang, store, reporter, Clock(reporter, {}), folders).run()


def published(launch: Launch, path: str) -> Any:
    registry = ModelRegistry(open_store(launch.store))
    return registry.read_json(registry.resolve("toy"), path)


def test_a_script_publishes_with_lineage_and_card(gang: Gang, tmp_path: Path) -> None:
    script = (
        HEAD
        + """
import helper
assert sys.argv == [__file__, "--steps", "3", "--verbose"], sys.argv
assert Path("helper.py").is_file(), "the working directory is the code's"
assert [file.read_text() for file in session.files("toy", "train")] == ['{"text": "fine"}\\n']
session.report(step=helper.STEPS, max_steps=3, metrics={"loss": 0.5})
session.publish(model(), metrics={"toy": {"accuracy": 0.75}})
"""
    )
    launch = script_launch(
        tmp_path,
        script,
        {"helper.py": "STEPS = 3\n"},
        task={"arguments": {"steps": "3", "verbose": ""}},
    )

    outcome = run(launch, gang)

    assert (outcome.state, outcome.reason, outcome.message) == (
        JobState.SUCCEEDED,
        Reason.COMPLETED,
        None,
    )
    assert (outcome.model, outcome.step) == ("toy@1", 3)
    lineage = published(launch, "lineage.json")
    assert lineage["code"]["sha256"] == launch.identity.code
    assert [file["path"] for file in lineage["code"]["files"]] == ["helper.py", "train.py"]
    assert published(launch, "metrics.json")["test"] == {"toy": {"accuracy": 0.75}}
    card = (tmp_path / "store" / "toy" / "1" / "README.md").read_text()
    assert "`train.py --steps 3 --verbose`" in card
    assert "| toy | accuracy | 0.7500 |" in card
    assert [row["loss"] for row in checkpoints_of(launch).history(1)] == [0.5]


# What a script does -> state, reason, and what the message says.
ENDS = {
    "no metric at all": (
        "session.publish(model())",
        {},
        (JobState.SUCCEEDED, Reason.COMPLETED, "train.py reported no metric"),
    ),
    "exits 0 and publishes nothing": (
        "sys.exit(0)",
        {},
        (JobState.FAILED, Reason.USER_ERROR, "task.entrypoint: train.py ended without publishing"),
    ),
    "publishes nothing, as the spec says": (
        "session.report(step=1, metrics={'loss': 1})",
        {"task": {"publishes": False}},
        (JobState.SUCCEEDED, Reason.COMPLETED, None),
    ),
    "never the metric it was to report": (
        "session.report(step=1, metrics={'loss': 1}); session.publish(model())",
        {"selection": {"metric": "toy/accuracy"}},
        (JobState.FAILED, Reason.NO_METRIC, "ended and never reported toy/accuracy"),
    ),
    "the metric as a figure of the model": (
        "session.publish(model(), metrics={'toy': {'accuracy': 1}})",
        {"selection": {"metric": "toy/accuracy"}},
        (JobState.SUCCEEDED, Reason.COMPLETED, None),
    ),
    "the metric on the way": (
        "session.report(step=1, metrics={'toy/accuracy': 1}); session.publish(model())",
        {"selection": {"metric": "toy/accuracy"}},
        (JobState.SUCCEEDED, Reason.COMPLETED, None),
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_an_end_without_an_error(name: str, gang: Gang, tmp_path: Path) -> None:
    script, sections, (state, reason, message) = ENDS[name]
    launch = script_launch(tmp_path, HEAD + script, **sections)

    outcome = run(launch, gang)

    assert (outcome.state, outcome.reason) == (state, reason)
    if message is None:
        assert outcome.message is None
    else:
        assert message in (outcome.message or "")
    is_there = ModelRegistry(open_store(launch.store)).find_by_run("toy", launch.job) is not None
    assert is_there == (state is JobState.SUCCEEDED and "publish" in script)


RAISES = {
    "1 / 0": r"^task\.entrypoint: train\.py raised ZeroDivisionError: .* \(train\.py, line 14\)$",
    "import helper": r"raised KeyError: 'lost' \(helper\.py, line 2\)$",
    "sys.exit(3)": r"^task\.entrypoint: train\.py ended with exit code 3$",
    "sys.exit('no rows')": r"^task\.entrypoint: train\.py ended with no rows$",
    "session.files('movie', 'train')": r"no domain 'movie'; it has toy \(train\.py, line 14\)$",
    "session.report(step='x')": r"raised ValueError: .* \(train\.py, line 14\)$",
    "session.publish(Path('/nowhere'))": r"/nowhere holds no files to publish \(train\.py, line 14",
    "f = model(); torch.save({}, f / 'a.bin'); session.publish(f)": r"a\.bin may be a pickle",
    "f = model(); torch.save({}, f / 'a.safetensors'); session.publish(f)": (
        r"a\.safetensors is no safetensors file \(train\.py, line 14\)$"
    ),
    "f = model(); (f / 'lineage.json').write_text('{}'); session.publish(f)": (
        r"lineage\.json is written by the system"
    ),
    "session.publish(model()); session.publish(model())": r"a job publishes one model",
    "session.publish(model(), metrics={'loss': 1.0})": r"metrics of 'loss' are no mapping",
    "session.publish(model(), metrics={'a': {'b': float('nan')}})": r"a/b is nan, no finite number",
    "session.save_checkpoint(session.scratch / 'none', 1)": r"none is no folder",
    "session.save_checkpoint(None, 2); session.save_checkpoint(None, 2)": (
        r"the checkpoint of step 2 comes after that of step 2"
    ),
    "(session.scratch / 'progress.json').write_text(''); "
    "session.save_checkpoint(session.scratch, 1)": r"rank 0 and the system both save",
    "session.report(step=1, metrics={str(n): n for n in range(201)})": r"201 metrics at once",
    "session.report(step=1, metrics={'time': 1})": r"a metric cannot be called time \(train\.py",
    "def": r"raised SyntaxError: .* \(train\.py, line 14\)$",
}


@pytest.mark.parametrize("line", RAISES)
def test_an_error_is_told_where_it_is(line: str, gang: Gang, tmp_path: Path) -> None:
    helper = "lost = {}\nlost['lost']\n"
    launch = script_launch(tmp_path, f"{HEAD}\n{line}\n", {"helper.py": helper})

    with pytest.raises(UserCodeError) as caught:
        run(launch, gang)

    assert re.search(RAISES[line], caught.value.message), caught.value.message


def test_a_loss_that_is_none_is_a_divergence(gang: Gang, tmp_path: Path) -> None:
    launch = script_launch(tmp_path, f"{HEAD}\nsession.report(step=4, metrics={{'loss': 1e999}})")

    with pytest.raises(TrainingDiverged, match="the loss became inf at step 4"):
        run(launch, gang)


def test_the_process_group_is_the_gangs(gang: Gang, tmp_path: Path) -> None:
    """As scripts for torchrun begin and end."""
    script = (
        HEAD
        + """
from torch.distributed import destroy_process_group, init_process_group
import torch.distributed as dist
init_process_group("gloo")
seen = torch.ones(1)
dist.all_reduce(seen)
session.publish(model(), metrics={"all": {"ranks": seen.item()}})
part = dist.new_group([0])
destroy_process_group(part)
destroy_process_group()
"""
    )

    outcome = run(script_launch(tmp_path, script), gang)

    assert outcome.metrics == {"all": {"ranks": 1.0}}
    gang.barrier()


COUNTING = (
    HEAD
    + """
step = session.resume_step or 0
if session.resume_folder is not None:
    assert (session.resume_folder / "count").read_text() == str(step)
while step < 6:
    step += 1
    session.report(step=step, max_steps=6, metrics={"loss": 1 / step})
    stop = session.should_stop()
    if stop or step % 2 == 0:
        (session.scratch / "state").mkdir(exist_ok=True)
        (session.scratch / "state" / "count").write_text(str(step))
        session.save_checkpoint(session.scratch / "state", step)
    if stop:
        sys.exit()
session.publish(model())
"""
)


def test_stopped_it_saves_and_goes_on_from_there(gang: Gang, tmp_path: Path) -> None:
    launch = script_launch(tmp_path, COUNTING)

    first = run(launch, gang, looks=3)

    assert (first.state, first.reason, first.checkpoint_step) == (
        JobState.SUSPENDED,
        Reason.INTERRUPTED,
        3,
    )
    assert first.message == "train.py stopped when it was asked to; a checkpoint is saved"
    again = launch.model_copy(
        update={"attempt": 2, "resume": (CheckpointRef(attempt=1, step=3, world_size=1),)}
    )
    second = run(again, gang)
    assert (second.state, second.resumed_from_step, second.step) == (JobState.SUCCEEDED, 3, 6)
    assert [row["step"] for row in checkpoints_of(again).history(2)] == [4, 5, 6]


def test_a_metric_of_an_earlier_attempt_has_come(gang: Gang, tmp_path: Path) -> None:
    """It was measured before the kill, and its steps are not taken again."""
    script = COUNTING.replace('{"loss": 1 / step}', '{"toy/accuracy": 1} if step == 2 else None')
    launch = script_launch(tmp_path, script, selection={"metric": "toy/accuracy"})
    run(launch, gang, looks=3)

    again = launch.model_copy(
        update={"attempt": 2, "resume": (CheckpointRef(attempt=1, step=3, world_size=1),)}
    )

    assert run(again, gang).state is JobState.SUCCEEDED


def test_secrets_are_neither_published_nor_reported(
    gang: Gang, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hunter22")
    script = (
        HEAD
        + """
import os
token = os.environ["HF_TOKEN"]
session.report(step=1, metrics={f"loss-{token}": 1})
session.publish(model(), metrics={token: {token: 1}})
"""
    )
    runtime = {"code": "/pkg", "secrets": ["hf-token"]}
    launch = script_launch(tmp_path / "shown", script, runtime=runtime)

    assert run(launch, gang).metrics == {"***": {"***": 1.0}}

    found = [path for path in (tmp_path / "shown" / "store").rglob("*") if path.is_file()]
    assert len(found) > 5
    assert [path for path in found if b"hunter22" in path.read_bytes()] == []
    script = HEAD + "f = model(); (f / 'README.md').write_text('my hunter22'); session.publish(f)"
    launch = script_launch(tmp_path / "hidden", script, runtime=runtime)
    with pytest.raises(UserCodeError, match=r"README\.md holds the value of a secret"):
        run(launch, gang)


def test_arguments_become_words() -> None:
    assert command_line({"steps": "40", "verbose": ""}) == ["--steps", "40", "--verbose"]


def test_a_readme_of_the_scripts_own_stays(gang: Gang, tmp_path: Path) -> None:
    script = HEAD + "f = model(); (f / 'README.md').write_text('mine'); session.publish(f)"
    launch = script_launch(tmp_path, script)

    run(launch, gang)

    assert (tmp_path / "store" / "toy" / "1" / "README.md").read_text() == "mine"
    manifest = json.loads((tmp_path / "store" / "toy" / "1" / "manifest.json").read_text())
    assert {file["path"] for file in manifest["files"]} == {
        *("README.md", "lineage.json", "metrics.json", "model.safetensors")
    }


def test_the_script_of_the_page_runs(gang: Gang, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "user-code.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)

    first = run(script_launch(tmp_path, script), gang, looks=60)

    assert (first.state, first.checkpoint_step) == (JobState.SUSPENDED, 60)
    again = script_launch(tmp_path, script).model_copy(
        update={"attempt": 2, "resume": (CheckpointRef(attempt=1, step=60, world_size=1),)}
    )
    second = run(again, gang)
    assert (second.state, second.step) == (JobState.SUCCEEDED, 400)
    assert second.metrics == {"camera": {"accuracy": 0.9}}
