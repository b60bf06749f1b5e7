"""Contradictions of `runtime`, and of what names a part of its code."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.specs.checks import check_spec
from orchestrator.specs.runtime import secret_variable
from tests.specs.builders import document, spec

DOMAINS = document()["spec"]["data"]["domains"]
CODE = {"code": "pkg"}
CUSTOM = {
    "model": None,
    "task": {"type": "custom", "entrypoint": "train.py"},
    "runtime": CODE,
}

# Sections of the spec; then the field's path, the message and the hint.
WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    ({"data": {"domains": DOMAINS, "transform": "rows:tidy"}}, "data.transform",
     "rows:tidy is in runtime.code, which is not given", "write runtime.code"),
    ({"training": {"loss": "mine:loss"}}, "training.loss", "is in runtime.code", "runtime.code"),
    ({"evaluation": {"custom_metrics": {"cost": "a:b"}}}, "evaluation.custom_metrics.cost",
     "a:b is in runtime.code", "runtime.code"),
    ({**CUSTOM, "runtime": {}}, "task.entrypoint", "train.py is in runtime.code", "runtime.code"),
    ({**CUSTOM, "data": {"domains": DOMAINS, "collator": "a:b"}}, "data.collator",
     "a custom task's script does this itself", "remove it"),
    ({**CUSTOM, "training": {"loss": "a:b"}}, "training.loss", "script does this itself", "remove"),
    ({**CUSTOM, "data": {"domains": {"x": {"train": [{"hub": "a/b", "split": "train"}]}}}},
     "data.domains.x.train[0].hub", "is given files", "give files by `path`"),
    ({**CUSTOM, "data": {"domains": {"x": {"train": [{"path": "a", "weight": 2}]}}}},
     "data.domains.x.train[0].weight", "is given files", "remove it"),
    ({"evaluation": {"custom_metrics": {"accuracy": "a:b"}}, "runtime": CODE},
     "evaluation.custom_metrics.accuracy", "'accuracy' is measured already", "my_accuracy"),
    ({"evaluation": {"custom_metrics": {"cost": "a:b"}}, "runtime": CODE,
      "selection": {"metric": "camera/cost"}}, "selection.mode",
     "nobody can know whether more of cost is better", "mode: max or mode: min"),
    ({"runtime": {"secrets": ["hf-token", "hf-token"]}}, "runtime.secrets[1]", "listed twice",
     "remove one"),
    ({"runtime": {"secrets": ["path"]}}, "runtime.secrets[0]", "would become PATH, which is the",
     "another name"),
    ({"runtime": {"secrets": ["1st"]}}, "runtime.secrets[0]", "cannot be the name of a variable",
     "begin with a letter"),
    ({"runtime": {"secrets": ["mode"], "env": {"MODE": "fast"}}}, "runtime.secrets[0]",
     "'mode' becomes MODE, which runtime.env gives already", "remove runtime.env.MODE"),
]  # fmt: skip


@pytest.mark.parametrize(("sections", "path", "message", "hint"), WRONG)
def test_contradictions(sections: dict[str, Any], path: str, message: str, hint: str) -> None:
    found = [problem for problem in check_spec(spec(**sections)) if problem.path == path]

    assert len(found) == 1
    assert message in found[0].message
    assert hint in (found[0].hint or "")


OURS = (
    "PYTHONPATH", "PYTHONHASHSEED", "RAY_ADDRESS", "ray_address", "ORCHESTRATOR_REPORT_TOKEN",
    "LD_PRELOAD", "RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "CUDA_VISIBLE_DEVICES", "AWS_ENDPOINT_URL", "GOOGLE_APPLICATION_CREDENTIALS", "DS_ACCELERATOR",
    "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "HF_HUB_OFFLINE", "TORCH_EXTENSIONS_DIR", "PATH",
    "HOME", "XDG_CACHE_HOME", "TMPDIR",
)  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_what_the_system_sets_is_not_a_specs_to_set(name: str) -> None:
    (problem,) = check_spec(spec(runtime={"env": {name: "x"}}))

    assert problem.path == f"runtime.env.{name}"
    assert "decides how workers find each other" in problem.message


@pytest.mark.parametrize("name", ["HF_TOKEN", "DB_PASSWORD", "API_KEY", "wandb_api_key", "SECRET"])
def test_secrets_do_not_stand_in_a_spec(name: str) -> None:
    (problem,) = check_spec(spec(runtime={"env": {name: "x"}}))

    assert problem.path == f"runtime.env.{name}"
    assert "looks like a secret" in problem.message
    assert problem.hint == f"name it in runtime.secrets: [{name.lower().replace('_', '-')}]"


def test_right_ones() -> None:
    body = {
        "runtime": {**CODE, "env": {"MODE": "x", "NCCL_DEBUG": "INFO", "OMP_NUM_THREADS": "1"},
                    "secrets": ["hf-token"]},
        "evaluation": {"custom_metrics": {"cost": "mine:cost"}},
        "selection": {"metric": "camera/cost", "mode": "min"},
    }  # fmt: skip
    assert check_spec(spec(**body)) == []
    assert check_spec(spec(**CUSTOM, selection={"metric": "camera/whatever"})) == []
    assert secret_variable("hf-token") == "HF_TOKEN"
