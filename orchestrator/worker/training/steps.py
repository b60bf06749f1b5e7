"""What the steps of a training learn from, and the trainer that takes them. Called by `rank`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedModel

from orchestrator.records import Launch
from orchestrator.specs import FineTuneSpec, MetaMethod, TextClassification
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.data.batches import BatchPlan
from orchestrator.worker.data.mixing import Learned, mixed_order
from orchestrator.worker.data.orders import EpochOrder, grouped
from orchestrator.worker.data.splits import Splits
from orchestrator.worker.folders import NodeFolders
from orchestrator.worker.gang import Gang
from orchestrator.worker.training.arguments import total_steps, training_arguments
from orchestrator.worker.training.checkpointing import fetch_continued
from orchestrator.worker.training.trainer import FineTuneTrainer, Run

STORE_RETRY_SECONDS = 1800.0  # a store that is away for long is worth waiting for: nothing is lost


def batches_of(spec: FineTuneSpec, splits: Splits, num_workers: int) -> BatchPlan:
    """Batches of rows, or of episodes where these are learned."""
    if isinstance(spec.method, MetaMethod):
        from orchestrator.worker.training.episodic import episode_batches

        return episode_batches(spec, len(splits.train), num_workers)
    assert spec.engine.micro_batch_size is not None, "the plan resolves the micro batch"
    return BatchPlan(
        order=_order(spec, splits),
        global_batch_size=spec.training.global_batch_size,
        micro_batch_size=spec.engine.micro_batch_size,
        num_workers=num_workers,
    )


def trainer_for(run: Run, model: torch.nn.Module, splits: Splits, scratch: Path) -> FineTuneTrainer:
    if isinstance(run.spec.method, MetaMethod):
        from orchestrator.worker.training.episodic import EpisodicTrainer, episodes_of

        assert isinstance(model, PreTrainedModel), "it has no adapter"
        return EpisodicTrainer(run, model, episodes_of(run.spec, splits), scratch)
    return FineTuneTrainer(run, model, training_arguments(run.spec, run.num_steps, scratch))


def continued(launch: Launch, gang: Gang, folders: NodeFolders) -> Path | None:
    """The checkpoint of another job that this one goes on from, on this node; None without one."""
    reference = launch.continues
    if reference is None:
        return None
    store = open_store(launch.store, retry_seconds=STORE_RETRY_SECONDS)
    theirs = CheckpointStore(store, reference.job)
    return fetch_continued(theirs, launch, gang, folders.scratch)


def _order(spec: FineTuneSpec, splits: Splits) -> EpochOrder:
    classes = splits.train.targets if isinstance(spec.task, TextClassification) else None
    mixed = mixed_order(
        spec.data.mixing,
        Learned(splits.train_digest, splits.train_domains, classes),
        spec.training.seed,
        spec.training.global_batch_size,
        partial(total_steps, spec),
    )
    return grouped(spec.training, mixed, splits.train.lengths, splits.train_digest)
