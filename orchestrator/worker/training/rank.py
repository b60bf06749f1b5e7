"""The training function: what every rank of a gang runs, under Ray Train or torchrun alike."""

from __future__ import annotations

import gc
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.utils.logging import disable_progress_bar

from orchestrator.inspect.adapters import is_adapter
from orchestrator.records import (
    JobState,
    Launch,
    Outcome,
    Phase,
    Reason,
    SelectionOutcome,
)
from orchestrator.specs import AdapterMethod, CustomTask
from orchestrator.specs.gate_checks import forgetting_domains
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.custom.code import UserCode, bring_code
from orchestrator.worker.custom.functions import Functions, customized, transformed
from orchestrator.worker.data.encoding import Place, RowEncoder
from orchestrator.worker.data.features import with_features
from orchestrator.worker.data.splits import (
    Splits,
    encode_splits,
    learned_rows,
    load_tables,
    table_digest,
)
from orchestrator.worker.data.stored import RowCache
from orchestrator.worker.evaluation.gates import judged, start_on_valid
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.evaluation.reported import reported_figures
from orchestrator.worker.evaluation.starts import start_figures
from orchestrator.worker.folders import NodeFolders, find_start, node_folders, row_limit
from orchestrator.worker.gang import Gang
from orchestrator.worker.models.adapters import load_trained, merge_in_place
from orchestrator.worker.models.attention import Surroundings, choose_attention
from orchestrator.worker.models.export import complete_folder, without_cache
from orchestrator.worker.models.loading import load_model, load_tokenizer, on_device
from orchestrator.worker.models.start import Start
from orchestrator.worker.publishing.adaptation import adaptation_section
from orchestrator.worker.publishing.card import Loads, model_card
from orchestrator.worker.publishing.publish import Beside, Measured, publish
from orchestrator.worker.tasks import task_for
from orchestrator.worker.tasks.base import DrawsExamples, Task
from orchestrator.worker.training.arguments import optimizer_name, total_steps
from orchestrator.worker.training.checkpointing import (
    Checkpointer,
    Progress,
    Restored,
    restore,
)
from orchestrator.worker.training.clock import Clock
from orchestrator.worker.training.methods import apply_method
from orchestrator.worker.training.reporting import Reporter
from orchestrator.worker.training.selection import domains_to_evaluate
from orchestrator.worker.training.steps import (
    STORE_RETRY_SECONDS,
    batches_of,
    continued,
    trainer_for,
)
from orchestrator.worker.training.trainer import Run

if TYPE_CHECKING:
    from orchestrator.worker.custom.attempt import CustomAttempt


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
            clock = Clock(reporter, seconds)
            outcome = _attempt_of(launch)(launch, gang, store, reporter, clock, folders).run()
        outcome = outcome.model_copy(update={"peak_memory_bytes": _largest(gang, clock.peaks)})
        if gang.is_first:
            store.put_outcome(launch.attempt, outcome.model_dump(mode="json"))
            reporter.update(message=outcome.message)
        gang.barrier()


