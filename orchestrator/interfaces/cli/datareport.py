"""The report on data as tables: in the terminal, as Markdown, as one HTML page.

Called by `orchestrator data report`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table

from orchestrator.inspect import pages
from orchestrator.inspect.data_report import DataReport
from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.output import printable
from orchestrator.interfaces.cli.preview import class_counts_text
from orchestrator.interfaces.cli.tables import plain_table

_LONGEST = 160  # characters of an example


@dataclass(frozen=True, slots=True)
class Section:
    """A table with its title and a remark; headings that start with `>` are figures."""

    title: str
    note: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def sections(report: DataReport) -> Iterator[Section]:
    """The parts that have anything to tell."""
    found = (_splits(report), _skew(report), _shared(report), _examples(report), _repeated(report))
    yield from (section for section in (*found, _words(report)) if section.lines)


def _splits(report: DataReport) -> Section:
    header = ("domain", "split", ">rows", ">characters", ">p95", "classes")
    lines = tuple(
        (
            split.domain,
            f"{split.split}*" if split.derived else split.split,
            f"{split.num_rows:,}",
            f"{split.characters.mean:.0f}",
            f"{split.characters.p95:.0f}",
            class_counts_text(split.class_counts),
        )
        for split in report.splits
    )
    return Section("Splits", "* held out of train by data.valid_fraction", header, lines)


def _skew(report: DataReport) -> Section:
    header = ("domain", "split", "largest class", ">share", ">largest / smallest", ">shift")
    lines = tuple(
        (
            skew.domain,
            skew.split,
            skew.majority,
            figures.percent(skew.majority_share),
            f"{skew.ratio:.1f}",
            figures.NOTHING if skew.shift is None else figures.percent(skew.shift),
        )
        for skew in report.skew
    )
    note = "Shift: the share of rows whose label would have to change to mix as the training rows."
    return Section("Class skew", note, header, lines)


def _shared(report: DataReport) -> Section:
    header = ("rows of", "stand in", ">rows", ">same", ">nearly", ">other label", "")
    lines = tuple(
        (
            f"{pair.domain}/{pair.split}",
            f"{pair.other_domain}/{pair.other_split}",
            f"{pair.num_rows:,}",
            str(pair.exact),
            str(pair.near),
            str(pair.conflicts),
            "leak" if pair.is_leak else "",
        )
        for pair in report.shared
    )
    note = (
        "Same: but for case and punctuation. Nearly: three quarters of words and word pairs are "
        "shared. A leak is learned from and measured on."
    )
    return Section("Rows in two splits", note, header, lines)


def _examples(report: DataReport) -> Section:
    lines = tuple(
        (
            f"{pair.domain}/{pair.split}",
            _cut(one),
            f"{pair.other_domain}/{pair.other_split}",
            _cut(other),
        )
        for pair in report.shared
        for one, other in pair.examples[: 3 if pair.is_leak else 1]
    )
    return Section("Nearly the same", "", ("of", "row", "of", "its copy"), lines)


def _repeated(report: DataReport) -> Section:
    header = ("domain", "split", ">same", ">nearly", ">other label")
    lines = tuple(
        (split.domain, split.split, str(split.exact), str(split.near), str(split.conflicts))
        for split in report.repeated
    )
    return Section("Rows that repeat within a split", "", header, lines)


def _words(report: DataReport) -> Section:
    header = ("word", "label", ">rows", ">of the label", ">of the label's rows")
    lines = tuple(
        (
            word.word + (" (its name)" if word.is_name else ""),
            word.label,
            f"{word.rows:,}",
            figures.percent(word.purity),
            figures.percent(word.cover),
        )
        for word in report.words[:20]
    )
    note = "A model may learn these words instead of the task."
    return Section("Words that give a label away", note, header, lines)


def rich_tables(report: DataReport) -> Iterator[Table]:
    for section in sections(report):
        table = plain_table(*section.header, title=section.title)
        if section.note:
            table.caption, table.caption_justify = section.note, "left"
        for line in section.lines:
            table.add_row(*(printable(cell) for cell in line))
        yield table


def markdown(report: DataReport, name: str) -> str:
    parts = [f"# Data of {name}", *(f"- {finding}" for finding in report.findings)]
    for section in sections(report):
        heads = [heading.removeprefix(">") for heading in section.header]
        rule = ["---:" if heading.startswith(">") else "---" for heading in section.header]
        rows = [heads, rule, *([_cell(cell) for cell in line] for line in section.lines)]
        parts += ["", f"## {section.title}", ""]
        parts += [section.note, ""] if section.note else []
        parts += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(parts) + "\n"


def html(report: DataReport, name: str) -> str:
    body = [pages.heading("Findings")]
    body += [pages.paragraph(finding, "bad") for finding in report.findings]
    if not report.findings:
        body.append(pages.paragraph("Nothing that a person should know before training."))
    for section in sections(report):
        body.append(pages.heading(section.title))
        if section.note:
            body.append(pages.paragraph(section.note, "dim"))
        body.append(pages.table(section.header, section.lines))
    return pages.page(f"Data of {name}", body)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 1] + "…"
