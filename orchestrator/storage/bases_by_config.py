"""A base of which only the config is at hand: a folder without weights, or a hub model that was
never downloaded. Called by `server` for `plan --hardware`, where nothing is trained.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import InvalidInput
from orchestrator.inspect.model import ModelFacts, model_problems
from orchestrator.inspect.model_by_config import inspect_config
from orchestrator.inspect.model_config import CONFIG_FILE
from orchestrator.inspect.model_hub import HubApi, hub_api, hub_errors
from orchestrator.inspect.safetensors import INDEX_FILE, MODEL_FILE
from orchestrator.specs import FineTuneSpec, ModelSpec
from orchestrator.specs.location_checks import scheme_of
from orchestrator.specs.paths import local_path
from orchestrator.storage.bases import TOKENIZER, Base, BasePlaces


def base_by_config(
    spec: FineTuneSpec, places: BasePlaces
) -> tuple[Base, ModelFacts, Path | None] | None:
    """The base, its facts and its tokenizer.json; None where it has weights, or no config either.

    Raises:
        InvalidInput: Its config is wrong, or cannot do what the spec asks of it.
    """
    assert spec.model is not None
    if spec.model.base is None:
        return None
    scheme = scheme_of(spec.model.base)
    if scheme == "hf":
        found = _of_hub(spec.model, places.api)
    elif scheme in (None, "file"):
        found = _of_folder(spec.model, places.base_dir)
    else:
        return None
    if found is not None and (problems := model_problems(found[1], spec)):
        raise InvalidInput(problems)
    return found


def _of_folder(model: ModelSpec, base_dir: Path) -> tuple[Base, ModelFacts, Path | None] | None:
    folder = local_path(model.named, base_dir)
    assert folder is not None
    has_weights = any((folder / name).is_file() for name in (MODEL_FILE, INDEX_FILE))
    if has_weights or not (folder / CONFIG_FILE).is_file():
        return None
    facts = inspect_config(folder / CONFIG_FILE, str(folder))
    pinned = ModelSpec(base=str(folder.absolute()))
    tokenizer = folder / TOKENIZER
    base = Base("folder", pinned, folder.absolute())
    return base, facts, tokenizer if tokenizer.is_file() else None


def _of_hub(model: ModelSpec, api: HubApi | None) -> tuple[Base, ModelFacts, Path | None] | None:
    """By the config in huggingface_hub's cache, else the hub's own."""
    repo = model.named.partition("://")[2].strip("/")
    config, commit = _cached(repo, model.revision, CONFIG_FILE), model.revision
    if config is not None:
        commit = config.parent.name  # a snapshot's folder is named by its commit
    else:
        try:
            with hub_errors(repo, model.revision):
                asked = api or hub_api()
                commit = str(asked.model_info(repo, revision=model.revision).sha)
                config = Path(asked.hf_hub_download(repo, CONFIG_FILE, revision=commit))
        except InvalidInput:
            return None  # whoever asks for the whole model has said why
    facts = inspect_config(config, f"hf://{repo}", commit)
    base = Base("hub", ModelSpec(base=f"hf://{repo}", revision=commit), None)
    return base, facts, _cached(repo, commit, TOKENIZER)


def _cached(repo: str, revision: str | None, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repo, name, revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
