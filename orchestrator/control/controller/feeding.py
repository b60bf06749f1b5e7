"""A base that another job is still to make: `job://name` of a job that has not ended.

Called by `submission`. What such a base will be follows from the job that makes it: the same
architecture as that job's own base, and an identity that its own identity decides.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from orchestrator.control.controller.look import FoundBase, find_base
from orchestrator.control.store import JobFilter, Jobs, Page
from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.adapters import promised_adapter
from orchestrator.inspect.model import ModelFacts, model_problems
from orchestrator.inspect.safetensors import BASE
from orchestrator.records import Job, JobDocuments, JobState
from orchestrator.records.ids import is_job_id
from orchestrator.specs import CustomTask, FineTuneSpec, ModelSpec
from orchestrator.storage.bases import Base, BasePlaces
from orchestrator.storage.objectstore import open_store

MAX_CHAIN = 20  # jobs that each wait for the one before


@dataclass(frozen=True, slots=True)
class PendingBases:
    """Finds bases, those that are not there yet too."""

    jobs: Jobs
    team: str
    cache_dir: Path

    def find(self, spec: FineTuneSpec, places: BasePlaces) -> FoundBase:
        """As `look.find_base`."""
        scheme, _, name = (spec.model.base or "" if spec.model else "").partition("://")
        job = job_called(self.jobs, self.team, name.strip("/")) if scheme == "job" else None
        if job is None or job.state.is_terminal:
            return find_base(spec, places)
        documents = self._documents(job)
        # Pinned to the job: by its name a later one could be meant when this one starts.
        pinned = ModelSpec(base=f"job://{job.id}")
        identity = hashlib.sha256(f"job {job.identity}".encode()).hexdigest()
        if isinstance(spec.task, CustomTask):
            return FoundBase(Base("model", pinned, None), None, None, identity)
        if documents.plan["model"] is None:
            message = f"what the script of {job.id} will publish cannot be known before it has"
            hint = "submit this when it has ended"
            raise InvalidInput([Problem(message, path=BASE, hint=hint)])
        facts = ModelFacts.model_validate(documents.plan["model"])
        adapter = promised_adapter(documents.spec.spec.method)
        facts = facts.model_copy(update={"digest": identity, "revision": None, "adapter": adapter})
        if problems := model_problems(facts, spec):
            raise InvalidInput(problems)
        tokenizer = self._tokenizer(job, documents, spec)
        return FoundBase(Base("model", pinned, None), facts, tokenizer)

    def _documents(self, job: Job) -> JobDocuments:
        documents = self.jobs.documents(job.id)
        if documents is None:
            message = f"{job.id} was deleted just now"
            raise InvalidInput([Problem(message, path=BASE, hint="submit it again first")])
        return documents

    def _tokenizer(self, job: Job, documents: JobDocuments, spec: FineTuneSpec) -> Path | None:
        """That of the first base in the chain: training leaves it as it is."""
        for _ in range(MAX_CHAIN):
            model = documents.spec.spec.model
            scheme, _, maker = (model.base or "" if model else "").partition("://")
            before = job_called(self.jobs, self.team, maker) if scheme == "job" else None
            if before is None or before.state is JobState.SUCCEEDED:
                break
            job, documents = before, self._documents(before)
        model = documents.spec.spec.model
        if model is not None and model.fresh is not None:
            body = documents.spec.spec  # its rows make the tokenizer
        else:
            body = spec.model_copy(update={"model": model})
        places = BasePlaces(Path("/nonexistent"), self.cache_dir, open_store(job.store))
        return find_base(body, places).tokenizer


def job_called(jobs: Jobs, team: str, name: str) -> Job | None:
    """A team's job by id, or its newest one of that name."""
    if is_job_id(name):
        job = jobs.get(name)
        return job if job is not None and job.team == team else None
    found, _ = jobs.list(JobFilter(team=team, name=name), Page(limit=1))
    return found[0] if found else None
