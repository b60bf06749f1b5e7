"""Published models of the team's store."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from orchestrator.control.controller.submission import require
from orchestrator.errors import NotFound
from orchestrator.interfaces.api.dependencies import InTurn, ServiceHere, Who
from orchestrator.interfaces.wire import (
    AliasRequest,
    FileView,
    ModelView,
    VersionDetail,
    VersionView,
)
from orchestrator.records import Role
from orchestrator.storage.registry import ModelRegistry, ModelVersion

router = APIRouter(tags=["models"], dependencies=[InTurn])

Name = Annotated[str, Path(max_length=200)]


@router.get("/models")
def models(service: ServiceHere, who: Who) -> list[ModelView]:
    """All models with their versions."""
    registry = service.registry(who.team)
    return [_model(registry, name) for name in registry.models()]


@router.get("/models/{name}")
def model(name: Name, service: ServiceHere, who: Who) -> ModelView:
    """A model with its versions, the oldest first."""
    registry = service.registry(who.team)
    registry.resolve(name)
    return _model(registry, name.partition("@")[0])


@router.get("/models/{name}/versions/{version}")
def version(name: Name, version: Name, service: ServiceHere, who: Who) -> VersionDetail:
    """A version by its number or an alias: files, figures and lineage."""
    registry = service.registry(who.team)
    found = registry.resolve(f"{name}@{version}")
    aliases = registry.aliases(found.name)
    return VersionDetail(
        **dict(_version(found)),
        aliases=tuple(alias for alias, n in aliases.items() if n == found.version),
        metrics=_document(registry, found, "metrics.json"),
        lineage=_document(registry, found, "lineage.json"),
    )


@router.put("/models/{name}/aliases/{alias}")
def set_alias(
    name: Name, alias: Name, asked: AliasRequest, service: ServiceHere, who: Who
) -> dict[str, int]:
    """Points an alias at a version; the answer is all aliases of the model."""
    require(who, Role.LEAD)
    registry = service.registry(who.team)
    registry.set_alias(name, alias, asked.version)
    return registry.aliases(name)


@router.delete("/models/{name}/aliases/{alias}")
def remove_alias(name: Name, alias: Name, service: ServiceHere, who: Who) -> dict[str, int]:
    """Takes an alias away."""
    require(who, Role.LEAD)
    registry = service.registry(who.team)
    registry.remove_alias(name, alias)
    return registry.aliases(name)


def _model(registry: ModelRegistry, name: str) -> ModelView:
    aliases = registry.aliases(name)
    return ModelView(
        name=name,
        latest=aliases.get("latest", 0),
        aliases=aliases,
        versions=tuple(_version(found) for found in registry.versions(name)),
    )


def _version(found: ModelVersion) -> VersionView:
    return VersionView(
        name=found.name,
        version=found.version,
        url=found.url,
        job=found.run,
        created_at=found.created_at,
        size_bytes=found.size_bytes,
        files=tuple(FileView(**dict(file)) for file in found.files),
    )


def _document(registry: ModelRegistry, found: ModelVersion, name: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = registry.read_json(found, name)
    except NotFound:
        return {}
    return document
