"""Everything that is found out before anything starts: facts about spec, data, base and machine.

Called by `server` for `plan` and `run`, and by `submission`, so that all say the same. Nothing is
created here but copies of remote files in the cache, and for a run one probe object in the store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.control.admission.plan import Plan, PlanInputs, make_plan
from orchestrator.control.controller.continuing import continued
from orchestrator.control.controller.secrets import Secrets
from orchestrator.errors import InvalidInput, OrchestratorError, Problem, StoreError
from orchestrator.inspect.code import Code
from orchestrator.inspect.data import Fetch, SplitKey, read_tables
from orchestrator.inspect.hardware import HardwareFacts, inspect_hardware
from orchestrator.inspect.model import ModelFacts
from orchestrator.inspect.tokens import TokenFacts, token_facts
from orchestrator.inspect.validation import Relocate, Validated, validate_all
from orchestrator.settings import Settings
from orchestrator.specs import CustomTask, FineTuneSpec
from orchestrator.specs.identity import RECIPE
from orchestrator.specs.loading import LoadedDocument, LoadedSpec, Positions, load_document
from orchestrator.specs.method import splits_texts
from orchestrator.specs.paths import local_path
from orchestrator.specs.task_checks import target_length
from orchestrator.storage.bases import (
    Base,
    BasePlaces,
    base_digest,
    base_tokenizer,
    describe_base,
    resolve_base,
)
from orchestrator.storage.cache import local_copy
from orchestrator.storage.code import CodeStore
from orchestrator.storage.objectstore import ObjectStore, open_store

PATIENCE_SECONDS = 2.0  # a store that is away before the start is told, not waited for


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found, and the plan that follows from it."""

    loaded: LoadedSpec
    base: Base | None  # None where a script starts from nothing
    inputs: PlanInputs
    plan: Plan
    code: Code | None = None  # the user's; `keep_code` puts it where workers find it

    @property
    def store_url(self) -> str:
        """Of the object store the job publishes to."""
        return str(self.plan.spec.spec.output.store)

    def with_engine(self, engine: dict[str, Any]) -> Looked:
        """The same, planned again with fields of `engine` that the spec leaves open."""
        if not engine:
            return self
        spec = self.inputs.spec
        pinned = spec.spec.engine.model_copy(update=engine)
        body = spec.spec.model_copy(update={"engine": pinned})
        inputs = replace(self.inputs, spec=spec.model_copy(update={"spec": body}))
        return replace(self, inputs=inputs, plan=make_plan(inputs))


@dataclass(frozen=True, slots=True)
class FoundBase:
    """A base, what is known of it, and its tokenizer where that is a file."""

    base: Base | None
    model: ModelFacts | None
    tokenizer: Path | None
    digest: str = ""  # where `model` does not tell it


FindBase = Callable[[FineTuneSpec, BasePlaces], FoundBase]


def find_base(spec: FineTuneSpec, places: BasePlaces) -> FoundBase:
    """The base as it is now; raises what `resolve_base` and `describe_base` raise.

    What a custom task's script makes of a base is its own: only the bytes count.
    """
    if spec.model is None:
        return FoundBase(None, None, None)
    base = resolve_base(spec.model, places)
    if isinstance(spec.task, CustomTask):
        return FoundBase(base, None, None, base_digest(base))
    return FoundBase(base, describe_base(base, spec), base_tokenizer(base))


@dataclass(frozen=True, slots=True)
class Vantage:
    """From where a spec is looked at: as it stands, by the person who sits at this machine."""

    team: str = "local"  # whose secrets may be named
    default_store: str | None = None  # absent: the setting's
    relocate: Relocate | None = None
    find_base: FindBase = find_base
    hardware: Callable[[Path], HardwareFacts] = inspect_hardware  # of where it will run
    may_read: Callable[[str], bool] = lambda _: True  # whether an adapter may lead to this base


HERE = Vantage()


