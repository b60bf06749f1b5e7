from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import errors

from orchestrator.errors import InvalidInput
from orchestrator.inspect.model_hub import HubUnreachable, inspect_hub_model, pin_revision
from tests.inspect.fake_hub import COMMIT, FakeHub
from tests.inspect.model_folders import TINY_CONFIG


@pytest.fixture
def hub(tmp_path: Path) -> FakeHub:
    return FakeHub(tmp_path)


def test_facts_without_weights(hub: FakeHub) -> None:
    facts = inspect_hub_model("org/tiny", "main", api=hub)

    assert facts.parameters.total == 704
    assert facts.num_layers == 2
    assert facts.revision == facts.digest == COMMIT


def test_a_branch_is_asked_once_then_its_commit(hub: FakeHub) -> None:
    """What a branch means may change between two questions."""
    inspect_hub_model("org/tiny", "main", api=hub)

    assert hub.asked == [("info", "main"), ("config.json", COMMIT), ("weights", COMMIT)]


def test_pin_revision(hub: FakeHub) -> None:
    assert pin_revision("org/tiny", None, api=hub) == COMMIT
    assert hub.asked == [("info", None)]


def test_pickle_only_model_without_tokenizer(hub: FakeHub) -> None:
    hub.files = ["config.json", "pytorch_model.bin"]

    with pytest.raises(InvalidInput) as caught:
        inspect_hub_model("org/tiny", None, api=hub)
    weights, tokenizer = caught.value.problems
    assert "as a pickle only (pytorch_model.bin)" in weights.message
    assert "no tokenizer" in tokenizer.message


def test_remote_code_is_off(tmp_path: Path) -> None:
    hub = FakeHub(tmp_path, {**TINY_CONFIG, "auto_map": {"AutoModel": "modeling.Model"}})

    with pytest.raises(InvalidInput, match="code of its own"):
        inspect_hub_model("org/tiny", None, api=hub)


def test_config_that_is_no_json(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("<html>")

    with pytest.raises(InvalidInput, match="hf://org/tiny is not valid JSON"):
        inspect_hub_model("org/tiny", None, api=hub)


def answer(status: int) -> Any:
    return httpx.Response(status, request=httpx.Request("GET", "https://hub"))


@pytest.mark.parametrize(
    ("fault", "path", "told", "hint"),
    [
        (
            errors.RepositoryNotFoundError("no", response=answer(404)),
            "model.base",
            "the hub has no model hf://org/tiny",
            "HF_TOKEN",
        ),
        (
            errors.GatedRepoError("no", response=answer(403)),
            "model.base",
            "is gated",
            "https://huggingface.co/org/tiny",
        ),
        (
            errors.RevisionNotFoundError("no", response=answer(404)),
            "model.revision",
            "has no revision 'v9'",
            "write a branch, tag or commit",
        ),
        (
            errors.HfHubHTTPError("no", response=answer(503)),
            "model.base",
            "the hub refused hf://org/tiny (503)",
            "later",
        ),
        (
            errors.HfHubHTTPError("no", response=answer(401)),
            "model.base",
            "the hub refused hf://org/tiny (401)",
            "HF_TOKEN",
        ),
        (errors.SafetensorsParsingError("odd"), "model.base", "cannot be read: odd", "another"),
    ],
)
def test_refusals_name_field_and_remedy(
    hub: FakeHub, fault: Exception, path: str, told: str, hint: str
) -> None:
    hub.fault = fault

    with pytest.raises(InvalidInput) as caught:
        inspect_hub_model("org/tiny", "v9", api=hub)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert told in problem.message
    assert hint in str(problem.hint)


@pytest.mark.parametrize(
    "fault",
    [
        errors.OfflineModeIsEnabled("offline"),
        httpx.ConnectError("no route"),
        httpx.ReadTimeout("slow"),
        ConnectionResetError(),
    ],
)
def test_unreachable_hub_is_told_apart(hub: FakeHub, fault: Exception) -> None:
    hub.fault = fault

    with pytest.raises(HubUnreachable, match="the hub cannot be reached"):
        inspect_hub_model("org/tiny", None, api=hub)


def test_defects_are_not_hidden(hub: FakeHub) -> None:
    hub.fault = ZeroDivisionError()

    with pytest.raises(ZeroDivisionError):
        inspect_hub_model("org/tiny", None, api=hub)
