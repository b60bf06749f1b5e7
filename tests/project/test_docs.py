"""What the documents say holds: links lead somewhere, specs are valid, commands exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.interfaces.cli.main import COMMANDS
from orchestrator.specs.loading import load_spec
from tests.project import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("jobs/**/*.md")]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def prose(document: Path) -> str:
    return FENCE.sub("", (ROOT / document).read_text())


def anchors(document: Path) -> set[str]:
    """Headings as the usual renderers name them in links."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in headings}


def specs() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        blocks = FENCE.findall((ROOT / document).read_text())
        for number, (language, block) in enumerate(blocks, start=1):
            if language == "yaml" and block.startswith("apiVersion:"):
                yield f"{document}#{number}", block


def commands() -> Iterator[tuple[str, str]]:
    """Every `program word` of the documents, in code."""
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        code = [block for _, block in FENCE.findall(text)] + re.findall(r"`([^`\n]+)`", text)
        for line in "\n".join(code).splitlines():
            if match := re.match(r"(?:\$ )?(make|orchestrator) ([a-z]+)", line):
                yield match[1], match[2]


def test_there_are_documents() -> None:
    assert {Path("README.md"), Path("CONTRIBUTING.md"), Path("docs/architecture.md")} <= set(
        DOCUMENTS
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_resolve(document: Path) -> None:
    broken = []
    for link in LINK.findall(prose(document)):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / document).parent / target if target else ROOT / document
        if not path.exists() or (
            anchor and anchor not in anchors(path.resolve().relative_to(ROOT))
        ):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize(
    ("where", "text"), list(specs()), ids=lambda value: value.partition("\n")[0]
)
def test_specs_in_documents_are_valid(where: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)

    assert load_spec(path).spec.kind == "FineTune"


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda path: path.name)
def test_jobs_open_with_their_command_line(path: Path) -> None:
    assert path.read_text().startswith(f"# orchestrator run jobs/{path.name}\n")
    assert load_spec(path).spec.kind == "FineTune"


def test_commands_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {("make", name) for name in targets} | {("orchestrator", name) for name in COMMANDS}
    named = set(commands())

    assert ("make", "run") in named
    assert named - known == set()