def look(
    source: Path | str,
    sets: Sequence[str],
    settings: Settings,
    *,
    probe_store: bool,
    vantage: Vantage = HERE,
) -> Looked:
    """Facts and plan of a spec, from a file (a Path) or from text.

    Raises InvalidInput with everything that is wrong with spec, data and base; StoreError where the
    store cannot be written and `probe_store` asks for it.
    """
    fetch = partial(local_copy, cache_dir=settings.cache_dir, retry_seconds=PATIENCE_SECONDS)
    default_store = vantage.default_store or settings.store
    # 1. The spec and its data.
    validated = _validated(source, sets, settings, fetch, vantage)
    loaded, data = validated.loaded, validated.data
    assert data is not None, "the data were to be read"
    # 2. The store.
    store = _store(loaded, default_store, PATIENCE_SECONDS)
    if probe_store:
        _probe(store)
    # 3. The base, and the texts as it will see them.
    places = BasePlaces(loaded.base_dir, settings.cache_dir, store, may_read=vantage.may_read)
    with located(loaded.positions):
        found = vantage.find_base(loaded.spec.spec, places)
        tokens = _tokens(loaded, found.tokenizer, fetch)
    # 4. The plan.
    inputs = PlanInputs(
        spec=loaded.spec,
        data=data,
        tokens=tokens,
        model=found.model,
        base=found.base.pinned if found.base is not None else None,
        hardware=vantage.hardware(store.local_path or settings.state_dir),
        base_dir=loaded.base_dir,
        default_store=default_store,
        recipe=RECIPE,
        base_digest=found.digest,
        code_sha256=validated.code.sha256 if validated.code is not None else None,
    )
    plan = make_plan(inputs)
    # 5. What it begins with beside the base, where that is made already.
    if found.base is not None and found.base.path is not None:
        with located(loaded.positions):
            continued(plan.spec.spec, store)
    return Looked(loaded, found.base, inputs, plan, validated.code)


def _validated(
    source: Path | str, sets: Sequence[str], settings: Settings, fetch: Fetch, vantage: Vantage
) -> Validated:
    """The spec with its data; raises InvalidInput with all that is wrong, the base included."""
    try:
        validated = validate_all(
            source,
            sets,
            fetch=fetch,
            relocate=vantage.relocate,
            allow_code=allows_code(settings, vantage),
        )
    except InvalidInput as error:
        more = _base_problems(load_document(source, sets=sets), settings, vantage)
        raise InvalidInput([*error.problems, *more]) from None
    loaded = validated.loaded
    named = loaded.spec.spec.runtime.secrets
    if unknown := list(Secrets.of(settings).problems(named, vantage.team)):
        raise InvalidInput([loaded.positions.located(problem) for problem in unknown])
    return validated


def allows_code(settings: Settings, vantage: Vantage) -> bool:
    """Whether workers may run what users bring along.

    Whoever sits at this machine runs it as himself anyway; a server lets others do so only where
    its operator says so.
    """
    if settings.user_code is None:
        return vantage.relocate is None
    return settings.user_code == "allowed"


def keep_code(looked: Looked, store: ObjectStore) -> None:
    """Puts the user's code into the store of its job, before the job is added."""
    if looked.code is not None:
        CodeStore(store).put(looked.code)


def store_of(loaded: LoadedSpec, settings: Settings, retry_seconds: float) -> ObjectStore:
    """The store a spec names, or the setting's."""
    return _store(loaded, settings.store, retry_seconds)


def _store(loaded: LoadedSpec, default: str, retry_seconds: float) -> ObjectStore:
    written = loaded.spec.spec.output.store
    local = local_path(written, loaded.base_dir) if written else None
    return open_store(str(local or written or default), retry_seconds=retry_seconds)


def _probe(store: ObjectStore) -> None:
    try:
        store.probe_writable()
    except StoreError as error:
        error.message = re.sub(r"/\.probe/[0-9a-f]+", "", error.message)
        raise error.before_the_start() from None


def _tokens(
    loaded: LoadedSpec, tokenizer: Path | None, fetch: Fetch
) -> dict[SplitKey, TokenFacts] | None:
    """How long the texts are for this base; None where only transformers could tell."""
    if tokenizer is None:
        return None
    body = loaded.spec.spec
    tables = read_tables(body, base_dir=loaded.base_dir, fetch=fetch)
    lengths = (body.training.max_length, target_length(body))
    return token_facts(tables, tokenizer, *lengths, split=splits_texts(body.method))


def _base_problems(
    document: LoadedDocument, settings: Settings, vantage: Vantage
) -> tuple[Problem, ...]:
    """What is wrong with the base of a spec that is wrong already, as far as it can be seen."""
    if document.usable is None or any(path.startswith("model") for path in document.doubtful):
        return ()
    if vantage.relocate is not None:
        document, refused = vantage.relocate(document)
        if refused:
            return ()
    assert document.usable is not None
    places = BasePlaces(document.base_dir, settings.cache_dir)
    try:
        with located(document.positions):
            vantage.find_base(document.usable.spec, places)
    except InvalidInput as error:
        return error.problems
    except OrchestratorError:
        return ()  # a store that is away, say: no fault of the spec
    return ()


@contextmanager
def located(positions: Positions) -> Iterator[None]:
    """Adds file and line to the problems that are raised within."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput([positions.located(p) for p in error.problems]) from None
