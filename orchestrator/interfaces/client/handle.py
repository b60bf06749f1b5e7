"""One job of the server, as an object of scripts and notebooks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UserError
from orchestrator.interfaces.client import notebook
from orchestrator.interfaces.client.connection import Connection
from orchestrator.interfaces.client.output import Output
from orchestrator.interfaces.client.watching import Follower, Listener, Update
from orchestrator.interfaces.wire import (
    IDEMPOTENCY_KEY,
    Deleted,
    History,
    JobView,
    Progress,
    ResumeRequest,
    SpecView,
    Stacks,
    SubmitAnswer,
    Waiting,
)
from orchestrator.records import Attempt, Event, Job, JobState

if TYPE_CHECKING:
    from rich.console import RenderableType

STACKS_SECONDS = 20.0  # ranks report every few seconds


class JobHandle:
    """A job: `job` is what was last heard of it, `refresh` asks again."""

    def __init__(
        self, connection: Connection, job: JobView, message: str = "", *, is_new: bool = False
    ) -> None:
        self._connection = connection
        self.job = job
        self.message = message
        """What the server said to its submission, e.g. that the same was trained before."""
        self.is_new = is_new
        """Whether this submission made it."""

    @classmethod
    def of_answer(cls, connection: Connection, answer: SubmitAnswer) -> JobHandle:
        """What a submission was answered with."""
        job = JobView(**dict(answer.job))
        return cls(connection, job, answer.message, is_new=answer.is_new)

    @property
    def id(self) -> str:
        return self.job.id

    @property
    def state(self) -> JobState:
        return self.job.state

    def refresh(self) -> JobView:
        """As it is now."""
        self.job = self._connection.get(self._path(), JobView)
        return self.job

    # Changing

    def cancel(self) -> JobView:
        """Ends it for good; of a live one the state tells when that is done."""
        return self._change("cancel")

    def suspend(self) -> JobView:
        """Takes it out of its queue; one that trains saves a checkpoint first."""
        return self._change("suspend")

    def resume(self, sets: Sequence[str] = ()) -> JobView:
        """Back into its queue; `sets` may change fields of `engine` and `resources`."""
        asked = ResumeRequest.of(sets=tuple(sets))
        self.job = self._connection.post(self._path("resume"), JobView, asked)
        return self.job

    def retry(self) -> JobView:
        """Queues a failed or cancelled job again; it goes on from its newest checkpoint."""
        return self._change("retry")

    def rerun(self, idempotency_key: str | None = None) -> JobHandle:
        """A new job of the same documents."""
        key = {IDEMPOTENCY_KEY: idempotency_key or uuid.uuid4().hex}
        answer = self._connection.post(self._path("rerun"), SubmitAnswer, headers=key)
        return JobHandle.of_answer(self._connection, answer)

    def delete(self) -> str:
        """Deletes it with its checkpoints and logs; what could not be deleted."""
        return self._connection.delete(self._path(), Deleted).message

    # Looking

    def spec(self) -> SpecView:
        """As it was written and as it was resolved."""
        return self._connection.get(self._path("spec"), SpecView)

    def plan(self) -> dict[str, Any]:
        """What it was admitted with, but for its spec."""
        plan: dict[str, Any] = self._connection.get(self._path("plan"), dict)
        return plan

    def attempts(self) -> list[Attempt]:
        return self._connection.get(self._path("attempts"), list[Attempt])

    def history(self, attempt: int | None = None) -> History:
        """The curves of an Attempt, the newest unless another is named."""
        return self._connection.get(self._path("history"), History, attempt=attempt)

    def stacks(
        self,
        timeout_seconds: float = STACKS_SECONDS,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Stacks:
        """The stacks of all ranks, as many as arrive within the time."""
        self._connection.post(self._path("stacks"), JobView)
        deadline = monotonic() + timeout_seconds
        while True:
            found = self._connection.get(self._path("stacks"), Stacks)
            if len(found.ranks) >= found.workers or monotonic() >= deadline:
                return found
            self._connection.sleep(0.3)

    # Following

    def events(self, *, last: int | None = None) -> list[Event]:
        """What has happened to it so far, the oldest first; with `last` only the newest ones."""
        from orchestrator.interfaces.client.paging import all_pages

        return list(all_pages(self._connection, self._path("events"), Event, last=last))

    def watch(self, *, last: int | None = None, listener: Listener | None = None) -> Watch:
        """Events and progress until it has ended; in a notebook a display that follows it.

        Args:
            last: Begin with the newest events; absent: with all of them.
            listener: Told of a server that is away.
        """
        return Watch(self, last, listener or Listener())

    def wait(self) -> JobView:
        """Blocks until it has ended; how. A failed one raises nothing."""
        for _ in self.watch():
            pass
        return self.refresh()

    def logs(
        self,
        *,
        rank: int | None = None,
        follow: bool = False,
        attempt: int | None = None,
        tail: int | None = None,
        listener: Listener | None = None,
    ) -> Iterator[bytes]:
        """What has been printed, in pieces.

        Args:
            rank: Whose output; absent: the driver's, which says how the gang was started.
            follow: Until the Attempt has ended; where none is named, until the job has.
            attempt: Absent: the newest.
            tail: Begin at the last lines.
            listener: Told of Attempts that begin, and of a server that is away.

        Raises:
            NotFound: No Attempt has begun (with `follow` one is waited for), or there is no such
                rank or Attempt.
        """
        output = Output(self._connection, self._path(), rank, attempt, tail, listener or Listener())
        return output.to_the_end() if follow else output.so_far()

    def _path(self, part: str = "") -> str:
        return f"/jobs/{self.id}/{part}".rstrip("/")

    def _change(self, verb: str) -> JobView:
        self.job = self._connection.post(self._path(verb), JobView)
        return self.job

    # Showing

    def __repr__(self) -> str:
        return f"<{self.id} {self.job.name} {self.state}>"

    def _repr_html_(self) -> str:
        return notebook.job_html(self.job, described(self.job))

    def __rich__(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for label, value in described(self.job):
            table.add_row(Text(label, style="dim"), Text(value))
        return table


class Watch(Iterator[Update]):
    """Updates of one job. Iterate over it, or let a notebook show it."""

    def __init__(self, handle: JobHandle, last: int | None, listener: Listener) -> None:
        self.handle = handle
        follower = Follower(
            handle._connection, handle._path("events"), query={"last": last}, listener=listener
        )
        self._updates = follower.updates()

    def __next__(self) -> Update:
        update = next(self._updates)
        self.handle.job = _updated(self.handle.job, update)
        return update

    def __repr__(self) -> str:
        return f"<what happens to {self.handle!r}; iterate over it>"

    def _ipython_display_(self) -> None:
        """In a notebook its cell follows the job."""
        notebook.show(self)


def described(job: JobView) -> Iterator[tuple[str, str]]:
    """What is worth knowing of a job, label by label."""
    yield "job", job.id
    yield "name", job.name
    yield "state", f"{job.state} ({job.reason})"
    if job.message:
        yield "message", job.message
    if job.state is JobState.QUEUED and job.waits:
        yield "waits", job.waits[0].message
    if job.progress is not None and not job.state.is_terminal:
        yield "progress", progress_text(job.progress)
    if job.model is not None:
        yield "model", job.model


def progress_text(progress: Progress) -> str:
    """`train, step 40 of 200, loss 0.4312`."""
    parts = [progress.phase or "starting"]
    if progress.step is not None:
        of = f" of {progress.max_steps}" if progress.max_steps else ""
        parts.append(f"step {progress.step}{of}")
    if (loss := progress.metrics.get("loss")) is not None:
        parts.append(f"loss {loss:.4f}")
    return ", ".join(parts)


def _updated(job: JobView, update: Update) -> JobView:
    """What was known of a job, with what was just heard."""
    if isinstance(update, Progress):
        return job.model_copy(update={"progress": update})
    if isinstance(update, Waiting):
        return job.model_copy(update={"waits": update.waits})
    if isinstance(update, Job):
        return JobView(**dict(update), progress=job.progress)
    told = {"state": update.state, "reason": update.reason, "message": update.message}
    return job.model_copy(update=told)


def check_name(text: str) -> str:
    """The id or name, if it can be a part of a path."""
    if not text or "/" in text or "?" in text or "#" in text:
        raise UserError(f"{text!r} is no id and no name")
    return text
