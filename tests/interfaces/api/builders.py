"""A service over rows in memory and a store in a folder, and short ways to ask it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from starlette.testclient import TestClient
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from orchestrator.control.backends.base import NodeInfo
from orchestrator.control.controller.reports import ReportDesk
from orchestrator.control.store import Database, JobChange
from orchestrator.interfaces.api.app import create_app
from orchestrator.interfaces.api.authentication import digest_of, new_token
from orchestrator.interfaces.api.service import Service
from orchestrator.interfaces.wire import FOLDER_TYPE
from orchestrator.records import (
    AccessToken,
    Attempt,
    AttemptState,
    Demand,
    Event,
    Job,
    JobState,
    Outcome,
    Placed,
    Reason,
    Role,
)
from orchestrator.settings import load_settings
from tests.control.builders import Clock
from tests.control.store.builders import a_job, an_event, documents
from tests.inspect.model_folders import write_model

API = "/api/v1"
SECRET = "r" * 43
"""Of the attempts that `started` starts."""

WORDS = {"[UNK]": 0, "the": 1, "camera": 2, "is": 3, "good": 4, "bad": 5}


def write_base(folder: Path) -> Path:
    write_model(folder)
    Tokenizer(WordLevel(WORDS, "[UNK]")).save(str(folder / "tokenizer.json"))
    return folder


def rows_of(split: str) -> str:
    rows = [
        {"text": f"{split} {n} the camera is {word}", "label": label}
        for n in range(30)
        for word, label in (("good", "pos"), ("bad", "neg"))
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_project(folder: Path) -> Path:
    """A spec with local data and a local base; its path."""
    write_base(folder / "base")
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text(rows_of(split))
    (folder / "spec.yaml").write_text(
        """\
# As a person writes it.
apiVersion: finetune.orchestrator/v1alpha1
kind: FineTune
metadata: {name: cameras, labels: {project: reviews}}
spec:
  model: {base: base}
  task: {type: text-classification}
  data:
    domains:
      camera: {train: [{path: train.jsonl}], test: [{path: test.jsonl}]}
  training: {max_steps: 4, global_batch_size: 4, max_length: 8}
  resources: {workers: 2}
