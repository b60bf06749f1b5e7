"""Every field a spec may hold, as data: what explains a spec to people reads this.

Used by `specs.suggest` (did you mean), `specs.template` (comments) and the test that every field is
described.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orchestrator.specs.finetune import FineTune


@dataclass(frozen=True, slots=True)
class FieldRef:
    """One field of one model. `parent` and `path` name places: `<name>` for a key, `[]` for items.

    `path` has no leading `spec.`, e.g. `data.domains.<name>.train[].path`.
    """

    name: str
    parent: str
    path: str
    owner: type[BaseModel]
    info: FieldInfo

    @property
    def description(self) -> str:
        return self.info.description or ""

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values a Literal field allows, else nothing."""
        return tuple(choices(self.info.annotation))


@cache
def all_fields() -> tuple[FieldRef, ...]:
    return tuple(_walk(FineTune, ""))


def choices(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif _is_union(annotation) or get_origin(annotation) is tuple:
        for part in get_args(annotation):
            yield from choices(part)


def models_in(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """The models an annotation leads to, with what stands between: `[]`, `.<name>` or nothing."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
        return
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        yield from models_in(arguments[0])
    elif _is_union(annotation):
        for part in arguments:
            yield from models_in(part)
    elif get_origin(annotation) is tuple:
        yield from ((f"[]{rest}", model) for rest, model in models_in(arguments[0]))
    elif get_origin(annotation) is dict:
        yield from ((f".<name>{rest}", model) for rest, model in models_in(arguments[1]))


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _walk(model: type[BaseModel], parent: str) -> Iterator[FieldRef]:
    for name, info in model.model_fields.items():
        path = f"{parent}.{name}" if parent else name
        yield FieldRef(name=name, parent=parent, path=path, owner=model, info=info)
        for between, child in models_in(info.annotation):
            below = "" if path == "spec" else path
            yield from _walk(child, below + between)
