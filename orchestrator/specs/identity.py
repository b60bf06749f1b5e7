"""When two runs are the same run: a digest of what decides the learned weights and the figures.

Called by `server` with a resolved spec. Left out is what never changes what is learned: `engine`
and `resources` (how it fits), `scheduling` (when), `metadata` (who), `checkpoint` (how often
state is saved; resume is exact) and `output.store` (runs are looked up within one store). Where
data, base and code lie is left out too: digests stand for their bytes, so moving a file changes
nothing. Names of secrets are left out: what opens a door is not what is behind it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from orchestrator.specs.data import SPLITS, drawn_domains, training_domains
from orchestrator.specs.finetune import FineTune

RECIPE = "1"
"""Version of the training recipe: raised when a spec would learn other weights than before."""

_LEFT_OUT = {
    *("model", "data", "engine", "resources", "scheduling", "checkpoint", "runtime", "output"),
}


def identity_document(resolved: FineTune) -> dict[str, Any]:
    """The part of a resolved spec that is its identity.

    Absent fields are left out, so that a new optional field keeps the identity of old specs.
    """
    spec = resolved.spec
    # 1. What is learned and measured, as it is.
    document: dict[str, Any] = spec.model_dump(
        mode="json", exclude_none=True, exclude=set(_LEFT_OUT)
    )
    # 2. Data: how rows are read and mixed; which rows is said by their digests.
    drawn_from = drawn_domains(spec.data)
    document["data"] = {
        "train_on": list(training_domains(spec.data)),
        "valid_fraction": spec.data.valid_fraction,
        "domains": {
            name: {
                split: [
                    {"columns": source.columns or {}, "weight": source.weight}
                    for source in getattr(domain, split)
                ]
                for split in SPLITS
                if getattr(domain, split) is not None and (split != "train" or name in drawn_from)
            }
            for name, domain in spec.data.domains.items()
        },
    }
    if spec.data.mixing is not None:
        document["data"]["mixing"] = spec.data.mixing.model_dump(mode="json", exclude_none=True)
    for role in ("transform", "collator"):
        if (entry := getattr(spec.data, role)) is not None:
            document["data"][role] = entry
    if spec.model is not None and spec.model.optimizer:
        document["model"] = {"optimizer": True}
    # 3. What user code may read; the code itself is said by its digest.
    if spec.runtime.env:
        document["runtime"] = {"env": spec.runtime.env}
    # 4. Under which name the model is published.
    document["output"] = {"name": spec.output.name or resolved.metadata.name}
    return {"apiVersion": resolved.apiVersion, "kind": resolved.kind, "spec": document}


def run_digest(
    resolved: FineTune,
    data_digests: Mapping[str, str],
    base_digest: str,
    recipe: str,
    code_digest: str | None = None,
) -> str:
    """sha256 (hex) of a run's identity: its spec, the bytes it reads and the recipe's version.

    `code_digest` is that of the user's code; without any, the identity is what it always was.
    """
    document: dict[str, Any] = {
        "spec": identity_document(resolved),
        "data": dict(data_digests),
        "base": base_digest,
        "recipe": recipe,
    }
    if code_digest is not None:
        document["code"] = code_digest
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
