"""Facts about a base of which only the config is at hand: enough to plan with, not to train.

Called by `storage.bases_by_config` for `plan --hardware`. Parameters are counted from what the
architecture consists of (`inspect.blueprints`); what is wrong becomes a Problem at `model.base`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.blueprints import UNTIED, Shape, known_kinds, tensors_of
from orchestrator.inspect.model import ModelFacts, facts_of
from orchestrator.inspect.model_config import CONFIG_FILE, parse_config
from orchestrator.inspect.safetensors import BASE, Tensor, Weights

_DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64"}


def inspect_config(path: Path, shown: str, revision: str | None = None) -> ModelFacts:
    """Facts by a config.json; `digest` is the config's own, or the hub's commit.

    Raises:
        InvalidInput: It is no config, or of a kind whose parameters cannot be counted here.
    """
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except OSError as error:
        raise _refused(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except ValueError as error:
        raise _refused(f"{path} is not valid JSON: {error}", "copy it again") from None
    digest = revision or hashlib.sha256(content).hexdigest()
    return facts_by_config(document, shown, digest, revision)


def facts_by_config(
    document: Any, shown: str, digest: str, revision: str | None = None
) -> ModelFacts:
    """The facts of a config's contents; raises InvalidInput."""
    config = parse_config(document, f"{CONFIG_FILE} of {shown}")
    assert isinstance(document, Mapping), "`parse_config` has refused anything else"
    kind = config.model_type
    stored = str(document.get("dtype") or document.get("torch_dtype") or "float32")
    dtype = _DTYPES.get(stored.removeprefix("torch."), "F32")
    tensors = [Tensor(name, dtype, shape) for name, shape in _tensors(kind, document, shown)]
    facts = facts_of(config, Weights((CONFIG_FILE,), tuple(tensors)), digest, shown, revision)
    tied = bool(document.get("tie_word_embeddings", kind not in UNTIED))
    return facts.model_copy(update={"tied_embeddings": tied})


def _tensors(kind: str, document: Mapping[str, Any], shown: str) -> list[tuple[str, Shape]]:
    if kind not in known_kinds():
        raise _refused(
            f"{shown} has no weights here, and the parameters of a model of type '{kind}' cannot "
            "be counted from its config",
            f"download it, or plan with a model of a kind that can be: {', '.join(known_kinds())}",
        )
    try:
        return list(tensors_of(kind, document).items())
    except KeyError as error:
        message = f"{CONFIG_FILE} of {shown} lacks {error}, a size of every model of type '{kind}'"
        raise _refused(message, "copy or download it again") from None
    except (TypeError, ZeroDivisionError) as error:
        message = f"{CONFIG_FILE} of {shown} is broken: {error}"
        raise _refused(message, "copy or download it again") from None


def _refused(message: str, hint: str) -> InvalidInput:
    return InvalidInput([Problem(message, path=BASE, hint=hint)])
