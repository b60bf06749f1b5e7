"""A DeepSpeed checkpoint made independent of workers and ZeRO stage, and read by another gang.

DeepSpeed's own conversion (its "universal checkpoint") writes weights and moments whole, by
parameter. Reading them back is done here, through DeepSpeed's own map of who owns what, because
its loader fails where a rank owns no part of a parameter group, gives all groups the weight decay
of the first under ZeRO 3, and reads no checkpoint of another stage.

Called by `checkpointing` (conversion, once a node) and by `trainer` (reading, by every rank).
Parameters that do not learn are not in it: they follow from the base and the seed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import torch

FOLDER = "universal"
LEARNING_FILE = "learning.json"
"""Written beside the shards by rank 0: the names of what learns, by the optimizer's groups."""

WEIGHTS, MOMENTS = "fp32", ("exp_avg", "exp_avg_sq")
_COUNTS = ("global_steps", "global_samples", "skipped_steps")
_STEP_FOLDERS = "global_step*"


def convert(checkpoint: Path) -> None:
    """Replaces DeepSpeed's shards of any stage in a fetched checkpoint by the universal form.

    It reads one rank's shards at a time and needs twice their size on the disk meanwhile.
    """
    (shards,) = checkpoint.glob(_STEP_FOLDERS)
    output = checkpoint / FOLDER
    shutil.rmtree(output, ignore_errors=True)
    (output / "zero").mkdir(parents=True)
    if any(shards.glob("*zero_pp_rank_*_optim_states.pt")):
        _convert_sharded(shards, output)
    else:
        _convert_whole(shards, output, checkpoint / LEARNING_FILE)
    shutil.rmtree(shards)


def is_universal(checkpoint: Path) -> bool:
    return (checkpoint / FOLDER).is_dir()


def size_of(parameter: torch.nn.Parameter) -> int:
    """How many numbers the whole of it has, also where ZeRO 3 holds a part."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def saved_size(checkpoint: Path, name: str) -> int:
    return _whole(checkpoint / FOLDER, name, WEIGHTS).numel()


def load(engine: Any, checkpoint: Path, *, counts: bool = True) -> None:
    """Weights, moments, loss scale and counters of a universal checkpoint, on every rank.

    The optimizer's groups keep their own hyperparameters; their rates are the schedule's to set.

    Args:
        engine: DeepSpeed's, of any stage and gang.
        checkpoint: The folder that was converted.
        counts: Whether the steps taken are those of the checkpoint: not so in a new job.
    """
    source = checkpoint / FOLDER
    counters = torch.load(source / "counters.pt", weights_only=False)
    if not engine.zero_optimization():
        _fill_whole(engine, source, counters["optimizer_step"])
    elif engine.zero_optimization_partition_weights():
        _fill_stage_3(engine.optimizer, source, counters["optimizer_step"])
    else:
        _fill_stage_1_and_2(engine.optimizer, source, counters["optimizer_step"])
    for name in ("loss_scaler", "dynamic_loss_scale", "overflow"):
        if name in counters and hasattr(engine.optimizer, name):
            setattr(engine.optimizer, name, counters[name])
    _fill_buffers(engine.module, counters["buffers"])
    for name in _COUNTS if counts else ():
        setattr(engine, name, counters[name])


# Conversion


def _convert_sharded(shards: Path, output: Path) -> None:
    from deepspeed.checkpoint import ds_to_universal

    arguments = argparse.Namespace(
        input_folder=str(shards),
        output_folder=str(output),
        num_extract_workers=1,  # processes of a process that has threads and a gang are no good
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ds_to_universal.main(arguments)
    (model_states, *_) = sorted(output.glob("*_model_states.pt"))
    model = torch.load(model_states, map_location="cpu", weights_only=False)
    path = output / "zero" / "optimizer_state.pt"
    optimizer = torch.load(path, map_location="cpu", weights_only=False)
    step = _step_of(optimizer, output)
    _write_counters(output, model, optimizer, step)
    # Stage 3 reads the step from here, whichever stage wrote it.
    inner = {"state": {0: {"step": step}}, "param_groups": optimizer["param_groups"]}
    torch.save({**_scalars(optimizer), "optimizer_state_dict": inner}, path)
    for file in output.glob("*_model_states.pt"):
        file.unlink()  # weights that stand in `zero` too


def _convert_whole(shards: Path, output: Path, learning: Path) -> None:
    """Of an engine without ZeRO: every rank has everything, by the number of the parameter."""
    model = torch.load(
        shards / "mp_rank_00_model_states.pt", map_location="cpu", weights_only=False
    )
    optimizer = model["optimizer"]
    names = [name for group in json.loads(learning.read_text()) for name in group]
    step: Any = 0
    for number, name in enumerate(names):
        state = optimizer["state"][number]
        step = state["step"]
        folder = output / "zero" / name
        folder.mkdir(parents=True)
        torch.save({"param": model["module"][name].float()}, folder / f"{WEIGHTS}.pt")
        for key in MOMENTS:
            torch.save({"param": state[key]}, folder / f"{key}.pt")
    _write_counters(output, model, {}, step)
    inner = {"state": {0: {"step": step}}, "param_groups": optimizer["param_groups"]}
    torch.save({"optimizer_state_dict": inner}, output / "zero" / "optimizer_state.pt")


def _step_of(optimizer: dict[str, Any], output: Path) -> Any:
    """How many updates the moments have seen: beside each parameter, or in stage 3's own place."""
    inner = optimizer.get("optimizer_state_dict")
    if inner is not None:
        return inner["state"][0]["step"]
    beside = next((output / "zero").rglob("step.pt"))
    return torch.load(beside, weights_only=False)


