"""The base model a spec names, found, pinned and brought here.

`server` resolves a base once, describes it for the plan and fetches it for the run. What is
resolved names the same bytes later: a hub's branch becomes a commit, a model's alias its version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.errors import (
    IntegrityError,
    InvalidInput,
    NotFound,
    OrchestratorError,
    Problem,
    UserError,
)
from orchestrator.inspect.adapters import read_adapter
from orchestrator.inspect.model import (
    TOKENIZER_FILES,
    ModelFacts,
    folder_digest,
    inspect_model,
    model_problems,
)
from orchestrator.inspect.model_hub import (
    HubApi,
    HubUnreachable,
    hub_api,
    hub_errors,
    inspect_hub_model,
    pin_revision,
)
from orchestrator.inspect.safetensors import BASE
from orchestrator.specs import FineTuneSpec, ModelSpec
from orchestrator.specs.location_checks import scheme_of
from orchestrator.specs.paths import local_path
from orchestrator.storage.adapters import Origin, origin_of
from orchestrator.storage.cache import local_copy
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.storage.packages import package_folder
from orchestrator.storage.registry import ModelRegistry, ModelVersion

TOKENIZER = "tokenizer.json"
HUB_FILES = ("config.json", "model*.safetensors", "model.safetensors.index.json", *TOKENIZER_FILES)
"""What is downloaded of a hub model: never pickles, never code."""


@dataclass(frozen=True, slots=True)
class Base:
    """A base model that was found."""

    kind: Literal["folder", "package", "hub", "store", "model", "fresh"]
    pinned: ModelSpec  # names the same bytes wherever and whenever it is resolved
    path: Path | None  # the local folder; None for a hub model that is not downloaded yet
    under: Base | None = None  # the whole model, where this is an adapter beside it

    @property
    def whole(self) -> Base:
        """The model that is loaded first."""
        return self.under or self


@dataclass(frozen=True, slots=True)
class BasePlaces:
    """Where bases are looked for."""

    base_dir: Path  # of the spec's file
    cache_dir: Path
    store: ObjectStore | None = None  # the job's own: models:// and job://
    api: HubApi | None = None  # absent: the real hub
    may_read: Callable[[str], bool] = lambda _: True  # whether an adapter may lead to this base


def resolve_base(model: ModelSpec, places: BasePlaces) -> Base:
    """Finds the base and pins it; downloads what lies in object stores, but no hub's weights.

    Raises:
        InvalidInput: It does not exist, or cannot be named so; at `model.base`.
        StoreError: The store it lies in cannot be read.
    """
    scheme, rest = scheme_of(model.named), model.named.partition("://")[2]
    match scheme:
        case None | "file":
            path = local_path(model.named, places.base_dir)
            assert path is not None
            return Base("folder", _named(str(path.absolute())), path.absolute())
        case "package":
            return Base("package", model, package_folder(rest))
        case "hf":
            return _hub(rest.strip("/"), model.revision, places.api)
        case "models":
            return _published(_version(rest, places), places)
        case "job":
            return _published(_newest_of_job(rest, places), places)
        case _:
            return Base("store", model, _copied(model.named, places))


def describe_base(
    base: Base, spec: FineTuneSpec | None = None, *, api: HubApi | None = None
) -> ModelFacts:
    """Facts about a resolved base; of a hub model that is not here, without its weights.

    Raises InvalidInput where it is no whole model, or cannot do what `spec` asks of it.
    """
    facts = _facts(base, api)
    problems = model_problems(facts, spec) if spec is not None else ()
    if problems:
        raise InvalidInput(problems)
    return facts


def base_digest(base: Base) -> str:
    """What the bytes of a resolved base come to, whatever kind of model they are."""
    if base.kind == "hub":
        assert base.pinned.revision is not None, "a hub model is pinned to a commit"
        return base.pinned.revision
    assert base.path is not None, "every other base is here once it is resolved"
    if base.under is not None:
        return _digest_of_both(base.path, base_digest(base.under))
    if not base.path.is_dir():
        raise _refused(f"the folder {base.path} does not exist", "correct the path")
    return folder_digest(base.path)


def fetch_base(base: Base) -> Path:
    """The local folder of a resolved base, downloaded if need be; raises InvalidInput.

    Of an adapter it is the adapter's own; what it belongs to is here then too.
    """
    if base.under is not None:
        fetch_base(base.under)
    if base.path is not None:
        return base.path
    from huggingface_hub import snapshot_download

    repo, revision = _repository(base), base.pinned.revision
    with hub_errors(repo, revision):
        found = snapshot_download(repo, revision=revision, allow_patterns=list(HUB_FILES))
    return Path(str(found))


def base_tokenizer(base: Base, *, api: HubApi | None = None) -> Path | None:
    """The base's tokenizer.json, for counting tokens; None where it has only a vocabulary."""
    if base.path is not None:
        file = base.path / TOKENIZER
        return file if file.is_file() else None
    from huggingface_hub.errors import EntryNotFoundError

    repo, revision = _repository(base), base.pinned.revision
    with hub_errors(repo, revision):
        try:
            return Path((api or hub_api()).hf_hub_download(repo, TOKENIZER, revision=revision))
        except EntryNotFoundError:
            return None


