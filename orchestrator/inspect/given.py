"""The files of a custom task: looked for and hashed, but left to its script to read.

Called by `inspect.data` before a job, and by its workers, which hand the paths on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.files import Fetch, file_digest, paths_of
from orchestrator.specs.data import DataSpec, Split
from orchestrator.specs.data_checks import sources
from orchestrator.specs.partial import CUT_OUT

SplitKey = tuple[str, Split]


@dataclass
class GivenFiles:
    """What was found: files by split in the order of their sources, and their digests."""

    paths: dict[SplitKey, list[Path]] = field(default_factory=dict)
    digests: dict[SplitKey, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def given_files(
    data: DataSpec,
    *,
    base_dir: Path,
    fetch: Fetch | None,
    hashed: bool = True,
    doubtful: Collection[str] = (),
) -> GivenFiles:
    """Every file of every split.

    Args:
        data: The spec's.
        base_dir: Where relative paths start.
        fetch: Brings URLs here; without it they are refused.
        hashed: Whether to read the files for their digests.
        doubtful: Fields that the schema refused: they are left out.
    """
    found = GivenFiles()
    contents: dict[SplitKey, list[list[tuple[str, str]]]] = {}
    for place, name, split, source in sources(data):
        if source.path in (None, CUT_OUT) or any(d.startswith(place) for d in doubtful):
            continue
        key = (name, split)
        try:
            files = paths_of(source, place, base_dir=base_dir, fetch=fetch)
            if hashed:
                content = [(inside, file_digest(path)) for inside, path in files.items()]
                contents.setdefault(key, []).append(content)
        except InvalidInput as error:
            found.problems.extend(error.problems)
        except OSError as error:
            message = f"{error.filename} cannot be read: {error.strerror}"
            found.problems.append(Problem(message, path=f"{place}.path"))
        else:
            found.paths.setdefault(key, []).extend(files.values())
    for key, content_of_sources in contents.items():
        text = json.dumps(content_of_sources)
        found.digests[key] = hashlib.sha256(text.encode()).hexdigest()
    return found
