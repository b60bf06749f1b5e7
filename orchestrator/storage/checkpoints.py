"""A job's durable memory: attempts, checkpoints with one owner, outcomes, histories, logs.

Layout below `<store>/.checkpoints/<job>/`:

    a<n>/attempt.json                        claimed before the attempt starts
    a<n>/launch.json                         what its driver is started with
    a<n>/step-<s>/rank-<k>/...               shards of one rank
    a<n>/step-<s>/rank-<k>.json              written by the rank after its shards
    a<n>/step-<s>/manifest.json              written by rank 0 when every rank is there: complete
    a<n>/weights/step-<s>/                   weights kept for selection
    a<n>/outcome.json, history.jsonl, logs/, stacks/

Workers write it; the controller claims attempts and asks where to resume. Every writer stays below
its own attempt's prefix, so an attempt that was given up cannot harm the one that replaced it.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.errors import IntegrityError, ObjectExists, ObjectNotFound, StoreError
from orchestrator.records import CheckpointRef
from orchestrator.storage.folders import download_files, upload_folder
from orchestrator.storage.manifests import (
    MANIFEST,
    CheckpointManifest,
    RankFiles,
    read_record,
    write_record,
)
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.storage.weights import KeptWeights

__all__ = ["Checkpoint", "CheckpointManifest", "CheckpointStore", "RankFiles"]

_log = logging.getLogger(__name__)

_ATTEMPT = re.compile(r"^a([1-9]\d*)$")
_STEP_OBJECT = re.compile(r"^a\d+/step-(\d+)/(.+)$")
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint."""

    attempt: int
    step: int
    manifest: CheckpointManifest

    @property
    def ref(self) -> CheckpointRef:
        return CheckpointRef(
            attempt=self.attempt, step=self.step, world_size=self.manifest.world_size
        )


