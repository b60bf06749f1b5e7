"""Which job a run belongs to: the same spec, data and base find the same job again.

`<store>/.runs/<digest>.json` is written once, by whoever runs it first; `--new` replaces it.
"""

from __future__ import annotations

from pydantic import Field, ValidationError

from orchestrator.errors import IntegrityError, ObjectExists, ObjectNotFound
from orchestrator.records import Record
from orchestrator.storage.objectstore import ObjectStore


class RunRecord(Record):
    """The job of a run."""

    run: str = Field(description="Digest of the run's identity, hex.")
    job: str
    name: str = Field(description="metadata.name of the spec that began it.")


class RunIndex:
    """The runs of one store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store.child(".runs")

    def find(self, run: str) -> RunRecord | None:
        """The run's job; None where it never ran here."""
        try:
            data = self._store.get_bytes(_key(run))
        except ObjectNotFound:
            return None
        try:
            return RunRecord.model_validate_json(data)
        except ValidationError:
            raise IntegrityError(
                f"{self._store.key_url(_key(run))} is not what was written there",
                hint="delete it; the run then begins anew",
            ) from None

    def adopt(self, run: str, *, new_job: str, name: str) -> RunRecord:
        """The run's job; `new_job` becomes it where there is none."""
        record = RunRecord(run=run, job=new_job, name=name)
        try:
            self._store.put_bytes(_key(run), _bytes(record), create_only=True)
        except ObjectExists:
            found = self.find(run)
            return found if found is not None else self.adopt(run, new_job=new_job, name=name)
        return record

    def replace(self, run: str, *, new_job: str, name: str) -> RunRecord:
        """Begins the run anew: `new_job` is its job from now on."""
        record = RunRecord(run=run, job=new_job, name=name)
        self._store.put_bytes(_key(run), _bytes(record))
        return record


def _key(run: str) -> str:
    return f"{run}.json"


def _bytes(record: RunRecord) -> bytes:
    return record.model_dump_json(indent=1).encode() + b"\n"
