"""The training function: what every rank of a gang runs, under Ray Train or torchrun alike."""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.utils.logging import disable_progress_bar

from orchestrator.inspect.adapters import is_adapter
from orchestrator.records import (
    GateResult,
    JobState,
    Launch,
    Outcome,
    Phase,
    Reason,
    SelectionOutcome,
)
from orchestrator.specs import AdapterMethod, CustomTask, TextClassification
from orchestrator.specs.gate_checks import forgetting_domains
from orchestrator.specs.task_views import (
    has_heads,
    learned_keys,
    sampling_of,
    task_of_key,
    task_views,
)
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.custom.code import UserCode, bring_code
from orchestrator.worker.custom.functions import Functions, customized, transformed
from orchestrator.worker.data.batches import BatchPlan
from orchestrator.worker.data.encoding import Place
from orchestrator.worker.data.mixing import Learned, mixed_order
from orchestrator.worker.data.orders import EpochOrder, grouped
from orchestrator.worker.data.splits import Splits, load_tables
from orchestrator.worker.data.stored import RowCache
from orchestrator.worker.data.task_rows import read_splits
from orchestrator.worker.evaluation.gates import judged, start_on_valid
from orchestrator.worker.evaluation.passes import EvaluationPass, answering_on
from orchestrator.worker.evaluation.reported import reported_figures
from orchestrator.worker.evaluation.starts import start_figures
from orchestrator.worker.folders import NodeFolders, find_start, node_folders, row_limit
from orchestrator.worker.gang import Gang
from orchestrator.worker.models.adapters import load_trained, merge_in_place
from orchestrator.worker.models.attention import Surroundings, choose_attention
from orchestrator.worker.models.export import complete_folder, task_folder, without_cache
from orchestrator.worker.models.loading import load_model, load_tokenizer, on_device
from orchestrator.worker.models.start import Start
from orchestrator.worker.publishing.card import Loads, model_card
from orchestrator.worker.publishing.publish import Beside, publish
from orchestrator.worker.tasks import task_for
from orchestrator.worker.tasks.base import HasParts
from orchestrator.worker.training.arguments import (
    optimizer_name,
    total_steps,
    training_arguments,
)
from orchestrator.worker.training.checkpointing import (
    Checkpointer,
    Progress,
    Restored,
    fetch_continued,
    restore,
)
from orchestrator.worker.training.clock import Clock
from orchestrator.worker.training.methods import apply_method
from orchestrator.worker.training.reporting import Reporter
from orchestrator.worker.training.selection import domains_to_evaluate
from orchestrator.worker.training.trainer import FineTuneTrainer, Run

if TYPE_CHECKING:
    from orchestrator.worker.custom.attempt import CustomAttempt

STORE_RETRY_SECONDS = 1800.0  # a store that is away for long is worth waiting for: nothing is lost


def run_rank(launch: Launch, entered_at: float) -> None:
    """Trains, evaluates and publishes; rank 0 leaves the Outcome in the store.

    Args:
        launch: What to do.
        entered_at: When this rank's process began importing, in seconds since the epoch.
    """
    torch.set_num_threads(launch.spec.spec.resources.cpus_per_worker)
    disable_progress_bar()  # type: ignore[no-untyped-call]  # a rank has no terminal
    gang = Gang.join()
    store = CheckpointStore(open_store(launch.store, retry_seconds=STORE_RETRY_SECONDS), launch.job)
    seconds = {
        **launch.seconds,
        Phase.LAUNCH: entered_at - launch.submitted_at,
        Phase.IMPORT: time.time() - entered_at,
    }
    with Reporter(launch, gang.rank, store) as reporter:
        with node_folders(launch) as folders:
            parts = (launch, gang, store, reporter, Clock(reporter, seconds), folders)
            outcome = _attempt_of(launch)(*parts).run()
        if gang.is_first:
            store.put_outcome(launch.attempt, outcome.model_dump(mode="json"))
            reporter.update(message=outcome.message)
        gang.barrier()


