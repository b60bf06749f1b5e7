"""Small specs for tests."""

from __future__ import annotations

import copy
from typing import Any

from orchestrator.specs import FineTune

GOOD = """\
apiVersion: finetune.orchestrator/v1alpha1
kind: FineTune
metadata: {name: job-one}
spec:
  model: {base: "package://some_package/model"}
  task: {type: text-classification}
  data:
    domains:
      camera:
        train: [{path: camera/train.jsonl}]
        valid: [{path: camera/valid.jsonl}]
        test: [{path: camera/test.jsonl}]
      movie:
        test: [{path: movie/test.jsonl}]
    train_on: [camera]
  training: {epochs: 2, global_batch_size: 32}
  resources: {workers: 2}
"""


def document(**sections: Any) -> dict[str, Any]:
    """A good document in which sections of `spec` are replaced; None removes one."""
    body: dict[str, Any] = {
        "model": {"base": "package://some_package/model"},
        "task": {"type": "text-classification"},
        "data": {
            "domains": {
                "camera": {
                    "train": [{"path": "camera/train.jsonl"}],
                    "valid": [{"path": "camera/valid.jsonl"}],
                    "test": [{"path": "camera/test.jsonl"}],
                },
                "movie": {"test": [{"path": "movie/test.jsonl"}]},
            }
        },
    }
    body |= copy.deepcopy(sections)
    return {
        "apiVersion": "finetune.orchestrator/v1alpha1",
        "kind": "FineTune",
        "metadata": {"name": "job-one"},
        "spec": {name: section for name, section in body.items() if section is not None},
    }


def spec(**sections: Any) -> FineTune:
    return FineTune.model_validate(document(**sections))