def whole_base(folder: Path, origin: Origin, places: BasePlaces) -> Base:
    """The base that the adapter in `folder` belongs to, found by its name.

    Raises IntegrityError where that name now means another model; InvalidInput where none.
    """
    if not places.may_read(origin.name):
        raise _refused(
            f"the adapter in {folder} belongs to {origin.name}, which may not be read from here",
            "publish the adapter with method.merge: true, and start from that",
        )
    base = resolve_base(ModelSpec(base=origin.name, revision=origin.revision), places)
    found = describe_base(base, api=places.api).digest
    if found != origin.digest:
        raise IntegrityError(
            f"{origin.name} is not the base this adapter was trained on: its digest is "
            f"{found[:12]}, not {origin.digest[:12]}",
            hint="put the base back as it was, or train the adapter again",
        )
    return base


def _digest_of_both(adapter: Path, whole: str) -> str:
    text = f"{whole}\0{folder_digest(adapter)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _facts(base: Base, api: HubApi | None) -> ModelFacts:
    if base.under is not None:
        assert base.path is not None, "an adapter is here once it is resolved"
        facts = _facts(base.under, api)
        digest = _digest_of_both(base.path, facts.digest)
        adapter = read_adapter(base.path)
        return facts.model_copy(update={"digest": digest, "revision": None, "adapter": adapter})
    if base.path is None:
        return inspect_hub_model(_repository(base), base.pinned.revision, api=api)
    facts = inspect_model(base.path)
    if base.kind != "hub" or base.pinned.revision is None:
        return facts
    # Downloaded or not, a hub model is the same one.
    return facts.model_copy(
        update={"digest": base.pinned.revision, "revision": base.pinned.revision}
    )


def _named(base: str, revision: str | None = None) -> ModelSpec:
    return ModelSpec(base=base, revision=revision)


def _repository(base: Base) -> str:
    return base.pinned.named.partition("://")[2]


# The hub


def _hub(repo: str, revision: str | None, api: HubApi | None) -> Base:
    try:
        commit = pin_revision(repo, revision, api=api)
    except HubUnreachable:
        folder = _cached_snapshot(repo, revision)
        if folder is None:
            raise
        return Base("hub", _named(f"hf://{repo}", folder.name), folder)
    return Base("hub", _named(f"hf://{repo}", commit), _cached_snapshot(repo, commit))


def _cached_snapshot(repo: str, revision: str | None) -> Path | None:
    """A download of before, in huggingface_hub's own cache; its folder is named by the commit."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repo, revision=revision, allow_patterns=list(HUB_FILES), local_files_only=True
        )
        inspect_model(Path(str(found)))
    except (LocalEntryNotFoundError, HFValidationError, InvalidInput):
        return None  # never downloaded, or not wholly
    return Path(str(found))


# Object stores and the registry


def _copied(url: str, places: BasePlaces) -> Path:
    try:
        return local_copy(url, cache_dir=places.cache_dir)
    except (NotFound, UserError) as error:
        raise _at_base(error) from None


def _version(ref: str, places: BasePlaces) -> ModelVersion:
    registry = _registry(places, f"models://{ref}")
    try:
        return registry.resolve(ref.strip("/"))
    except (NotFound, UserError) as error:
        raise _at_base(error) from None


def _newest_of_job(job: str, places: BasePlaces) -> ModelVersion:
    """The newest model that a job of this name (or id) published into the store."""
    registry = _registry(places, f"job://{job}")
    # A job publishes under its own name unless its spec says otherwise: look there first.
    names = sorted(registry.models(), key=lambda name: (name != job, name))
    found: list[ModelVersion] = []
    for name in names:
        if name != job and found and found[-1].name == job:
            break
        found.extend(_published_by(registry, name, job))
    if not found:
        assert places.store is not None
        raise _refused(
            f"{places.store.url} holds no model of the job '{job}'",
            "run that job first, name a model with models://name@version, or correct output.store",
        )
    return max(found, key=lambda version: version.created_at)


def _published_by(registry: ModelRegistry, name: str, job: str) -> Iterator[ModelVersion]:
    for version in registry.versions(name):
        if version.run == job or _job_name(registry, version) == job:
            yield version


def _job_name(registry: ModelRegistry, version: ModelVersion) -> str | None:
    try:
        lineage = registry.read_json(version, "lineage.json")
        return str(lineage["spec"]["resolved"]["metadata"]["name"])
    except (NotFound, KeyError, TypeError, ValueError):
        return None  # published by other means than a job


def _registry(places: BasePlaces, shown: str) -> ModelRegistry:
    if places.store is None:
        raise _refused(f"{shown} needs a store to look in", "set output.store")
    return ModelRegistry(places.store)


def _published(version: ModelVersion, places: BasePlaces) -> Base:
    assert places.store is not None
    pinned, folder = _named(f"models://{version.ref}"), _folder_of(version, places)
    origin = origin_of(folder)
    under = whole_base(folder, origin, places) if origin is not None else None
    return Base("model", pinned, folder, under)


def _folder_of(version: ModelVersion, places: BasePlaces) -> Path:
    """A version's files on this machine, verified."""
    assert places.store is not None
    registry = ModelRegistry(places.store)
    if places.store.local_path is not None:
        issues = registry.verify(version)
        if issues:
            raise IntegrityError(f"{version.ref}: {issues[0]}", hint="publish it again")
        return places.store.local_path / version.name / str(version.version)
    files = "".join(f"{file.path}\0{file.sha256}\n" for file in version.files)
    key = hashlib.sha256(files.encode()).hexdigest()[:32]
    folder = places.cache_dir / "models" / key
    if not folder.is_dir():
        try:
            registry.pull(version, folder)
        except OrchestratorError:
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def _at_base(error: OrchestratorError) -> InvalidInput:
    return InvalidInput([Problem(error.message, path=BASE, hint=error.hint)])


def _refused(message: str, hint: str) -> InvalidInput:
    return InvalidInput([Problem(message, path=BASE, hint=hint)])
