"""Facts about a model of the Hugging Face hub, without downloading its weights.

A branch or tag is pinned to the commit it means now, so that the plan, the run and a later retry
speak of the same bytes. Called by `storage.bases`; the token comes from the environment, as
huggingface_hub reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.model import ModelFacts, facts_of, has_vocabulary, no_tokenizer
from orchestrator.inspect.model_config import CONFIG_FILE, ModelConfig, parse_config
from orchestrator.inspect.safetensors import BASE, INDEX_FILE, MODEL_FILE, Tensor, Weights

LOOKUP_SECONDS = 10.0


class HubUnreachable(InvalidInput):
    """The hub cannot be asked now; what was downloaded before can still be used."""


class HubApi(Protocol):
    """The part of `huggingface_hub.HfApi` that is used."""

    def model_info(
        self, repo_id: str, *, revision: str | None = None, timeout: float | None = None
    ) -> Any: ...

    def get_safetensors_metadata(self, repo_id: str, *, revision: str | None = None) -> Any: ...

    def hf_hub_download(
        self, repo_id: str, filename: str, *, revision: str | None = None
    ) -> str: ...


def inspect_hub_model(repo: str, revision: str | None, *, api: HubApi | None = None) -> ModelFacts:
    """Facts about `repo` at `revision`; `.revision` and `.digest` are the commit.

    Raises:
        InvalidInput: It cannot be found, reached or used.
    """
    api = hub_api() if api is None else api
    with hub_errors(repo, revision):
        info = api.model_info(repo, revision=revision, timeout=LOOKUP_SECONDS)
        names = [str(file.rfilename) for file in info.siblings or ()]
        commit = str(info.sha)
        problems = list(_missing(repo, names))
        if problems:
            raise InvalidInput(problems)
        config = _config(api, repo, commit)
        weights = _weights(api.get_safetensors_metadata(repo, revision=commit), names)
    return facts_of(config, weights, commit, f"hf://{repo}", revision=commit)


def pin_revision(repo: str, revision: str | None, *, api: HubApi | None = None) -> str:
    """The commit that a branch, a tag or nothing means now; raises InvalidInput."""
    api = hub_api() if api is None else api
    with hub_errors(repo, revision):
        return str(api.model_info(repo, revision=revision, timeout=LOOKUP_SECONDS).sha)


def hub_api() -> HubApi:
    from huggingface_hub import HfApi

    return HfApi()


@contextmanager
def hub_errors(repo: str, revision: str | None) -> Iterator[None]:
    """Turns what huggingface_hub raises into Problems of `model.base` or `model.revision`."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise _refused(
            f"hf://{repo} is gated: its owner asks for an agreement",
            f"accept it at https://huggingface.co/{repo}, and set HF_TOKEN",
        ) from None
    except errors.RevisionNotFoundError:
        raise _refused(
            f"hf://{repo} has no revision '{revision}'",
            "write a branch, tag or commit of it, or remove the field",
            path="model.revision",
        ) from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise _refused(
            f"the hub has no model hf://{repo} that may be read from here",
            "check org/name; a private model needs HF_TOKEN",
        ) from None
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError):
        raise _offline(repo) from None
    except (errors.SafetensorsParsingError, errors.NotASafetensorsRepoError) as error:
        raise _refused(
            f"the safetensors files of hf://{repo} cannot be read: {error}",
            "choose another revision, or another model",
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        hint = "check HF_TOKEN" if status in (401, 403) else "try again later"
        raise _refused(f"the hub refused hf://{repo} ({status})", hint) from None
    except Exception as error:
        if not _is_of_network(error):
            raise
        raise _offline(repo) from None


def _is_of_network(error: Exception) -> bool:
    """By name: huggingface_hub's releases speak HTTP through three different libraries."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"TransportError", "ConnectionError", "Timeout", "TimeoutError"})


def _missing(repo: str, names: list[str]) -> Iterator[Problem]:
    shown = f"hf://{repo}"
    if CONFIG_FILE not in names:
        hint = "choose a model in transformers' format"
        yield Problem(f"{shown} has no {CONFIG_FILE}", path=BASE, hint=hint)
    if MODEL_FILE not in names and INDEX_FILE not in names:
        pickle = next((name for name in names if name.endswith((".bin", ".pt", ".pth"))), None)
        what = f"its weights as a pickle only ({pickle})" if pickle else f"no {MODEL_FILE}"
        yield Problem(
            f"{shown} holds {what}",
            path=BASE,
            hint="write a revision with safetensors in model.revision (refs/pr/… often has them), "
            "or convert the model and use the folder",
        )
    if not has_vocabulary(names):
        yield no_tokenizer(shown)


def _config(api: HubApi, repo: str, commit: str) -> ModelConfig:
    path = Path(api.hf_hub_download(repo, CONFIG_FILE, revision=commit))
    shown = f"{CONFIG_FILE} of hf://{repo}"
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise _refused(f"{shown} is not valid JSON: {error}", "choose another revision") from None
    return parse_config(document, shown)


def _weights(found: Any, names: list[str]) -> Weights:
    files = [MODEL_FILE] if MODEL_FILE in names else [INDEX_FILE, *sorted(found.files_metadata)]
    return Weights(
        files=tuple(files),
        tensors=tuple(
            Tensor(name, str(tensor.dtype), tuple(tensor.shape))
            for file in found.files_metadata.values()
            for name, tensor in file.tensors.items()
        ),
    )


def _offline(repo: str) -> HubUnreachable:
    message = f"hf://{repo} is not in the local cache, and the hub cannot be reached"
    hint = "unset HF_HUB_OFFLINE, check the network (HF_ENDPOINT names a mirror), or name a folder"
    return HubUnreachable([Problem(message, path=BASE, hint=hint)])


def _refused(message: str, hint: str, path: str = BASE) -> InvalidInput:
    return InvalidInput([Problem(message, path=path, hint=hint)])
