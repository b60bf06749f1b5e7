"""Published models as `predict` and `models` need them: in the cache, and summed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InvalidInput, NotFound, UserError
from orchestrator.interfaces.cli.remote import fetch_with, registry_of, settings_for

if TYPE_CHECKING:
    from orchestrator.settings import Settings
    from orchestrator.storage.registry import ModelRegistry, ModelVersion

DEFAULT_METRIC = "macro_f1"


@dataclass(frozen=True, slots=True)
class Pulled:
    """A version's files in a local folder, and the body of its spec; empty: from elsewhere."""

    name: str
    folder: Path
    spec: Mapping[str, Any]
    base: Path | None = None  # of an adapter: the whole model it belongs to

    @property
    def reads_pairs(self) -> bool | None:
        """Whether a row is two texts; None of a model from elsewhere, which may read either."""
        task = self.spec.get("task")
        return None if task is None else bool(task.get("pairs"))


@dataclass(frozen=True, slots=True)
class Summary:
    """One model of a store, by its newest version."""

    name: str
    latest: int
    versions: tuple[int, ...]
    aliases: Mapping[str, int]  # without `latest`
    created_at: datetime
    size_bytes: int
    metric: str
    values: Mapping[str, float]  # domain -> metric on test


def pull(ref: str, store: str | None) -> Pulled:
    """The version that `ref` stands for, copied once into the cache."""
    settings = settings_for(store)
    registry = registry_of(settings)
    version = registry.resolve(ref)
    folder = fetch_with(settings)(version.url)
    spec = resolved_spec(document(registry, version, "lineage.json"))
    return Pulled(version.ref, folder, spec, base_of(version.ref, folder, settings))


def of_task(pulled: Pulled, task: str | None) -> Pulled:
    """One task of a model that has several: its folder, and its spec as if it were the only one."""
    tasks = pulled.spec.get("tasks") or {}
    if not tasks:
        if task is not None:
            raise UserError(f"{pulled.name} has one task only", hint="leave --task out")
        return pulled
    known = ", ".join(tasks)
    if task is None:
        hint = f"add --task: one of {known}"
        raise UserError(f"{pulled.name} has {len(tasks)} tasks, and none is named", hint=hint)
    if task not in tasks:
        raise UserError(f"{pulled.name} has no task '{task}'", hint=f"one of {known}")
    beside = ("domains", "columns", "weight")
    plain = {field: value for field, value in tasks[task].items() if field not in beside}
    own = pulled.folder / task
    folder = own if own.is_dir() else pulled.folder
    spec = {**pulled.spec, "task": plain, "tasks": None}
    return replace(pulled, folder=folder, spec=spec)


def base_of(ref: str, folder: Path, settings: Settings) -> Path | None:
    """The whole model an adapter belongs to, brought here; None where `folder` is whole itself.

    Raises NotFound where it cannot be had, IntegrityError where its name means another model now.
    """
    from orchestrator.storage.adapters import origin_of
    from orchestrator.storage.bases import BasePlaces, fetch_base, whole_base
    from orchestrator.storage.objectstore import open_store

    origin = origin_of(folder)
    if origin is None:
        return None
    store = open_store(settings.store, retry_seconds=settings.store_retry_seconds)
    try:
        return fetch_base(whole_base(folder, origin, BasePlaces(folder, settings.cache_dir, store)))
    except InvalidInput as error:
        problem = error.problems[0]
        raise NotFound(
            f"{ref} is an adapter of {origin.name}, which cannot be had: {problem.message}",
            hint=problem.hint,
        ) from None


def summaries(registry: ModelRegistry) -> list[Summary]:
    """Every model of the store, by name."""
    return [_summary(registry, name) for name in sorted(registry.models())]


def document(registry: ModelRegistry, version: ModelVersion, path: str) -> dict[str, Any]:
    """A JSON document of the version; empty where it has none (models may come from elsewhere)."""
    try:
        found = registry.read_json(version, path)
    except NotFound:
        return {}
    return found if isinstance(found, dict) else {}


def resolved_spec(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the spec as it was run; empty where the lineage does not say."""
    spec: dict[str, Any] = lineage.get("spec", {}).get("resolved", {}).get("spec", {})
    return spec


def shown_metrics(
    spec: Mapping[str, Any], test: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    """The metrics that the spec asked for, in order; of a script's model what it measured."""
    if spec.get("task", {}).get("type") == "custom":
        return tuple(dict.fromkeys(name for values in test.values() for name in values))
    evaluation = spec.get("evaluation", {})
    asked = (*(evaluation.get("metrics") or ()), *(evaluation.get("custom_metrics") or ()))
    return asked or ("accuracy", DEFAULT_METRIC)


def main_metric(metrics: Mapping[str, Any]) -> str:
    """What the weights were selected by, without its domain; a script's is the first it names."""
    chosen = (metrics.get("selection") or {}).get("metric")
    if chosen is not None:
        return str(chosen).rpartition("/")[2]
    named = [name for values in (metrics.get("test") or {}).values() for name in values]
    return DEFAULT_METRIC if DEFAULT_METRIC in named or not named else named[0]


def _summary(registry: ModelRegistry, name: str) -> Summary:
    versions = registry.versions(name)
    newest = versions[-1]
    metrics = document(registry, newest, "metrics.json")
    metric = main_metric(metrics)
    test: dict[str, dict[str, Any]] = metrics.get("test", {})
    return Summary(
        name=name,
        latest=newest.version,
        versions=tuple(version.version for version in versions),
        aliases={a: n for a, n in registry.aliases(name).items() if a != "latest"},
        created_at=newest.created_at,
        size_bytes=newest.size_bytes,
        metric=metric,
        values={domain: values[metric] for domain, values in test.items() if metric in values},
    )
