"""The part of a model card that is about several tasks. Called by `card`."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.specs.tasks import TaskEntry


def use_of_tasks(tasks: Mapping[str, TaskEntry], *, has_heads: bool) -> str:
    """How each task's head, or the one model of all, is used."""
    if has_heads:
        folders = ", ".join(f"`{name}`" for name in tasks)
        return (
            f"\n\nEach task has a folder with the whole model of its own head: {folders}. The base "
            "that they share is in the folder above them: `AutoModel` loads it, and another job "
            "may start from it."
        )
    read = [f"`{name}`: `{prompt}`" for name, t in tasks.items() if (prompt := _prompt(t))]
    return "\n\nAll tasks have this one model." + (f" It reads {', '.join(read)}." if read else "")


def _prompt(task: TaskEntry) -> str | None:
    return getattr(task, "prompt", None)
