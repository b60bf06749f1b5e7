"""`transformers.Trainer` with this project's batches, loss, checkpoints, selection and reports.

What is changed, and why:
- the loss is summed over the rows that count and divided by their number in the whole global batch
  (`compute_loss_func`), so that loss and gradient are those of one process, whatever the split into
  workers and micro-batches; the Trainer's own mean of means is not;
- batches come from `GlobalBatchSampler` and are never dealt again by accelerate;
- checkpoints, evaluation and selection follow the spec's cadence and agree over the gang.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from orchestrator.errors import TrainingDiverged
from orchestrator.records import Launch
from orchestrator.specs import FineTuneSpec, MultiTaskMethod
from orchestrator.worker.data.batches import BatchPlan, GlobalBatchSampler
from orchestrator.worker.data.tokens import pad_id
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.gang import Gang
from orchestrator.worker.models.adapters import write_adapter
from orchestrator.worker.models.export import gathered_state_dict, write_weights
from orchestrator.worker.models.packed import prepare_packing
from orchestrator.worker.models.shared import SharedModel
from orchestrator.worker.models.start import Start
from orchestrator.worker.tasks.base import ChangesByEpoch, Counts, Encoded, SharesLoss, Task
from orchestrator.worker.training import universal
from orchestrator.worker.training.checkpointing import BestWeights, Checkpointer, Progress
from orchestrator.worker.training.continuing import begin_with
from orchestrator.worker.training.deepspeed import keep_gradient_norm
from orchestrator.worker.training.learning_rates import decayed_groups, groups_with_rates
from orchestrator.worker.training.reporting import Reporter
from orchestrator.worker.training.saving import Saver, learning_names
from orchestrator.worker.training.selection import after_evaluation, selected_value

SAVE, STOP = 1, 2  # flags rank 0 gives the gang after each step
MIN_THROUGHPUT_SECONDS = 1e-9


@dataclass(slots=True)
class Run:
    """What one rank works with; runtime objects, never parts of a spec."""

    launch: Launch
    start: Start
    gang: Gang
    task: Task
    tokenizer: PreTrainedTokenizerBase
    train: Encoded
    valid: dict[str, Encoded]
    batches: BatchPlan
    evaluation: EvaluationPass
    checkpointer: Checkpointer
    reporter: Reporter
    progress: Progress
    num_steps: int
    is_resized: bool = False  # resumed from what a gang of another size had saved
    continues: Path | None = None  # another job's checkpoint, in place of new moments
    stopped_by_directive: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    last_step_seconds: list[float] = field(default_factory=list)

    @property
    def spec(self) -> FineTuneSpec:
        return self.launch.spec.spec


class EpochLoader(DataLoader[Any]):
    """A rank's micro-batches, already its own: not to be prepared by accelerate."""

    def set_epoch(self, epoch: int) -> None:
        assert isinstance(self.batch_sampler, GlobalBatchSampler)
        self.batch_sampler.set_epoch(epoch)


