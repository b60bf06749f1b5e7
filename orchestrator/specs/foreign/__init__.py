"""Configurations of other fine-tuning tools, read as data and written as a spec.

Called by `orchestrator import`. Nothing that a file names is opened or run, save LLaMA-Factory's
own list of data sets. A format is a file in its sibling's place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError
from orchestrator.specs.foreign.axolotl import AXOLOTL, from_axolotl, is_axolotl
from orchestrator.specs.foreign.llamafactory import (
    LLAMA_FACTORY,
    from_llamafactory,
    is_llamafactory,
)
from orchestrator.specs.foreign.translation import Translated

__all__ = ["Translated", "translate"]


def translate(document: Mapping[str, Any], folder: Path) -> tuple[str, Translated]:
    """The format's name, recognised by its keys, and the spec with what is left out.

    Args:
        document: The parsed file.
        folder: Where it lies: relative names start there.

    Raises:
        UserError: It is neither format, or trains something that no spec can say.
    """
    if is_axolotl(document):
        return AXOLOTL, from_axolotl(document)
    if is_llamafactory(document):
        return LLAMA_FACTORY, from_llamafactory(document, folder)
    raise UserError(
        "this is no configuration of axolotl or LLaMA-Factory: it names neither `base_model` nor "
        "`model_name_or_path`",
        hint="give the YAML file that the other tool is started with",
    )