class CheckpointStore:
    """All that is stored for one job besides the model it publishes."""

    def __init__(
        self,
        store: ObjectStore,
        job: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store.child(f".checkpoints/{job}")
        self._weights = KeptWeights(self._store)
        self._sleep = sleep
        self._clock = clock

    @property
    def url(self) -> str:
        return self._store.url

    # Attempts

    def claim_attempt(self, record: dict[str, Any]) -> int:
        """The next attempt's number, taken for good together with what is known about it.

        `record` may hold `resumed_from: {"attempt": n, "step": s}`. Of several claimants each gets
        a number of its own.
        """
        number = max(self.attempts(), default=0) + 1
        while True:
            claim = {
                "format": 1,
                **record,
                "attempt": number,
                "claim": uuid.uuid4().hex,  # competing claims must differ in their bytes
            }
            try:
                self._put_json(f"a{number}/attempt.json", claim, create_only=True)
            except ObjectExists:
                number += 1
            else:
                return number

    def claim_number(self, number: int, record: dict[str, Any], claim: str) -> None:
        """Takes a number that somebody else keeps count of. The same `claim` may take it again.

        Raises ObjectExists where another claim has it.
        """
        document = {"format": 1, **record, "attempt": number, "claim": claim}
        try:
            self._put_json(f"a{number}/attempt.json", document, create_only=True)
        except ObjectExists:
            if self.attempt_record(number).get("claim") != claim:
                raise

    def put_launch(self, attempt: int, document: bytes) -> str:
        """Keeps what the attempt is started with; the URL its driver reads."""
        key = f"a{attempt}/launch.json"
        self._store.put_bytes(key, document)
        return self._store.key_url(key)

    def launch(self, attempt: int) -> bytes:
        """What the attempt was started with; ObjectNotFound where it is gone."""
        return self._store.get_bytes(f"a{attempt}/launch.json")

    def attempts(self) -> list[int]:
        """Numbers of all attempts so far, oldest first."""
        found = (_ATTEMPT.match(name) for name in self._store.list_dirs())
        return sorted(int(match.group(1)) for match in found if match)

    def attempt_record(self, attempt: int) -> dict[str, Any]:
        """What was claimed; empty for an attempt that died while it was claiming."""
        try:
            data = self._store.get_bytes(f"a{attempt}/attempt.json")
        except ObjectNotFound:
            return {}
        record: dict[str, Any] = json.loads(data)
        return record

    # Writing checkpoints

    def upload_rank(self, attempt: int, step: int, rank: int, folder: Path) -> RankFiles:
        """Uploads one rank's files, then the list that says they are there.

        A step that is committed already stays as it is: complete checkpoints never change.
        """
        committed = self._committed(attempt, step)
        if committed is not None and rank < committed.world_size:
            return committed.ranks[rank]
        prefix = _step(attempt, step)
        self._store.delete(f"{prefix}/rank-{rank}.json")
        files = upload_folder(self._store.child(f"{prefix}/rank-{rank}"), folder)
        record = RankFiles(attempt=attempt, step=step, rank=rank, files=files)
        write_record(self._store, f"{prefix}/rank-{rank}.json", record)
        return record

    def commit(
        self,
        attempt: int,
        step: int,
        world_size: int,
        metadata: dict[str, Any],
        *,
        timeout_seconds: float,
    ) -> CheckpointManifest:
        """Waits for every rank's list, then makes the checkpoint complete. Called by rank 0."""
        committed = self._committed(attempt, step)
        if committed is not None:
            return committed
        self._await_ranks(attempt, step, world_size, timeout_seconds)
        prefix = _step(attempt, step)
        manifest = CheckpointManifest(
            attempt=attempt,
            step=step,
            world_size=world_size,
            committed_at=datetime.now(UTC),
            metadata=metadata,
            ranks=tuple(
                read_record(self._store, f"{prefix}/rank-{rank}.json", RankFiles)
                for rank in range(world_size)
            ),
        )
        write_record(self._store, f"{prefix}/{MANIFEST}", manifest)
        return manifest

    # Resuming

    def checkpoint(self, attempt: int, step: int) -> Checkpoint:
        """A complete checkpoint by its numbers; ObjectNotFound if it is not complete."""
        key = f"{_step(attempt, step)}/{MANIFEST}"
        return Checkpoint(attempt, step, read_record(self._store, key, CheckpointManifest))

    def newest_complete(self, attempt: int) -> Checkpoint | None:
        """The complete checkpoint of the highest step of one attempt."""
        steps = ((attempt, step) for step in self._complete_steps(attempt))
        return next(self._readable(steps), None)

    def resume_point(self) -> Checkpoint | None:
        """Where the next attempt begins; None means at the beginning."""
        return next(self._readable(self._lineage()), None)

    def candidates(self) -> list[Checkpoint]:
        """The resume point and, behind it, what to fall back on if its bytes are damaged."""
        return list(self._readable(self._lineage()))

    def fetch_rank(self, checkpoint: Checkpoint, rank: int, folder: Path) -> None:
        """Downloads one rank's files into `folder`; IntegrityError if one is not as committed."""
        if not 0 <= rank < len(checkpoint.manifest.ranks):
            raise IntegrityError(
                f"{self._store.key_url(_step(checkpoint.attempt, checkpoint.step))} "
                f"has no rank {rank}, it was saved by {checkpoint.manifest.world_size}"
            )
        prefix = f"{_step(checkpoint.attempt, checkpoint.step)}/rank-{rank}"
        download_files(self._store.child(prefix), checkpoint.manifest.ranks[rank].files, folder)

    # Retention

    def retain(self, keep: int, protect: Collection[tuple[int, int]] = ()) -> None:
        """Deletes checkpoints beyond the `keep` best to resume from, and leftovers.

        The resume point and `protect` ((attempt, step) pairs) stay; so does everything incomplete
        of the highest attempt, which may be on its way.
        """
        assert keep >= 1, "the newest complete checkpoint always stays"
        steps = {attempt: self._steps(attempt) for attempt in self.attempts()}
        complete = [(a, s) for a, found in steps.items() for s in found if found[s]]
        lineage = list(self._lineage())
        kept = {*lineage[:keep], *protect}
        for attempt, step in sorted(complete):
            if (attempt, step) not in kept:
                self._delete_step(attempt, step)
        for attempt in sorted(steps)[:-1]:
            for step, is_complete in steps[attempt].items():
                if not is_complete and (attempt, step) not in kept:
                    self._delete_step(attempt, step)

    # What else an attempt leaves behind

    def put_outcome(
        self, attempt: int, outcome: dict[str, Any], *, create_only: bool = False
    ) -> None:
        """How the attempt ended; `create_only` keeps the first word (ObjectExists)."""
        self._put_json(f"a{attempt}/outcome.json", outcome, create_only=create_only)

    def outcome(self, attempt: int) -> dict[str, Any] | None:
        try:
            data = self._store.get_bytes(f"a{attempt}/outcome.json")
        except ObjectNotFound:
            return None
        outcome: dict[str, Any] = json.loads(data)
        return outcome

    def put_history(self, attempt: int, rows: list[dict[str, Any]]) -> None:
        """The metric history so far; replaces what was there."""
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        self._store.put_bytes(f"a{attempt}/history.jsonl", lines.encode())

    def history(self, attempt: int) -> list[dict[str, Any]]:
        try:
            data = self._store.get_bytes(f"a{attempt}/history.jsonl")
        except ObjectNotFound:
            return []
        return [json.loads(line) for line in data.decode().splitlines()]

    def put_log(self, attempt: int, rank: int, path: Path) -> str:
        """Keeps a rank's log; the URL it is kept at."""
        key = f"a{attempt}/logs/rank-{rank}.log"
        self._store.put_file(key, path)
        return self._store.key_url(key)

    def log(self, attempt: int, rank: int) -> bytes:
        """A rank's log as it was last kept; ObjectNotFound where there is none."""
        return self._store.get_bytes(f"a{attempt}/logs/rank-{rank}.log")

    def put_stacks(self, attempt: int, rank: int, text: str) -> None:
        """Keeps the newest stacks of a rank's threads."""
        self._store.put_bytes(f"a{attempt}/stacks/rank-{rank}.txt", text.encode())

    def stacks(self, attempt: int) -> dict[int, str]:
        """rank -> the newest stacks it was asked for."""
        found = {}
        for info in self._store.list(f"a{attempt}/stacks"):
            rank = int(info.key.rpartition("rank-")[2].removesuffix(".txt"))
            found[rank] = self._store.get_bytes(info.key).decode(errors="replace")
        return dict(sorted(found.items()))

    def put_weights(self, attempt: int, step: int, folder: Path, metadata: dict[str, Any]) -> None:
        """Keeps weights that may be published; see `KeptWeights`."""
        self._weights.put(attempt, step, folder, metadata)

    def fetch_weights(self, attempt: int, step: int, folder: Path) -> dict[str, Any]:
        return self._weights.fetch(attempt, step, folder)

    def delete_weights(self, attempt: int, step: int) -> None:
        self._weights.delete(attempt, step)

    def weights(self, attempt: int) -> list[int]:
        return self._weights.steps(attempt)

    # Below: how the rules above are found out.

    def _lineage(self) -> Iterator[tuple[int, int]]:
        """Complete checkpoints to resume from, best first.

        An attempt's own come before the one it was resumed from; that one comes before older ones
        of its attempt. What an attempt committed after another had resumed from it is left out:
        it was given up then.
        """
        complete_steps = functools.cache(self._complete_steps)
        attempt = max(self.attempts(), default=0)
        limit: int | None = None
        while attempt >= 1:
            for step in complete_steps(attempt):
                if limit is None or step <= limit:
                    yield attempt, step
            parent = self._resumed_from(attempt)
            if parent is not None and parent[1] in complete_steps(parent[0]):
                attempt, limit = parent
            else:
                attempt, limit = attempt - 1, None

    def _resumed_from(self, attempt: int) -> tuple[int, int] | None:
        parent = self.attempt_record(attempt).get("resumed_from")
        if not parent or not 1 <= parent["attempt"] < attempt:
            return None
        return parent["attempt"], parent["step"]

    def _readable(self, steps: Iterator[tuple[int, int]]) -> Iterator[Checkpoint]:
        for attempt, step in steps:
            try:
                yield self.checkpoint(attempt, step)
            except ObjectNotFound:
                continue  # retention was faster
            except IntegrityError as error:
                _log.warning("%s; it is passed over", error)

    def _complete_steps(self, attempt: int) -> list[int]:
        found = self._steps(attempt)
        return sorted((step for step in found if found[step]), reverse=True)

    def _steps(self, attempt: int) -> dict[int, bool]:
        """Every step an attempt has anything of, and whether it is complete."""
        found: dict[int, bool] = {}
        for info in self._store.list(f"a{attempt}"):
            match = _STEP_OBJECT.match(info.key)
            if match:
                step = int(match.group(1))
                found[step] = found.get(step, False) or match.group(2) == MANIFEST
        return found

    def _committed(self, attempt: int, step: int) -> CheckpointManifest | None:
        try:
            return self.checkpoint(attempt, step).manifest
        except ObjectNotFound:
            return None

    def _await_ranks(
        self, attempt: int, step: int, world_size: int, timeout_seconds: float
    ) -> None:
        prefix = _step(attempt, step)
        deadline = self._clock() + timeout_seconds
        while True:
            there = {info.key for info in self._store.list(prefix)}
            absent = [r for r in range(world_size) if f"{prefix}/rank-{r}.json" not in there]
            if not absent:
                return
            if self._clock() >= deadline:
                raise StoreError(
                    f"{self._store.key_url(prefix)}: no shards of rank "
                    f"{', '.join(map(str, absent))} within {timeout_seconds:.0f} s",
                    hint="the checkpoint is not used; see the log of that rank",
                )
            self._sleep(_POLL_SECONDS)

    def _delete_step(self, attempt: int, step: int) -> None:
        """Manifest first: half a deletion is no checkpoint rather than a broken one."""
        self._store.delete(f"{_step(attempt, step)}/{MANIFEST}")
        self._store.delete_prefix(_step(attempt, step))

    def _put_json(self, key: str, value: dict[str, Any], *, create_only: bool) -> None:
        data = json.dumps(value, indent=1).encode() + b"\n"
        self._store.put_bytes(key, data, create_only=create_only)


def _step(attempt: int, step: int) -> str:
    return f"a{attempt}/step-{step}"
