"""One base under several tasks: it reads each batch once, and every task's head stands on it.

Each head is the rest of transformers' own model for its task, so any architecture that has one
works, and each is written as that model: base and head together. All heads see all rows, so that
every rank computes gradients of the same weights in every micro-batch, whatever tasks its rows are
of; losses leave out what is another task's. Tasks that predict tokens share the base's own head.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_NAME

from orchestrator.worker.models.export import as_it_came, write_weights

LOGITS = "logits_{}"
UNCERTAINTIES = "log_variances"
_BACKBONE, _HEADS = "backbone.", "heads.{}."

State = Mapping[str, torch.Tensor]


class _OnceABatch:
    """Stands in the heads where each had a base of its own: the base is run by the first to ask."""

    def __init__(self, backbone: Callable[..., Any]) -> None:
        self._backbone = backbone
        self._outputs: Any = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self._outputs is None:
            self._outputs = self._backbone(*arguments, **named)
        return self._outputs

    def forget(self) -> None:
        self._outputs = None


class SharedModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A base with the heads of several tasks; its output is a mapping, `logits_0`, `logits_1`, …"""

    base_model_prefix = "backbone"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(
        self, wholes: Sequence[PreTrainedModel], folders: Sequence[str], num_tasks: int
    ) -> None:
        """Args:
        wholes: A model of each task on the same base, or one that predicts tokens for all.
        folders: Where each is written, below the model's folder; none of one for all.
        num_tasks: How many uncertainties there are to learn.
        """
        super().__init__(wholes[0].config)
        self.folders = tuple(folders)
        self.num_tasks = num_tasks
        self.heads = torch.nn.ModuleList()
        self.log_variances: torch.nn.Parameter | None = None
        if not folders:
            self.heads.append(wholes[0])
            return
        backbone = wholes[0].base_model
        self._once = _OnceABatch(backbone)
        for whole in wholes:
            del whole._modules[whole.base_model_prefix]
            whole.__dict__[whole.base_model_prefix] = self._once
            self.heads.append(whole)
        # The base alone has no labels; its layers go on with the config they were made with.
        config = copy.deepcopy(wholes[0].config)
        config.num_labels = 2
        config.problem_type = None
        backbone.config = config  # type: ignore[assignment]  # a plain attribute
        self.backbone = backbone

    def learn_uncertainties(self) -> None:
        """Adds s = log of the variance of each task (Kendall et al. 2018), from 0."""
        self.log_variances = torch.nn.Parameter(torch.zeros(self.num_tasks))

    def forward(self, **inputs: Any) -> dict[str, torch.Tensor]:
        found = {LOGITS.format(at): head(**inputs).logits for at, head in enumerate(self.heads)}
        if self.folders:
            self._once.forget()
        if self.log_variances is not None:
            # Handed out from here: under ZeRO-3 they are whole only within this call.
            found[UNCERTAINTIES] = self.log_variances * 1.0
        return found

    @property
    def language(self) -> PreTrainedModel:
        """The one model of tasks that predict tokens."""
        assert not self.folders
        (whole,) = self.heads
        assert isinstance(whole, PreTrainedModel)
        return whole

    def write(self, state: State | None, folder: Path) -> None:
        """The base alone in `folder`, and whole models with one head in folders below it.

        Args:
            state: Gathered weights where the model itself holds only shards of them.
            folder: Created if absent.
        """
        if not self.folders:
            with as_it_came(self):
                write_weights(self.language, _below(state, _HEADS.format(0)), folder)
            return
        of_base = _below(state, _BACKBONE)
        assert isinstance(self.backbone, PreTrainedModel)
        # transformers empties the mapping that it writes
        write_weights(self.backbone, None if of_base is None else dict(of_base), folder)
        for at, name in enumerate(self.folders):
            with self._whole(at) as whole:
                of_head = _below(state, _HEADS.format(at))
                together = None
                if of_base is not None and of_head is not None:
                    prefix = whole.base_model_prefix
                    together = {f"{prefix}.{key}": value for key, value in of_base.items()}
                    together |= of_head
                write_weights(whole, together, folder / name)

    def write_state(self, state: State, folder: Path) -> None:
        """What a resumed training loads: every weight once, under this model's own names."""
        folder.mkdir(parents=True, exist_ok=True)
        once: dict[int, str] = {}  # tied weights are one tensor under two names
        for name, value in self.state_dict().items():
            once.setdefault(value.data_ptr(), name)
        tensors = {name: state[name].detach().cpu().contiguous() for name in once.values()}
        save_file(tensors, folder / SAFE_WEIGHTS_NAME)

    @contextmanager
    def _whole(self, at: int) -> Iterator[PreTrainedModel]:
        """A head with the base in its place, as transformers made it."""
        head = self.heads[at]
        assert isinstance(head, PreTrainedModel)
        prefix = head.base_model_prefix
        del head.__dict__[prefix]
        head._modules[prefix] = self.backbone
        try:
            yield head
        finally:
            del head._modules[prefix]
            head.__dict__[prefix] = self._once


def _below(state: State | None, prefix: str) -> dict[str, torch.Tensor] | None:
    if state is None:
        return None
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
