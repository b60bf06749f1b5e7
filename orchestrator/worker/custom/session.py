"""What a script of a custom task works with, in every rank of its gang.

    from orchestrator.worker.custom import current_session

    session = current_session()

The process group of `torch.distributed` is there already. Methods marked as collective are called
by every rank, equally often and in the same order; docs/user-code.md shows a whole script.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InvalidInput, TrainingDiverged, UserCodeError, UserError
from orchestrator.inspect.safetensors import read_header
from orchestrator.specs import CustomTask, FineTuneSpec, Split
from orchestrator.storage.folders import files_in
from orchestrator.storage.published import check_publishable
from orchestrator.worker.redaction import Redaction
from orchestrator.worker.training.checkpointing import PROGRESS_FILE, Checkpointer, Progress

if TYPE_CHECKING:
    import torch

    from orchestrator.records import Launch
    from orchestrator.worker.gang import Gang
    from orchestrator.worker.training.reporting import Reporter

WRITTEN = ("metrics.json", "lineage.json")
"""Files of a published model that the system writes itself."""

MAX_METRICS, MAX_NAME = 200, 100  # of one Report: it has a size

_ROW = frozenset({"step", "epoch", "time"})  # what a row of the history has besides metrics

Metrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Given:
    """What was brought to this node for the script."""

    device: torch.device
    scratch: Path  # of the Attempt on this node
    base_folder: Path | None
    files: Mapping[tuple[str, Split], tuple[Path, ...]]
    resume_folder: Path | None = None
    resume_step: int | None = None


@dataclass(slots=True)
class Done:
    """What the script did, for whoever ran it."""

    step: int | None = None
    saved_step: int | None = None
    is_stopped: bool = False
    export: Path | None = None  # a copy of what is to be published
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)  # names of the metrics that came on the way
    history: list[dict[str, Any]] = field(default_factory=list)


class Session:
    """One rank's side of a running Attempt."""

    def __init__(
        self,
        launch: Launch,
        gang: Gang,
        reporter: Reporter,
        checkpointer: Checkpointer,
        given: Given,
    ) -> None:
        self._launch = launch
        self._gang = gang
        self._reporter = reporter
        self._checkpointer = checkpointer
        self._given = given
        self._redaction = Redaction.of(launch.spec.spec.runtime)
        self.done = Done(saved_step=given.resume_step)

    # Where it runs, and with what

    @property
    def rank(self) -> int:
        return self._gang.rank

    @property
    def world_size(self) -> int:
        return self._gang.world_size

    @property
    def local_rank(self) -> int:
        return self._gang.local_rank

    @property
    def device(self) -> torch.device:
        """This rank's GPU, or the CPU."""
        return self._given.device

    @property
    def spec(self) -> FineTuneSpec:
        """The resolved spec: `session.spec.training.seed` and the like are the script's to heed."""
        return self._launch.spec.spec

    @property
    def arguments(self) -> Mapping[str, str]:
        """`task.arguments`; they are in `sys.argv` too."""
        assert isinstance(self.spec.task, CustomTask)
        return self.spec.task.arguments

    @property
    def base_folder(self) -> Path | None:
        """The base model on this node; None where the spec names none."""
        return self._given.base_folder

    def files(self, domain: str, split: Split) -> tuple[Path, ...]:
        """The local files of a split in a fixed order; empty where the domain has no such split."""
        if domain not in self.spec.data.domains:
            known = ", ".join(self.spec.data.domains)
            raise UserCodeError(f"the spec has no domain {domain!r}; it has {known}")
        return self._given.files.get((domain, split), ())

    @property
    def scratch(self) -> Path:
        """A folder of this rank, gone with the Attempt."""
        folder = self._given.scratch / f"script-{self.rank}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    # How far it is

    def report(
        self,
        *,
        step: int,
        max_steps: int | None = None,
        epoch: float | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Tells people and curves how far it is; of rank 0, the others' calls do nothing.

        A gang that reports no step for `scheduling.hang_seconds` is taken to hang.

        Args:
            step: Steps taken so far.
            max_steps: Of all; where it is known.
            epoch: Passes over the data; where that means something.
            metrics: Name -> number: loss, learning_rate, <domain>/<metric>, whatever there is.

        Raises:
            TrainingDiverged: `loss` is no finite number.
        """
        self.done.step = int(step)
        if not self._gang.is_first:
            return
        numbers = {self._redaction.text(n): v for n, v in _numbers(metrics or {}).items()}
        if taken := sorted(numbers.keys() & _ROW):
            raise UserCodeError(f"a metric cannot be called {taken[0]}", hint="call it otherwise")
        self.done.reported |= numbers.keys()
        row = {"step": int(step), "epoch": epoch, "time": time.time(), **numbers}
        self.done.history.append(row)
        told = {"step": int(step), "max_steps": max_steps, "epoch": epoch, "metrics": numbers}
        self._reporter.update(
            checkpoint_step=self._checkpointer.committed_step,
            **{name: value for name, value in told.items() if value is not None},
        )
        loss = numbers.get("loss", 0.0)
        if not math.isfinite(loss):
            hint = "lower the learning rate, or lengthen the warm-up"
            raise TrainingDiverged(f"the loss became {loss} at step {step}", hint=hint)

    def should_stop(self) -> bool:
        """Whether the job shall save a checkpoint and end now. Collective: all get one answer."""
        asked = self._gang.flags_from_first(int(self._reporter.should_stop))
        self.done.is_stopped = self.done.is_stopped or bool(asked)
        return bool(asked)

    # Checkpoints

    @property
    def resume_folder(self) -> Path | None:
        """The files of all ranks' newest checkpoint, on this node; None: begin at the beginning."""
        return self._given.resume_folder

    @property
    def resume_step(self) -> int | None:
        """The step that checkpoint was saved at."""
        return self._given.resume_step

    def save_checkpoint(self, folder: Path | str | None, step: int) -> None:
        """Saves files to go on from. Collective.

        They are copied before this returns and stored behind the script. What counts is decided
        when every rank's are stored: resuming takes the newest checkpoint that is whole.

        Args:
            folder: This rank's files; names differ between ranks. None: this rank has none.
            step: Steps taken; more than at the checkpoint before.
        """
        if folder is not None and not Path(folder).is_dir():
            raise UserCodeError(f"{folder} is no folder", hint="None: this rank has no files")
        names = files_in(Path(folder)) if folder is not None else []
        self._check_checkpoint(names, step)
        staged = self._checkpointer.stage(f"step-{step}")
        if folder is not None:
            shutil.copytree(folder, staged, dirs_exist_ok=True)
        if self._gang.is_first:
            self._checkpointer.submit_history(list(self.done.history))
            self._reporter.update(step=step)  # it has come so far, whether it says so or not
        self._checkpointer.submit_checkpoint(step, staged, Progress())
        self.done.saved_step = step

    def _check_checkpoint(self, names: list[str], step: int) -> None:
        before = self.done.saved_step
        if before is not None and step <= before:
            raise UserCodeError(f"the checkpoint of step {step} comes after that of step {before}")
        every = self._gang.gather((step, names))
        if len({told for told, _ in every}) > 1:
            raise UserCodeError(f"ranks save different steps: {[told for told, _ in every]}")
        seen: dict[str, int] = {PROGRESS_FILE: -1}
        for rank, (_, files) in enumerate(every):
            for name in files:
                if name in seen:
                    other = f"rank {seen[name]}" if seen[name] >= 0 else "the system"
                    raise UserCodeError(
                        f"rank {rank} and {other} both save {name}",
                        hint="give each rank's files names of their own, e.g. with its number",
                    )
                seen[name] = rank

    # The model

    def publish(self, folder: Path | str, metrics: Metrics | None = None) -> None:
        """Hands over the model that this job publishes, once; of rank 0, others' calls do nothing.

        It is copied now, and published when the script has ended well on every rank.

        Args:
            folder: safetensors, JSON and text; pickles are refused. A README.md of yours is kept.
            metrics: Domain -> metric -> number, measured on test.

        Raises:
            UserError: It holds what must not be published.
        """
        if not self._gang.is_first:
            return
        assert isinstance(self.spec.task, CustomTask)
        if not self.spec.task.publishes:
            hint = "remove task.publishes"
            raise UserCodeError("the spec says that this job publishes no model", hint=hint)
        if self.done.export is not None:
            raise UserCodeError("a job publishes one model, and this one has done so before")
        self._check_model(Path(folder))
        self.done.metrics = _checked_metrics(metrics or {}, self._redaction)
        export = self._given.scratch / "export"
        shutil.rmtree(export, ignore_errors=True)
        shutil.copytree(folder, export)
        self.done.export = export

    def _check_model(self, folder: Path) -> None:
        for name in check_publishable(folder):
            if name in WRITTEN:
                hint = "hand figures over as `metrics`, or rename the file"
                raise UserCodeError(f"{name} is written by the system", hint=hint)
            if self._redaction.is_in(folder / name):
                hint = "published models are for everybody; leave it out"
                raise UserCodeError(f"{name} holds the value of a secret", hint=hint)
            if name.endswith(".safetensors"):
                _check_safetensors(folder / name, name)


_current: Session | None = None


def current_session() -> Session:
    """The session of this process; raises UserError outside a custom task."""
    if _current is None:
        raise UserError(
            "there is no session here",
            hint="it is for the script of a custom task: task.entrypoint",
        )
    return _current


@contextmanager
def session_of_process(session: Session) -> Iterator[None]:
    """Makes `current_session` find it; a process has one at a time, whatever its threads."""
    global _current
    _current = session
    try:
        yield
    finally:
        _current = None


def _check_safetensors(path: Path, name: str) -> None:
    """A pickle does not become data by its name."""
    try:
        read_header(path)
    except InvalidInput:
        hint = "write it with safetensors.torch.save_file"
        raise UserCodeError(f"{name} is no safetensors file", hint=hint) from None


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    if len(metrics) > MAX_METRICS:
        raise UserCodeError(f"{len(metrics)} metrics at once; at most {MAX_METRICS} are kept")
    found = {str(name): float(value) for name, value in metrics.items()}
    if long := [name for name in found if len(name) > MAX_NAME]:
        raise UserCodeError(f"the name of a metric has more than {MAX_NAME} signs: {long[0]:.40}…")
    return found


def _checked_metrics(
    metrics: Mapping[str, Any], redaction: Redaction
) -> dict[str, dict[str, float]]:
    checked: dict[str, dict[str, float]] = {}
    for domain, values in metrics.items():
        if not isinstance(values, Mapping):
            example = f"metrics={{'all': {{'{domain}': {values!r}}}}}"
            raise UserCodeError(f"metrics of {domain!r} are no mapping", hint=f"write {example}")
        numbers = {redaction.text(name): value for name, value in _numbers(values).items()}
        if wrong := [name for name, value in numbers.items() if not math.isfinite(value)]:
            raise UserCodeError(f"{domain}/{wrong[0]} is {numbers[wrong[0]]}, no finite number")
        checked[redaction.text(str(domain))] = numbers
    return checked
