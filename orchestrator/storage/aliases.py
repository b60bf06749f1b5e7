"""Names for versions of a model: `<name>/.aliases/<alias>.json`.

`latest` is among them for readers of the store; the registry itself looks for the newest version.
"""

from __future__ import annotations

from orchestrator.errors import ObjectNotFound, UserError
from orchestrator.records import Record
from orchestrator.specs.base import is_dns_label
from orchestrator.storage.manifests import read_record, write_record
from orchestrator.storage.objectstore import ObjectStore

LATEST = "latest"
PROMOTED = "promoted"
"""The newest version that passed all of its gates."""


class AliasRecord(Record):
    """What an alias object holds."""

    version: int


class Aliases:
    """The aliases of one model; `store` is the registry's."""

    def __init__(self, store: ObjectStore, model: str) -> None:
        self._store = store.child(f"{model}/.aliases")

    def all(self) -> dict[str, int]:
        keys = [info.key for info in self._store.list() if info.key.endswith(".json")]
        found = {key.removesuffix(".json"): self.get(key.removesuffix(".json")) for key in keys}
        return {alias: version for alias, version in found.items() if version is not None}

    def get(self, alias: str) -> int | None:
        try:
            return read_record(self._store, f"{alias}.json", AliasRecord).version
        except ObjectNotFound:
            return None

    def set(self, alias: str, version: int) -> None:
        write_record(self._store, f"{alias}.json", AliasRecord(version=version))

    def remove(self, alias: str) -> None:
        self._store.delete(f"{alias}.json")


def check_alias(alias: str) -> None:
    """UserError for what a user may not call an alias."""
    if alias == LATEST:
        raise UserError(
            "latest is moved by publishing only", hint="choose another alias, e.g. production"
        )
    if alias.isdigit():
        raise UserError(f"the alias {alias!r} would look like a version", hint="use a word")
    if not is_dns_label(alias):
        raise UserError(
            f"{alias!r} cannot be an alias",
            hint="use lower-case letters, digits and hyphens, at most 63",
        )