"""
    )
    return folder / "spec.yaml"


class PrintedLogs:
    """A LogReader that knows what it was told."""

    def __init__(self) -> None:
        self.printed: dict[int | None, bytes] = {}

    def read(self, job: Job, attempt: Attempt, rank: int | None, offset: int) -> bytes:
        return self.printed.get(rank, b"")[offset:]


class Place:
    """The service, its people and its files."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        flags = {"store": str(folder / "store"), **settings}
        self.settings = load_settings(flags, environ={"HOME": str(folder)}, directory=folder)
        self.clock = Clock()
        self.database = Database.open("sqlite://", clock=self.clock)
        self.logs = PrintedLogs()
        self.wakes = 0
        self.service = Service.of(
            self.database,
            self.settings,
            desk=ReportDesk(_attempts(self.database), self.clock),
            logs=self.logs,
            wake=self._wake,
            nodes=lambda: {"fake": [NodeInfo("node-1", 8.0, 1, 10**9, "A100")]},
            clock=self.clock,
        )
        self.service = replace(self.service, stream_seconds=0.0)
        self.app = create_app(self.service)
        self._tokens: dict[tuple[str, str, Role], str] = {}
        self._jobs = 0

    def _wake(self) -> None:
        self.wakes += 1

    def close(self) -> None:
        self.database.close()

    # People

    def token(self, team: str = "vision", role: Role = Role.SUBMITTER, name: str = "ada") -> str:
        who = (team, name, role)
        if who not in self._tokens:
            token, secret = new_token(
                AccessToken(
                    id="", name=name, team=team, role=role, created_at=self.clock(), created_by="op"
                )
            )
            self.service.tokens.create(token, digest_of(secret))
            self._tokens[who] = secret
        return self._tokens[who]

    def client(
        self, team: str = "vision", role: Role = Role.SUBMITTER, name: str = "ada"
    ) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(team, role, name)}"}
        return self.stranger(headers)

    def stranger(self, headers: dict[str, str] | None = None) -> Any:
        return TestClient(self.app, headers=headers, raise_server_exceptions=False)

    # Files and specs

    def upload(self, client: httpx.Client, name: str, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        answer = client.put(f"{API}/uploads/{sha256}/{name}", content=data)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["url"])

    def upload_folder(self, client: httpx.Client, name: str, folder: Path) -> str:
        files = []
        for path in sorted(folder.iterdir()):
            data = path.read_bytes()
            self.upload(client, path.name, data)
            sha256 = hashlib.sha256(data).hexdigest()
            files.append({"path": path.name, "size_bytes": len(data), "sha256": sha256})
        body = json.dumps({"files": files}).encode()
        answer = client.put(
            f"{API}/uploads/{hashlib.sha256(body).hexdigest()}/{name}",
            content=body,
            headers={"Content-Type": FOLDER_TYPE},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["url"])

    def spec(self, client: httpx.Client, name: str = "cameras", **sections: Any) -> str:
        """A spec whose base and data were uploaded by `client`."""
        base = write_base(self.folder / "base")
        spec: dict[str, Any] = {
            "model": {"base": self.upload_folder(client, "base", base)},
            "task": {"type": "text-classification"},
            "data": {
                "domains": {
                    "camera": {
                        split: [
                            {"path": self.upload(client, f"{split}.jsonl", rows_of(split).encode())}
                        ]
                        for split in ("train", "test")
                    }
                }
            },
            "training": {"max_steps": 4, "global_batch_size": 4, "max_length": 8},
            "resources": {"workers": 2},
        }
        for section, fields in sections.items():
            spec[section] = {**spec.get(section, {}), **fields}
        return json.dumps(
            {
                "apiVersion": "finetune.orchestrator/v1alpha1",
                "kind": "FineTune",
                "metadata": {"name": name, "labels": {"project": "reviews"}},
                "spec": spec,
            },
            indent=1,
        )

    def submit(self, client: httpx.Client, **sections: Any) -> Job:
        answer = client.post(f"{API}/jobs", json={"spec": self.spec(client, **sections)})
        assert answer.status_code == 201, answer.text
        return Job.model_validate(answer.json()["job"])

    def job(self, name: str = "cameras", team: str = "vision", by: str = "ada") -> Job:
        """A queued job, put into the rows without a plan."""
        self._jobs += 1
        job = a_job(
            self._jobs,
            name=name,
            team=team,
            created_by=by,
            labels={"project": "reviews"},
            identity=f"{self._jobs:064}",
            store=str(self.folder / "store" / ".teams" / team),
            demand=Demand(workers=2),
        )
        event = an_event(job, kind="Created")
        return self.service.jobs.add(job, documents(job.id), event)

    # What the controller would do

    def move(
        self, job: str, state: JobState, reason: Reason = Reason.LAUNCHED, **updates: Any
    ) -> Job:
        seen = self.service.jobs.get(job)
        assert seen is not None
        event = Event(time=self.clock(), job=job, kind="StateChanged", state=state, reason=reason)
        changed = self.service.jobs.apply(
            JobChange(seen, {"state": state, "reason": reason, **updates}, event)
        )
        assert changed is not None
        return changed

    def started(self, job: str, secret: str = SECRET) -> Job:
        """The job RUNNING; its attempt reports with the secret."""
        seen = self.service.jobs.get(job)
        assert seen is not None
        attempt = Attempt(
            job=job,
            number=seen.attempt + 1,
            state=AttemptState.RUNNING,
            backend="fake",
            placement=(Placed(backend="fake", node="node-1", workers=2),),
            created_at=self.clock(),
        )
        event = Event(
            time=self.clock(),
            job=job,
            attempt=attempt.number,
            kind="StateChanged",
            state=JobState.STARTING,
            reason=Reason.LAUNCHED,
        )
        updates = {"state": JobState.STARTING, "attempt": attempt.number}
        change = JobChange(seen, updates, event, attempt, digest_of(secret))
        assert self.service.jobs.apply(change) is not None
        return self.move(job, JobState.RUNNING, Reason.TRAINING, started_at=self.clock())

    def ended(self, job: str, state: JobState = JobState.SUCCEEDED, **updates: Any) -> Job:
        seen = self.service.jobs.get(job)
        assert seen is not None
        if seen.state is JobState.QUEUED:
            self.started(job)
        return self.move(job, state, Reason.COMPLETED, finished_at=self.clock(), **updates)

    def end_attempt(self, job: str, **said: Any) -> None:
        """Its newest attempt is over, and has `said` so; the job's state is as it was."""
        seen = self.service.jobs.get(job)
        assert seen is not None
        attempt = self.service.attempts.list(job)[-1]
        fields = {"state": JobState.SUCCEEDED, "reason": Reason.COMPLETED, **said}
        outcome = Outcome(job=job, attempt=attempt.number, **fields)
        updates = {"state": AttemptState.ENDED, "ended_at": self.clock(), "outcome": outcome}
        ended = attempt.model_copy(update=updates)
        assert self.service.jobs.apply(JobChange(seen, {}, attempt=ended)) is not None


def _attempts(database: Database) -> Any:
    from orchestrator.control.store import Attempts

    return Attempts(database)
