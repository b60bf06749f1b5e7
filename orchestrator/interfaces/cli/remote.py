"""What lies in object stores, brought here. Called by the commands that read data and models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInput
from orchestrator.interfaces.cli.options import store_location
from orchestrator.interfaces.cli.output import say, style

if TYPE_CHECKING:
    from orchestrator.inspect.files import Fetch
    from orchestrator.settings import Settings
    from orchestrator.specs.loading import LoadedSpec
    from orchestrator.storage.registry import ModelRegistry


def settings_for(store: str | None = None) -> Settings:
    """The settings, with `--store` before all others, put into force; says what has no effect."""
    from orchestrator.settings import load_settings
    from orchestrator.telemetry.logs import configure_logging

    location = None if store is None else store_location(store)
    settings = load_settings({"store": location})
    for warning in settings.warnings:
        say(f"{style('warning:', fg='yellow')} {warning}")
    os.environ.update(settings.store_environment())
    configure_logging(settings.log_level, settings.log_format)
    return settings


def fetch_with(settings: Settings) -> Fetch:
    """What copies a URL of an object store into the cache; loads nothing until it is used."""

    def fetch(url: str) -> Path:
        from orchestrator.storage.cache import local_copy

        return local_copy(
            url, cache_dir=settings.cache_dir, retry_seconds=settings.store_retry_seconds
        )

    return fetch


def tokenizer_of(loaded: LoadedSpec, settings: Settings) -> Path | None:
    """The base model's tokenizer.json; None where the base has none."""
    from orchestrator.control.controller.look import find_base
    from orchestrator.storage.bases import BasePlaces, base_tokenizer, resolve_base
    from orchestrator.storage.objectstore import open_store

    body = loaded.spec.spec
    if body.model is None:
        return None
    store = open_store(body.output.store or settings.store)
    places = BasePlaces(loaded.base_dir, settings.cache_dir, store)
    try:
        if body.model.fresh is not None:
            return find_base(body, places).tokenizer
        return base_tokenizer(resolve_base(body.model, places))
    except InvalidInput as error:
        raise InvalidInput([loaded.positions.located(p) for p in error.problems]) from None


def registry_of(settings: Settings) -> ModelRegistry:
    from orchestrator.storage.objectstore import open_store
    from orchestrator.storage.registry import ModelRegistry

    return ModelRegistry(open_store(settings.store, retry_seconds=settings.store_retry_seconds))