def _scalars(optimizer: dict[str, Any]) -> dict[str, Any]:
    kept = ("loss_scaler", "dynamic_loss_scale", "overflow", "clip_grad", "ds_version")
    return {name: optimizer[name] for name in kept if name in optimizer}


def _write_counters(
    output: Path, model: dict[str, Any], optimizer: dict[str, Any], step: Any
) -> None:
    module, buffers = model["module"], model["buffer_names"]
    counters = {
        **_scalars(optimizer),
        **{name: model[name] for name in _COUNTS},
        "optimizer_step": step,
        "buffers": {name: module[name] for name in buffers if name in module},
    }
    torch.save(counters, output / "counters.pt")


# Reading


def _fill_stage_1_and_2(optimizer: Any, source: Path, step: Any) -> None:
    """A rank owns one stretch of each group's parameters, laid end to end."""
    inner = optimizer.optimizer
    for number, group in enumerate(optimizer.bit16_groups):
        mine = optimizer.single_partition_of_fp32_groups[number]
        moments = {key: torch.zeros_like(mine) for key in MOMENTS}
        for parameter in group:
            mapping = parameter._hp_mapping
            if mapping is None:
                continue  # it is another rank's
            name = optimizer.param_names[parameter]
            here, there = mapping.get_hp_fragment_address(), mapping.lp_fragment_address
            for key in (WEIGHTS, *MOMENTS):
                target = mine.data if key == WEIGHTS else moments[key]
                part = _whole(source, name, key).flatten().narrow(0, there.start, there.numel)
                target.narrow(0, here.start, here.numel).copy_(part)
        inner.state[mine] = {**moments, "step": _own(step)}
    optimizer.update_lp_params()


def _fill_stage_3(optimizer: Any, source: Path, step: Any) -> None:
    optimizer.checkpoint_event_prologue()
    groups = [dict(group) for group in optimizer.optimizer.param_groups]
    with contextlib.redirect_stdout(io.StringIO()):
        optimizer.load_hp_checkpoint_state_from_checkpoint_dir_stage3(str(source))
    for group, before in zip(optimizer.optimizer.param_groups, groups, strict=True):
        group.clear()
        group.update(before)
    for mine in optimizer.fp32_partitioned_groups_flat:  # each counts its own steps
        optimizer.optimizer.state[mine]["step"] = _own(step)
    optimizer.checkpoint_event_epilogue()


def _fill_whole(engine: Any, source: Path, step: Any) -> None:
    optimizer = engine.optimizer
    for name, parameter in engine.module.named_parameters():
        if not parameter.requires_grad:
            continue
        parameter.data.copy_(_whole(source, name, WEIGHTS).view_as(parameter))  # ZeRO 3's are flat
        moments = {key: _whole(source, name, key).view_as(parameter) for key in MOMENTS}
        optimizer.state[parameter] = {
            **{key: moment.to(parameter.device, copy=True) for key, moment in moments.items()},
            "step": _own(step),
        }


def _fill_buffers(module: torch.nn.Module, saved: dict[str, torch.Tensor]) -> None:
    for name, buffer in module.named_buffers():
        if name in saved:
            buffer.copy_(saved[name])


def _whole(source: Path, name: str, key: str) -> torch.Tensor:
    path = source / "zero" / name / f"{key}.pt"
    found = torch.load(path, map_location="cpu", mmap=True, weights_only=False)
    tensor: torch.Tensor = found["param"] if isinstance(found, dict) else found
    return tensor


def _own(step: Any) -> Any:
    """The optimizer counts its steps in place."""
    return step.clone() if torch.is_tensor(step) else step