class FineTuneTrainer(Trainer):
    """Trains one model for one Run. Call `train(resume_from_checkpoint=folder)` to resume."""

    def __init__(self, run: Run, model: torch.nn.Module, args: TrainingArguments) -> None:
        self.run = run
        self.net = model  # the model without its wrappers; with an adapter, where there is one
        self.sampler = GlobalBatchSampler(run.batches, run.gang.rank)
        self.saver = Saver(self)
        packs = run.spec.training.packs
        self.packing = prepare_packing(model, pad_id(run.tokenizer)) if packs else None
        super().__init__(
            model=model,
            args=args,
            train_dataset=run.train,
            data_collator=self._collate,
            compute_loss_func=self._loss,
            callbacks=[Cadence(self)],
        )
        self.remove_callback(PrinterCallback)

    # Batches and loss

    def get_train_dataloader(self) -> EpochLoader:
        return EpochLoader(
            self.run.train,  # type: ignore[arg-type]  # map-style without torch's base class
            batch_sampler=self.sampler,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
            generator=torch.Generator(),  # making an iterator must draw nothing of the run's RNG
        )

    def _collate(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = self.run.task.collate(rows, self.run.tokenizer)
        return batch if self.packing is None else self.packing.packed(batch)

    def _loss(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor
    ) -> torch.Tensor:
        """This rank's share; the Trainer multiplies by the ranks, whose mean DDP and ZeRO take."""
        task = self.run.task
        if isinstance(task, SharesLoss):
            return task.loss_share(outputs, labels, num_items_in_batch)
        return task.loss_sum(outputs, labels) / num_items_in_batch

    def _get_num_items_in_batch(
        self, batch_samples: list[Any], device: torch.device
    ) -> torch.Tensor | int | None:
        """What the loss of a step is divided by, over all micro-batches and ranks."""
        task = self.run.task
        if not isinstance(task, Counts):
            return super()._get_num_items_in_batch(batch_samples, device)
        counted = torch.stack([task.counted(batch["labels"]) for batch in batch_samples]).sum(0)
        everywhere: torch.Tensor = self.accelerator.gather(counted.to(device)[None])
        return everywhere.sum(0)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is not None:
            return super().create_optimizer(model)
        optimizer = self._new_optimizer(model)
        self.saver.learning = learning_names(self.net, optimizer)
        return optimizer

    def _new_optimizer(self, model: Any) -> torch.optim.Optimizer:
        groups = self._groups()
        if groups is None:
            return super().create_optimizer(model)
        kind, named = self.get_optimizer_cls_and_kwargs(self.args, self.net)  # type: ignore[arg-type]
        self.optimizer = kind(groups, **named)
        return self.optimizer

    def _groups(self) -> list[dict[str, Any]] | None:
        """Parameters that learn at rates of their own; None where all learn at one."""
        decay, method = self.run.spec.training.layer_decay, self.run.spec.method
        rate, weight_decay = self.args.learning_rate, self.args.weight_decay
        decayed = self.get_decay_parameter_names(self.net)
        if isinstance(method, MultiTaskMethod) and method.balancing == "uncertainty":
            apart = {"log_variances": method.balancing_learning_rate}
            return groups_with_rates(self.net, rate, apart, weight_decay, decayed)
        if decay is None:
            return None
        assert isinstance(self.net, PreTrainedModel), "adapters take no layer-wise rates"
        return decayed_groups(self.net, rate, decay, weight_decay, decayed)

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None
    ) -> Any:
        converted = None
        if resume_from_checkpoint and universal.is_universal(Path(resume_from_checkpoint)):
            converted, resume_from_checkpoint = Path(resume_from_checkpoint), None
        prepared = super()._prepare_for_training(  # type: ignore[no-untyped-call]
            max_steps, train_dataloader, resume_from_checkpoint
        )
        if self.is_deepspeed_enabled:
            keep_gradient_norm(self.model_wrapped)
            self.model_wrapped.checkpoint_engine = self.saver.engine()
        if converted is not None:
            universal.load(self.model_wrapped, converted)
            self._load_optimizer_and_scheduler(str(converted))  # the schedule alone
            assert self.optimizer is not None
            assert self.lr_scheduler is not None
            rates = self.lr_scheduler.get_last_lr()
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
        if self.run.continues is not None:
            begin_with(self, self.run.continues)
        return prepared

    def _run_epoch(self, **arguments: Any) -> None:  # type: ignore[override]
        """As the Trainer's, unless a resumed run has no step left to take."""
        if self.state.global_step >= self.state.max_steps or self.run.progress.stopped_early:
            self.control.should_training_stop = True
            return
        self.sampler.set_epoch(arguments["epoch"])
        if isinstance(self.run.train, ChangesByEpoch):
            self.run.train.set_epoch(arguments["epoch"])
        super()._run_epoch(**arguments)  # type: ignore[no-untyped-call]

    # Selection on valid

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Evaluates on valid, keeps the weights if they are the best so far, may end training."""
        self.control.should_evaluate = False
        run = self.run
        forward: Any = self.model_wrapped if self.is_deepspeed_enabled else self.net
        self.net.train(False)
        figures = {
            domain: run.evaluation.of(domain).evaluate(forward, encoded)
            for domain, encoded in run.valid.items()
        }
        self.net.train()
        value = selected_value(run.spec.selection, figures)
        best = BestWeights(attempt=run.launch.attempt, step=self.state.global_step, value=value)
        run.progress, improved = after_evaluation(run.spec, run.progress, best)
        if improved and not run.spec.selection.last:
            self._keep_weights()
        if run.progress.stopped_early:
            self.control.should_training_stop = True
            self.control.should_save = True
        metrics = {
            f"{domain}/{name}": number
            for domain, values in figures.items()
            for name, number in values.items()
            if isinstance(number, float)
        }
        self._record({"valid": metrics}, metrics)
        return metrics

    def _keep_weights(self) -> None:
        folder = self.run.checkpointer.stage(f"weights-{self.state.global_step}")
        self.write_weights(folder)
        if self.run.gang.is_first:
            self.run.checkpointer.submit_weights(self.state.global_step, folder)

    def write_weights(self, folder: Path) -> None:
        """The current weights as safetensors, by rank 0; a collective under ZeRO-3."""
        stage = self.run.spec.engine.zero_stage if self.is_deepspeed_enabled else None
        beside_base = isinstance(self.net, PeftModel)
        state_dict = gathered_state_dict(self.model_wrapped, stage, only_learning=beside_base)
        if self.run.gang.is_first:
            self._write(state_dict, folder)

    def _write(self, state_dict: dict[str, torch.Tensor] | None, folder: Path) -> None:
        if isinstance(self.net, PeftModel):
            write_adapter(self.net, state_dict, folder, self.run.start.origin)
        elif isinstance(self.net, SharedModel):
            self.net.write(state_dict, folder)
        else:
            assert isinstance(self.net, PreTrainedModel)
            write_weights(self.net, state_dict, folder)

    def release(self) -> None:
        """Frees what training held, so that the evaluation after it has the memory."""
        if self.is_deepspeed_enabled:
            engine: Any = self.model_wrapped
            engine.destroy()
        self.accelerator.free_memory()

    # Checkpoints

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        self.saver.save()

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.is_deepspeed_enabled:
            super()._save_optimizer_and_scheduler(output_dir)  # through the saver's engine
        else:
            self.saver.take_optimizer(Path(output_dir))

    # Reports

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise TrainingDiverged(
                f"the loss became {logs['loss']} at step {self.state.global_step}",
                hint="lower training.learning_rate, or lengthen the warm-up",
            )
        seconds = max(sum(self.run.last_step_seconds), MIN_THROUGHPUT_SECONDS)
        steps = len(self.run.last_step_seconds)
        logs["samples_per_second"] = steps * self.run.spec.training.global_batch_size / seconds
        logs["step_seconds"] = seconds / max(steps, 1)
        self.run.last_step_seconds.clear()
        if held := self.saver.held_since_last():
            logs["checkpoint_seconds"] = held
        self._record(dict(logs), dict(logs))

    def _record(self, row: dict[str, Any], metrics: dict[str, float]) -> None:
        step, epoch = self.state.global_step, self.state.epoch
        if self.run.gang.is_first:
            self.run.history.append({"step": step, "epoch": epoch, "time": time.time(), **row})
        self.run.reporter.update(
            step=step,
            max_steps=self.state.max_steps,
            epoch=epoch,
            metrics={key: float(value) for key, value in metrics.items()},
            checkpoint_step=self.run.checkpointer.committed_step,
        )


def resized_seed(seed: int, step: int, gang: Gang) -> int:
    """Of a rank's random numbers from the step on at which its gang took over from another size."""
    text = f"{seed}/{step}/{gang.world_size}/{gang.rank}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


