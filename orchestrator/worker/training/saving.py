"""One rank's part of a checkpoint: how a trainer's state becomes files. Called by `trainer`."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from peft import PeftModel
from transformers import PreTrainedModel
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME

from orchestrator.worker.models.adapters import write_adapter
from orchestrator.worker.models.shared import SharedModel
from orchestrator.worker.training.snapshot import SnapshotEngine, Snapshots
from orchestrator.worker.training.universal import LEARNING_FILE

if TYPE_CHECKING:
    from orchestrator.worker.training.trainer import FineTuneTrainer


def learning_names(net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> list[list[str]]:
    """The names of what learns, by the optimizer's groups, before an engine makes them its own."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return [[names[id(one)] for one in group["params"]] for group in optimizer.param_groups]


class Saver:
    """Takes checkpoints of a trainer. The step loop is held while `save` runs, and no longer."""

    def __init__(self, trainer: FineTuneTrainer) -> None:
        self.learning: list[list[str]] = []
        self._trainer = trainer
        self._snapshots = Snapshots()
        self._held_seconds = 0.0

    def engine(self) -> SnapshotEngine:
        """What DeepSpeed is to write its files through."""
        return SnapshotEngine(self._snapshots)

    def held_since_last(self) -> float:
        """Seconds that checkpoints held the step loop since this was asked last."""
        held, self._held_seconds = self._held_seconds, 0.0
        return held

    def save(self) -> None:
        """One checkpoint of the current step; a collective of the gang."""
        trainer, run, began = self._trainer, self._trainer.run, time.monotonic()
        step = trainer.state.global_step
        folder = run.checkpointer.stage(f"step-{step}")
        # Where training ends anyhow nothing is won by a copy.
        is_last = trainer.control.should_training_stop or step >= trainer.state.max_steps
        self._snapshots.begin(is_held=is_last or run.spec.checkpoint.asynchronous is False)
        if not trainer.is_deepspeed_enabled and run.gang.is_first:
            self._take_weights(folder)
        trainer._save_optimizer_and_scheduler(str(folder))
        trainer._save_rng_state(str(folder))
        for script in folder.glob("zero_to_*.py"):  # scripts have no place among shards
            script.unlink()
        if run.gang.is_first:
            trainer.state.save_to_json(str(folder / TRAINER_STATE_NAME))
            (folder / LEARNING_FILE).write_text(json.dumps(self.learning))
            run.checkpointer.submit_history(list(run.history))
        run.checkpointer.submit_checkpoint(step, folder, run.progress, self._snapshots.end())
        self._held_seconds += time.monotonic() - began

    def take_optimizer(self, folder: Path) -> None:
        """Optimizer and schedule where no engine does it; every rank has the same."""
        trainer = self._trainer
        if not trainer.run.gang.is_first:
            return
        assert trainer.optimizer is not None
        assert trainer.lr_scheduler is not None
        self._snapshots.add(trainer.optimizer.state_dict(), folder / OPTIMIZER_NAME)
        torch.save(trainer.lr_scheduler.state_dict(), folder / SCHEDULER_NAME)

    def _take_weights(self, folder: Path) -> None:
        """Of a model that nobody shards; of an adapter what learns."""
        net = self._trainer.net
        beside_base = isinstance(net, PeftModel)
        frozen = {n for n, one in net.named_parameters() if beside_base and not one.requires_grad}
        weights = {name: one for name, one in net.state_dict().items() if name not in frozen}
        self._snapshots.add_write(partial(self._write, self._snapshots.put(weights), folder))

    def _write(self, weights: dict[str, torch.Tensor], folder: Path) -> None:
        """Behind the step loop, so the model's config stays as it is."""
        net = self._trainer.net
        if isinstance(net, SharedModel):
            net.write_state(weights, folder)
        elif isinstance(net, PeftModel):
            write_adapter(net, weights, folder, self._trainer.run.start.origin)
        else:
            assert isinstance(net, PreTrainedModel)
            net.save_pretrained(folder, state_dict=weights)
