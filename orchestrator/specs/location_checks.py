"""What is wrong with the places a spec names (base, sources, code, store), as far as their text
tells.

Part of `specs.checks`. Credentials are refused in every place: a spec is kept, shown and published
with the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, urlsplit

from orchestrator.errors import Problem
from orchestrator.specs.data_checks import sources
from orchestrator.specs.finetune import FineTune
from orchestrator.specs.suggest import closest

OBJECT_STORES = ("s3", "gs", "az")
STORES = ("file", *OBJECT_STORES)
BASES = ("hf", "package", "models", "job", *STORES)

_SECRET_WORDS = ("key", "secret", "token", "password", "signature", "credential")


def scheme_of(place: str) -> str | None:
    """`s3://bucket/x` -> `s3`; None for a path."""
    scheme, mark, _ = place.partition("://")
    return scheme.lower() if mark else None


def _base(spec: FineTune) -> Iterator[Problem]:
    model = spec.spec.model
    if model is None or model.base is None:
        return
    scheme = scheme_of(model.base)
    rest = model.base.partition("://")[2]
    yield from _place("model.base", model.base, BASES)
    if model.revision is not None and scheme != "hf":
        hint = "remove it; models://name@2 and package versions name theirs in the base"
        message = "a revision is one of a hub model, hf://org/name"
        yield Problem(message, path="model.revision", hint=hint)
    if scheme == "hf" and rest.count("/") > 1:
        message, hint = "a hub model is hf://org/name", "a folder within it cannot be named"
        yield Problem(message, path="model.base", hint=hint)
    if scheme == "hf" and "@" in rest:
        name, _, revision = rest.partition("@")
        hint = f"write base: hf://{name} and revision: {revision}"
        yield Problem("the revision has a field of its own", path="model.base", hint=hint)
    if scheme in BASES and not rest.strip("/"):
        yield Problem("names nothing after ://", path="model.base", hint="e.g. hf://org/name")


def _sources(spec: FineTune) -> Iterator[Problem]:
    for place, _, _, source in sources(spec.spec.data):
        if source.path is None:
            continue
        if scheme_of(source.path) == "hf":
            name = source.path.partition("://")[2]
            hint = f"write hub: {name} and its split instead of path"
            yield Problem("a hub data set is no path", path=f"{place}.path", hint=hint)
        else:
            yield from _place(f"{place}.path", source.path, STORES)


def _code(spec: FineTune) -> Iterator[Problem]:
    if spec.spec.runtime.code is not None:
        yield from _place("runtime.code", spec.spec.runtime.code, STORES)


def _store(spec: FineTune) -> Iterator[Problem]:
    if spec.spec.output.store is not None:
        yield from _place("output.store", spec.spec.output.store, STORES)


def _place(path: str, place: str, schemes: tuple[str, ...]) -> Iterator[Problem]:
    scheme = scheme_of(place)
    if scheme is None:
        return
    if scheme not in schemes:
        near = closest(scheme, schemes)
        known = ", ".join(f"{name}://" for name in schemes)
        hint = f"did you mean {near}://?" if near else f"a folder, or one of {known}"
        yield Problem(f"{scheme}:// cannot be read here", path=path, hint=hint)
    elif _holds_credentials(place):
        # The text itself is not repeated: messages end up in logs.
        hint = "remove them; they come from the environment (AWS_ACCESS_KEY_ID, …) or the settings"
        yield Problem("credentials do not belong in a spec", path=path, hint=hint)
    elif scheme in OBJECT_STORES and not urlsplit(place).netloc:
        yield Problem(f"{place} names no bucket", path=path, hint=f"{scheme}://bucket/prefix")


def _holds_credentials(place: str) -> bool:
    parts = urlsplit(place)
    if parts.scheme in (*OBJECT_STORES, "hf") and "@" in parts.netloc and ":" in parts.netloc:
        return True
    return any(
        word in name.lower()
        for name, _ in parse_qsl(parts.query, keep_blank_values=True)
        for word in _SECRET_WORDS
    )


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    (("model",), _base),
    (("data.domains",), _sources),
    (("runtime.code",), _code),
    (("output.store",), _store),
)
