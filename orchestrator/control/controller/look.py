"""Everything that is found out before anything starts: facts about spec, data, base and machine.

Called by `server` for `plan` and `run` alike, so that both say the same. Nothing is created here
but copies of remote files in the cache, and for a run one probe object in the store.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.control.admission.plan import Plan, PlanInputs, make_plan
from orchestrator.errors import InvalidInput, OrchestratorError, Problem, StoreError
from orchestrator.inspect.data import Fetch, SplitKey, read_tables
from orchestrator.inspect.hardware import inspect_hardware
from orchestrator.inspect.tokens import TokenFacts, token_facts
from orchestrator.inspect.validation import validate_all
from orchestrator.settings import Settings
from orchestrator.specs.identity import RECIPE
from orchestrator.specs.loading import LoadedSpec, Positions, load_document
from orchestrator.specs.paths import local_path
from orchestrator.storage.bases import (
    Base,
    BasePlaces,
    base_tokenizer,
    describe_base,
    resolve_base,
)
from orchestrator.storage.cache import local_copy
from orchestrator.storage.objectstore import ObjectStore, open_store

PATIENCE_SECONDS = 2.0  # a store that is away before the start is told, not waited for


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found, and the plan that follows from it."""

    loaded: LoadedSpec
    base: Base
    inputs: PlanInputs
    plan: Plan

    def with_engine(self, engine: dict[str, Any]) -> Looked:
        """The same, planned again with fields of `engine` that the spec leaves open."""
        if not engine:
            return self
        spec = self.inputs.spec
        pinned = spec.spec.engine.model_copy(update=engine)
        body = spec.spec.model_copy(update={"engine": pinned})
        inputs = replace(self.inputs, spec=spec.model_copy(update={"spec": body}))
        return replace(self, inputs=inputs, plan=make_plan(inputs))


def look(source: Path, sets: Sequence[str], settings: Settings, *, probe_store: bool) -> Looked:
    """Facts and plan of a spec.

    Raises InvalidInput with everything that is wrong with spec, data and base; StoreError where the
    store cannot be written and `probe_store` asks for it.
    """
    fetch = partial(local_copy, cache_dir=settings.cache_dir, retry_seconds=PATIENCE_SECONDS)
    # 1. The spec and its data.
    try:
        validated = validate_all(source, sets, fetch=fetch)
    except InvalidInput as error:
        raise InvalidInput([*error.problems, *_base_problems(source, sets, settings)]) from None
    loaded, data = validated.loaded, validated.data
    assert data is not None, "the data were to be read"
    # 2. The store.
    store = store_of(loaded, settings, PATIENCE_SECONDS)
    if probe_store:
        _probe(store)
    # 3. The base, and the texts as it will see them.
    places = BasePlaces(loaded.base_dir, settings.cache_dir, store)
    with located(loaded.positions):
        base = resolve_base(loaded.spec.spec.model, places)
        model = describe_base(base, loaded.spec.spec)
        tokens = _tokens(loaded, base, fetch)
    # 4. The plan.
    inputs = PlanInputs(
        spec=loaded.spec,
        data=data,
        tokens=tokens,
        model=model,
        base=base.pinned,
        hardware=inspect_hardware(store.local_path or settings.state_dir),
        base_dir=loaded.base_dir,
        default_store=settings.store,
        recipe=RECIPE,
    )
    return Looked(loaded, base, inputs, make_plan(inputs))


def store_of(loaded: LoadedSpec, settings: Settings, retry_seconds: float) -> ObjectStore:
    """The store a spec names, or the setting's."""
    written = loaded.spec.spec.output.store
    local = local_path(written, loaded.base_dir) if written else None
    return open_store(str(local or written or settings.store), retry_seconds=retry_seconds)


def _probe(store: ObjectStore) -> None:
    try:
        store.probe_writable()
    except StoreError as error:
        error.message = re.sub(r"/\.probe/[0-9a-f]+", "", error.message)
        raise error.before_the_start() from None


def _tokens(loaded: LoadedSpec, base: Base, fetch: Fetch) -> dict[SplitKey, TokenFacts] | None:
    """How long the texts are for this base; None where only transformers could tell."""
    file = base_tokenizer(base)
    if file is None:
        return None
    body = loaded.spec.spec
    tables = read_tables(body, base_dir=loaded.base_dir, fetch=fetch)
    return token_facts(tables, file, body.training.max_length)


def _base_problems(source: Path, sets: Sequence[str], settings: Settings) -> tuple[Problem, ...]:
    """What is wrong with the base of a spec that is wrong already, as far as it can be seen."""
    document = load_document(source, sets=sets)
    if document.usable is None or any(path.startswith("model") for path in document.doubtful):
        return ()
    places = BasePlaces(document.base_dir, settings.cache_dir)
    try:
        with located(document.positions):
            base = resolve_base(document.usable.spec.model, places)
            describe_base(base, document.usable.spec)
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
