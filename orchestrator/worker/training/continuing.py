"""A new training that begins with another job's weights and moments: `model.optimizer`.

The schedule, the data and the steps are its own. Called by `trainer`, before the first step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers.trainer import OPTIMIZER_NAME

from orchestrator.errors import InvalidInput, Problem
from orchestrator.worker.training import universal

if TYPE_CHECKING:
    from orchestrator.worker.training.trainer import FineTuneTrainer

SHOWN = 3  # names of parameters in a message


def begin_with(trainer: FineTuneTrainer, folder: Path) -> None:
    """Weights of what learns, and how the optimizer has seen them move; a collective of the gang.

    Args:
        trainer: Prepared, with no step taken.
        folder: A fetched checkpoint, made universal where DeepSpeed wrote it.

    Raises:
        InvalidInput: It is of other parameters.
    """
    saved = json.loads((folder / universal.LEARNING_FILE).read_text())
    _check_names(trainer.saver.learning, saved)
    if trainer.is_deepspeed_enabled:
        _check_sizes(trainer.net, folder)
        universal.load(trainer.model_wrapped, folder, counts=False)
        return
    trainer._load_from_checkpoint(str(folder))
    state = torch.load(folder / OPTIMIZER_NAME, map_location="cpu", weights_only=True)["state"]
    optimizer: Any = trainer.optimizer
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _check_names(mine: list[list[str]], saved: list[list[str]]) -> None:
    """Groups count too: moments are numbered by them."""
    if mine == saved:
        return
    here, there = ({name for group in groups for name in group} for groups in (mine, saved))
    if more := sorted(here - there):
        raise _refused(f"this job also trains {_told(more)}, of which it has no moments")
    if fewer := sorted(there - here):
        raise _refused(f"this job does not train {_told(fewer)}, of which it has moments")
    raise _refused("this job groups its parameters in another way")


def _check_sizes(net: torch.nn.Module, folder: Path) -> None:
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            mine, saved = universal.size_of(parameter), universal.saved_size(folder, name)
            if mine != saved:
                raise _refused(f"{name} has {saved:,} weights there and {mine:,} here")


def _told(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _refused(message: str) -> InvalidInput:
    problem = Problem(
        f"the checkpoint of the base's job is of other parameters: {message}",
        path="model.optimizer",
        hint="remove it to begin with the base's weights and new moments",
    )
    return InvalidInput([problem])