def _attempt_of(launch: Launch) -> type[Attempt] | type[CustomAttempt]:
    if isinstance(launch.spec.spec.task, CustomTask):
        from orchestrator.worker.custom.attempt import CustomAttempt

        return CustomAttempt
    return Attempt


class Attempt:
    """One rank's part of one Attempt, from data to Outcome."""

    def __init__(
        self,
        launch: Launch,
        gang: Gang,
        store: CheckpointStore,
        reporter: Reporter,
        clock: Clock,
        folders: NodeFolders,
    ) -> None:
        self.launch = launch
        self.folders = folders
        self.spec = launch.spec.spec
        self.gang = gang
        self.store = store
        self.reporter = reporter
        self.clock = clock
        self.device = gang.device()
        self.resumed_from: int | None = None
        self.code: UserCode | None = None
        self.engine: dict[str, str] = {}

    def run(self) -> Outcome:
        # 1. Data, tokenizer and base model; the checkpoint to go on from, if any.
        with self.clock.phase(Phase.LOAD):
            self.code = bring_code(self.launch, self.gang, self.folders.scratch)
            functions = Functions.of(self.spec, self.code)
            start = find_start(self.launch, self.folders.cache, verify=self.gang.local_rank == 0)
            plain_task = task_for(self.spec, start.base)
            tokenizer = load_tokenizer(start.folder, plain_task)
            task = customized(plain_task, functions, self.gang)
            place = Place(start.folder, RowCache(self.folders.cache / "rows", row_limit()))
            tables = load_tables(self.spec, self.folders.cache)
            tables = transformed(tables, functions, self.spec.task, self.gang)
            splits = read_splits(self.spec, tables, task, tokenizer, place)
            seed = self.spec.training.seed
            loaded = load_model(task, start.base, tokenizer, seed)
            attention = choose_attention(self.spec, loaded, Surroundings.here())
            self.engine = {"attention": attention, "optimizer": optimizer_name()}
            model = apply_method(self.spec.method, loaded, start, seed)
            del loaded
            restored = restore(self.store, self.launch, self.gang, self.folders.scratch)
            progress = restored.progress if restored else Progress()
            self.resumed_from = restored.reference.step if restored else None
        batch_size = self.spec.evaluation.batch_size
        assert batch_size is not None, "the plan resolves it"
        evaluation = EvaluationPass(task, tokenizer, self.gang, batch_size, self.device)
        # 2. How good the start is, once a job.
        progress = self._before(model, evaluation, splits, progress)
        # 3. Train; a Directive or early stopping may end it.
        with self.clock.phase(Phase.TRAIN):
            run = self._prepare(start, tokenizer, splits, evaluation, progress)
            step = self._train(run, model, restored)
            del model
        if run.stopped_by_directive:
            return self._interrupted(run, step)
        # 4. The weights to publish, as plain transformers will load them, on every split of test.
        with self.clock.phase(Phase.EVALUATE):
            folder = self.folders.scratch / "export"
            unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]
            self._export(run, folder, step)
            metrics, gates = self._evaluate_published(folder, run, splits)
        # 5. Publish: manifest last, then the Outcome.
        return self._publish(run, folder, splits, (metrics, gates), step)

    def _before(
        self,
        model: torch.nn.Module,
        evaluation: EvaluationPass,
        splits: Splits,
        progress: Progress,
    ) -> Progress:
        """The progress with the figures of the start, unless an earlier Attempt has made them."""
        if self.spec.evaluation.before and not progress.before:
            with self.clock.phase(Phase.EVALUATE_BEFORE):
                figures = start_figures(
                    *(self.launch, evaluation.task, self.gang, open_store(self.launch.store)),
                    measure=partial(self._evaluate, model, evaluation, splits),
                )
                progress = progress.model_copy(update={"before": figures})
        if forgetting_domains(self.spec) and not progress.start:
            with self.clock.phase(Phase.EVALUATE_BEFORE):
                start = start_on_valid(self.spec, evaluation, model, splits.valid)
                progress = progress.model_copy(update={"start": start})
        return progress

    def _prepare(
        self,
        start: Start,
        tokenizer: PreTrainedTokenizerBase,
        splits: Splits,
        evaluation: EvaluationPass,
        progress: Progress,
    ) -> Run:
        spec = self.spec
        assert spec.engine.micro_batch_size is not None, "the plan resolves the micro batch"
        batches = BatchPlan(
            order=self._order(splits),
            global_batch_size=spec.training.global_batch_size,
            micro_batch_size=spec.engine.micro_batch_size,
            num_workers=self.gang.world_size,
        )
        domains = domains_to_evaluate(spec.selection, learned_keys(spec))
        return Run(
            launch=self.launch,
            start=start,
            gang=self.gang,
            task=evaluation.task,
            tokenizer=tokenizer,
            train=splits.train,
            valid={domain: splits.valid[domain] for domain in domains},
            batches=batches,
            evaluation=evaluation,
            checkpointer=Checkpointer(self.store, self.launch, self.gang, self.folders.scratch),
            reporter=self.reporter,
            progress=progress,
            num_steps=total_steps(spec, batches.steps_per_epoch),
        )

    def _order(self, splits: Splits) -> EpochOrder:
        spec = self.spec
        classes = splits.train.targets if isinstance(spec.task, TextClassification) else None
        mixed = mixed_order(
            sampling_of(spec) if spec.tasks else spec.data.mixing,
            Learned(splits.train_digest, splits.train_domains, classes),
            spec.training.seed,
            spec.training.global_batch_size,
            partial(total_steps, spec),
        )
        return grouped(spec.training, mixed, splits.train.lengths, splits.train_digest)

    def _continued(self) -> Path | None:
        reference = self.launch.continues
        if reference is None:
            return None
        store = open_store(self.launch.store, retry_seconds=STORE_RETRY_SECONDS)
        theirs = CheckpointStore(store, reference.job)
        return fetch_continued(theirs, self.launch, self.gang, self.folders.scratch)

    def _train(self, run: Run, model: torch.nn.Module, restored: Restored | None) -> int:
        """Trains to the end or to a Directive; returns the step. Frees the engine's memory."""
        without_cache(model)
        arguments = training_arguments(self.spec, run.num_steps, self.folders.scratch)
        run.is_resized = restored is not None and restored.is_resized
        run.continues = None if restored else self._continued()
        trainer = FineTuneTrainer(run, model, arguments)
        trainer.train(resume_from_checkpoint=str(restored.folder) if restored else None)
        step = int(trainer.state.global_step)
        run.checkpointer.close()
        if self.spec.selection.last and not run.stopped_by_directive:
            trainer.write_weights(self.folders.scratch / "export")
        if self.gang.is_first:
            self.store.put_history(self.launch.attempt, run.history)
        trainer.release()
        del trainer
        gc.collect()
        return step

    def _export(self, run: Run, folder: Path, step: int) -> None:
        """The model's folder, on every node: each evaluates a part of the test splits."""
        attempt, is_last = self.launch.attempt, self.spec.selection.last
        if not is_last:
            best = run.progress.best
            assert best is not None, "selection evaluates at the last step at the latest"
            attempt, step = best.attempt, best.step
        # The last weights are on the first node alone: others get them through the store.
        handed_over = is_last and sum(self.gang.gather(self.gang.local_rank == 0)) > 1
        if handed_over and self.gang.is_first:
            self.store.put_weights(attempt, step, folder, {"run": self.launch.identity.run})
        self.gang.barrier()
        if self.gang.local_rank == 0:
            if not (is_last and self.gang.is_first):
                self.store.fetch_weights(attempt, step, folder)
            if isinstance(self.spec.method, AdapterMethod) and self.spec.method.merge:
                merge_in_place(run.task, folder, run.start)
            for place in (folder, *(task_folder(folder, name) for name in self.spec.tasks or ())):
                complete_folder(place, run.tokenizer)
        self.gang.barrier()
        if handed_over and self.gang.is_first:
            self.store.delete_weights(attempt, step)

    def _evaluate(
        self,
        model: torch.nn.Module,
        evaluation: EvaluationPass,
        splits: Splits,
        *,
        sliced: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """domain -> reported figures on test; `sliced` into groups as well, where the spec asks."""
        on_device(model, self.device)
        how, seed = self.spec.evaluation, self.spec.training.seed
        model, answering = answering_on(model, evaluation)
        return {
            domain: reported_figures(
                *(answering(domain), model, encoded, how, seed),
                rows=splits.test_rows.get(domain) if sliced else None,
            )
            for domain, encoded in splits.test.items()
        }

    def _evaluate_published(
        self, folder: Path, run: Run, splits: Splits
    ) -> tuple[dict[str, dict[str, Any]], tuple[GateResult, ...]]:
        """Figures on test of the model's folder, and the gates; of several tasks one by one."""
        evaluation = run.evaluation
        load = partial(load_trained, start=run.start, method=self.spec.method)
        if not isinstance(run.task, HasParts):
            published = load(run.task, folder)
            metrics = self._evaluate(published, evaluation, splits, sliced=True)
            start = run.progress.start
            return metrics, judged(self.spec, evaluation, published, splits.valid, start)
        metrics = {}
        for name in task_views(self.spec):
            tests = {key: rows for key, rows in splits.test.items() if task_of_key(key) == name}
            published = load(run.task.task(name), task_folder(folder, name))
            own = evaluation.alone(name), replace(splits, test=tests)
            metrics |= self._evaluate(published, *own)
        return metrics, ()

    def _interrupted(self, run: Run, step: int) -> Outcome:
        return Outcome(
            job=self.launch.job,
            attempt=self.launch.attempt,
            state=JobState.SUSPENDED,
            reason=Reason.INTERRUPTED,
            message=f"stopped at step {step} of {run.num_steps}; a checkpoint is saved",
            hint="run the same command again to go on",
            resumed_from_step=self.resumed_from,
            step=step,
            checkpoint_step=run.checkpointer.committed_step,
            before=run.progress.before,
            seconds=self.clock.seconds,
        )

    def _publish(
        self,
        run: Run,
        folder: Path,
        splits: Splits,
        found: tuple[dict[str, dict[str, Any]], tuple[GateResult, ...]],
        step: int,
    ) -> Outcome:
        metrics, gates = found
        selection, best = self.spec.selection, run.progress.best
        outcome = Outcome(
            job=self.launch.job,
            attempt=self.launch.attempt,
            state=JobState.SUCCEEDED,
            reason=Reason.COMPLETED,
            resumed_from_step=self.resumed_from,
            step=step,
            checkpoint_step=run.checkpointer.committed_step or self.resumed_from,
            metrics=metrics,
            before=run.progress.before,
            selection=SelectionOutcome(last=True, step=step)
            if selection.last or best is None
            else SelectionOutcome(
                metric=selection.metric, mode=selection.mode, value=best.value, step=best.step
            ),
            gates=gates,
            promoted=all(gate.passed for gate in gates) if gates else None,
            seconds=self.clock.seconds,
        )
        with self.clock.phase(Phase.PUBLISH):
            if self.gang.is_first:
                chosen, rows = outcome.selection, splits.num_rows
                assert chosen is not None
                origin = run.start.origin if is_adapter(folder) else None
                parts = (self.launch, metrics, outcome.before, chosen, rows)
                loads = Loads(run.task.loader, origin, has_heads(self.spec), gates)
                card = model_card(*parts, loads)
                code = self.code.code if self.code is not None else None
                beside = Beside(card, code, self.engine, origin)
                version = publish(self.launch, self.store, outcome, folder, beside)
                outcome = outcome.model_copy(
                    update={"model": f"{version.name}@{version.version}", "url": version.url}
                )
        return outcome.model_copy(update={"seconds": dict(self.clock.seconds)})