class Cadence(TrainerCallback):
    """When to evaluate, save and stop. Rank 0 decides what depends on a clock or on a Directive."""

    def __init__(self, trainer: FineTuneTrainer) -> None:
        self._trainer = trainer
        self._last_save = self._step_began = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        run = self._trainer.run
        if state.global_step == 0:  # else the checkpoint's RNG is restored
            torch.manual_seed(args.seed * 100_003 + run.gang.rank)
        elif run.is_resized:
            torch.manual_seed(resized_seed(args.seed, state.global_step, run.gang))
        self._last_save = time.monotonic()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._step_began = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        run, step = self._trainer.run, state.global_step
        now = time.monotonic()
        run.last_step_seconds.append(now - self._step_began)
        flags = run.gang.flags_from_first(self._flags(state, now) if run.gang.is_first else 0)
        if flags & (SAVE | STOP):
            control.should_save = True
            self._last_save = now
        if flags & STOP:
            run.stopped_by_directive = True
            control.should_training_stop = True
        control.should_evaluate = self._evaluation_due(step)

    def _flags(self, state: TrainerState, now: float) -> int:
        run, step = self._trainer.run, state.global_step
        cadence = run.spec.checkpoint
        if cadence.every_steps is not None:
            due = step % cadence.every_steps == 0
        else:
            due = now - self._last_save >= 60 * (cadence.every_minutes or 20.0)
        is_last = step >= state.max_steps
        stop = run.reporter.should_stop and not is_last
        return (SAVE if due or is_last else 0) | (STOP if stop else 0)

    def _evaluation_due(self, step: int) -> bool:
        run = self._trainer.run
        every = run.spec.selection.every_steps or run.batches.steps_per_epoch
        return step % every == 0 or step >= run.num_steps