def _largest(gang: Gang, peaks: dict[Phase, int]) -> dict[Phase, int]:
    found = gang.gather(peaks)
    return {phase: max(of.get(phase, 0) for of in found) for phase in peaks}


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
            encode = RowEncoder.of(self.spec, task, tokenizer, place)
            splits = self._read(functions, encode)
            model = self._model(task, start, tokenizer)
            restored = restore(self.store, self.launch, self.gang, self.folders.scratch)
            progress = restored.progress if restored else Progress()
            self.resumed_from = restored.reference.step if restored else None
        evaluation = self._evaluation(task, tokenizer)
        # 2. How good the start is, once a job.
        progress = self._before(model, evaluation, splits, progress)
        # 3. Train; a Directive or early stopping may end it.
        with self.clock.phase(Phase.TRAIN):
            cache = RowCache(self.folders.cache / "rows", row_limit())
            learned, rows = with_features(self.launch, model, evaluation, splits, cache)
            run = self._prepare(start, tokenizer, rows, learned, progress)
            step = self._train(run, model, rows, restored)
            del model
        if run.stopped_by_directive:
            return self._interrupted(run, step)
        # 4. The weights to publish, as plain transformers will load them, on every split of test.
        with self.clock.phase(Phase.EVALUATE):
            folder = self.folders.scratch / "export"
            unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]
            self._export(run, folder, step)
            published = load_trained(task, folder, start, self.spec.method)
            metrics = self._evaluate(published, evaluation, splits, sliced=True)
            gates = judged(self.spec, evaluation, published, splits.valid, run.progress.start)
            if self.spec.evaluation.explain:
                from orchestrator.worker.publishing.explanations import explain_published

                explain_published(self.launch, evaluation, published, splits, folder)
        # 5. How well they learn from a few rows of domains that were held out.
        adaptation = self._adapt(run, published, evaluation, splits)
        if adaptation is None:
            return self._interrupted(run, step)
        # 6. Publish: manifest last, then the Outcome.
        return self._publish(run, folder, splits, Measured(metrics, gates, adaptation), step)

    def _model(
        self, task: Task, start: Start, tokenizer: PreTrainedTokenizerBase
    ) -> torch.nn.Module:
        """The base with the task's head, of which the method has chosen what learns."""
        seed = self.spec.training.seed
        loaded = load_model(task, start.base, tokenizer, seed)
        attention = choose_attention(self.spec, loaded, Surroundings.here())
        self.engine = {"attention": attention, "optimizer": optimizer_name()}
        return apply_method(self.spec.method, loaded, start, seed)

    def _evaluation(self, task: Task, tokenizer: PreTrainedTokenizerBase) -> EvaluationPass:
        batch_size = self.spec.evaluation.batch_size
        assert batch_size is not None, "the plan resolves it"
        return EvaluationPass(task, tokenizer, self.gang, batch_size, self.device)

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

    def _read(self, functions: Functions, encode: RowEncoder) -> Splits:
        tables = load_tables(self.spec, self.folders.cache)
        changed = transformed(tables, functions, self.spec.task, self.gang)
        if isinstance(encode.task, DrawsExamples):
            rows = learned_rows(self.spec, changed)
            encode.task.draw(rows, f"{table_digest(rows)}/{self.spec.training.seed}")
        return encode_splits(self.spec, changed, encode)

    def _prepare(
        self,
        start: Start,
        tokenizer: PreTrainedTokenizerBase,
        splits: Splits,
        evaluation: EvaluationPass,
        progress: Progress,
    ) -> Run:
        spec = self.spec
        assert spec.data.train_on is not None, "the plan resolves train_on"
        batches = batches_of(spec, splits, self.gang.world_size)
        domains = domains_to_evaluate(spec.selection, spec.data.train_on)
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

    def _train(
        self, run: Run, model: torch.nn.Module, splits: Splits, restored: Restored | None
    ) -> int:
        """Trains to the end or to a Directive; returns the step. Frees the engine's memory."""
        without_cache(model)
        run.is_resized = restored is not None and restored.is_resized
        run.continues = None if restored else continued(self.launch, self.gang, self.folders)
        trainer = trainer_for(run, model, splits, self.folders.scratch)
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
            complete_folder(folder, run.tokenizer)
            if isinstance(run.task, DrawsExamples):
                run.task.write_beside(folder)
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
        return {
            domain: reported_figures(
                *(evaluation, model, encoded, how, seed),
                rows=splits.test_rows.get(domain) if sliced else None,
            )
            for domain, encoded in splits.test.items()
        }

    def _adapt(
        self, run: Run, published: torch.nn.Module, evaluation: EvaluationPass, splits: Splits
    ) -> dict[str, Any] | None:
        """K-shot curves, if asked for; None where the gang was told to stop meanwhile."""
        if self.spec.evaluation.adaptation is None:
            return {}
        from orchestrator.worker.training.k_shot import k_shot_curves

        with self.clock.phase(Phase.ADAPT):
            return k_shot_curves(run, published, evaluation, splits)

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
        measured: Measured,
        step: int,
    ) -> Outcome:
        selection, best = self.spec.selection, run.progress.best
        outcome = Outcome(
            job=self.launch.job,
            attempt=self.launch.attempt,
            state=JobState.SUCCEEDED,
            reason=Reason.COMPLETED,
            resumed_from_step=self.resumed_from,
            step=step,
            checkpoint_step=run.checkpointer.committed_step or self.resumed_from,
            metrics=measured.metrics,
            adaptation=measured.adaptation,
            before=run.progress.before,
            selection=SelectionOutcome(last=True, step=step)
            if selection.last or best is None
            else SelectionOutcome(
                metric=selection.metric, mode=selection.mode, value=best.value, step=best.step
            ),
            gates=measured.gates,
            promoted=all(gate.passed for gate in measured.gates) if measured.gates else None,
            seconds=self.clock.seconds,
        )
        with self.clock.phase(Phase.PUBLISH):
            if self.gang.is_first:
                chosen, rows = outcome.selection, splits.num_rows
                assert chosen is not None
                origin = run.start.origin if is_adapter(folder) else None
                parts = (self.launch, measured.metrics, outcome.before, chosen, rows)
                card = model_card(*parts, Loads(run.task.loader, origin, measured.gates))
                if measured.adaptation:
                    card += "\n" + adaptation_section(measured.adaptation) + "\n"
                code = self.code.code if self.code is not None else None
                beside = Beside(card, code, self.engine, origin)
                version = publish(self.launch, self.store, outcome, folder, beside)
                outcome = outcome.model_copy(
                    update={"model": f"{version.name}@{version.version}", "url": version.url}
                )
        return outcome.model_copy(update={"seconds": dict(self.clock.seconds)})
