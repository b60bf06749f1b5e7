"""What is said of a job in a word, a line or a sentence: alike in every command.

Called by the commands that show jobs of a server. Free of rich, so that what prints one line loads
nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.output import printable
from orchestrator.records import PRIORITIES, Goal, JobState, Reason

if TYPE_CHECKING:
    from orchestrator.interfaces.wire import JobView, Progress

COLOURS = {
    JobState.QUEUED: "cyan",
    JobState.STARTING: "blue",
    JobState.RUNNING: "green",
    JobState.STOPPING: "yellow",
    JobState.SUSPENDED: "yellow",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "bright_black",
}
_NAMES = {number: name for name, number in PRIORITIES.items()}
_GOALS = {
    Goal.CANCEL: "to be cancelled",
    Goal.SUSPEND: "to be suspended",
    Goal.REQUEUE: "to go back into its queue",
    Goal.FAIL: "because its time is over",
}
_SAYING_NOTHING = frozenset({Reason.SUBMITTED, Reason.LAUNCHED, Reason.COMPLETED})


def priority(job: JobView) -> str:
    return _NAMES.get(job.priority, str(job.priority))


def about_state(job: JobView) -> str:
    """What the state does not say by itself, in a word or two; perhaps nothing."""
    if job.state is JobState.RUNNING and job.progress is not None:
        return phase(job.progress)
    if job.reason in _SAYING_NOTHING or str(job.reason).upper() == job.state:
        return ""
    return str(job.reason)


def phase(progress: Progress) -> str:
    """`train 40/200`, `load`."""
    name = (progress.phase or "").replace("_", " ")
    if progress.step is None or not progress.max_steps or progress.phase != "train":
        return name
    return f"{name} {progress.step}/{progress.max_steps}"


def why(job: JobView) -> str | None:
    """One sentence on why a job is not running; None where that needs no explanation."""
    if job.state is JobState.QUEUED and job.waits:
        return job.waits[0].message
    if job.state in (JobState.STARTING, JobState.RUNNING) and job.wanted is not None:
        return f"It was asked {_GOALS[job.wanted]}."
    if job.state is JobState.STOPPING and job.goal is not None:
        return f"It stops {_GOALS[job.goal]}."
    if job.state in (JobState.QUEUED, JobState.FAILED) and job.message:
        return printable(job.message.splitlines()[0])
    return None


def one_line(job: JobView) -> str:
    """`job-… (cameras) is RUNNING: train 40/200`."""
    about = about_state(job)
    return f"{job.id} ({job.name}) is {job.state}" + (f": {about}" if about else "")


def time_left(progress: Progress, now: float) -> float | None:
    """Seconds until training ends at its mean pace so far."""
    if not progress.step or not progress.max_steps or progress.running_at is None:
        return None
    if progress.phase != "train":
        return None
    pace = (now - progress.running_at) / progress.step
    return max(0.0, pace * (progress.max_steps - progress.step))


def demand(job: JobView) -> str:
    """`2 × 1 CPU, 3.1 GB`."""
    asked = job.demand
    parts = [f"{asked.cpus_per_worker:g} CPU"]
    if asked.gpus_per_worker:
        parts.append(f"{asked.gpus_per_worker} {asked.accelerator or 'GPU'}")
    if asked.memory_bytes_per_worker:
        parts.append(figures.size(asked.memory_bytes_per_worker))
    return f"{asked.workers} × {', '.join(parts)}"
