"""K-shot curves as a part of the model card, and as a picture beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

CHART_FILE = "adaptation.svg"

_COLOURS = {"published": "#1b6ca8", "plain": "#8a8a8a", "joint": "#c8553d"}
_WIDTH, _HEIGHT, _MARGIN = 300, 220, 44  # of a panel, in pixels

Document = dict[str, Any]


def adaptation_section(document: Document) -> str:
    """Markdown: the chart and, for the first metric, a table of every point."""
    metric, starts, how = document["metrics"][0], document["starts"], document["how"]
    header = ["domain", "rows of each class", *starts]
    header += [f"gain over {start}" for start in starts if start != "published"]
    rows = [_row(document, metric, domain, shots) for domain, shots in _places(document)]
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join(
        [
            "## Learning from a few rows",
            f"![{metric} by rows of each class]({CHART_FILE})",
            table,
            f"{metric} on test after {how['steps']} steps of {how['optimizer']} at "
            f"{how['learning_rate']:g}, the same for every start, on rows of each class drawn from "
            f"train: means of {how['seeds']} draws with their 95 % interval (Student's t), gains "
            "pair by pair. plain is the base with a new head"
            + (f", joint {_joint(document['joint'])}" if "joint" in document else "")
            + ".",
        ]
    )


def _joint(report: Document) -> str:
    return (
        f"the base after ordinary fine-tuning on the training domains, {report['steps']} steps at "
        f"{report['learning_rate']:g} (the best on valid: step {report['step']})"
    )


def _places(document: Document) -> list[tuple[str, int]]:
    return list(dict.fromkeys((p["domain"], p["shots"]) for p in document["points"]))


def _row(document: Document, metric: str, domain: str, shots: int) -> list[str]:
    here = {
        point["start"]: point
        for point in document["points"]
        if (point["domain"], point["shots"]) == (domain, shots)
    }
    cells = [_cell(here[start]["metrics"][metric]) for start in document["starts"]]
    gains = here["published"]["gain"]
    return [domain, str(shots), *cells, *(_cell(gains[start][metric], "+") for start in gains)]


def _cell(found: Document, sign: str = "") -> str:
    low, high = found["interval"]
    return f"{found['mean']:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def adaptation_chart(document: Document) -> str:
    """An SVG with a panel for each domain: the first metric over rows of each class."""
    metric = document["metrics"][0]
    domains = list(dict.fromkeys(point["domain"] for point in document["points"]))
    low, high = _range(document, metric)
    parts: list[str] = []
    for number, domain in enumerate(domains):
        panel = _Panel(document["how"]["shots"], low, high, number * _WIDTH)
        parts.extend(panel.frame(domain))
        for start in document["starts"]:
            points = [p for p in document["points"] if (p["domain"], p["start"]) == (domain, start)]
            parts.extend(panel.curve(start, [p["metrics"][metric] for p in points]))
    parts.extend(_legend(document["starts"], metric))
    width, height = _WIDTH * len(domains), _HEIGHT + 30
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">'
        f'<rect width="{width}" height="{height}" fill="white"/>' + "".join(parts) + "</svg>\n"
    )


def _range(document: Document, metric: str) -> tuple[float, float]:
    bounds = [b for p in document["points"] for b in p["metrics"][metric]["interval"]]
    low, high = min(bounds), max(bounds)
    room = 0.05 * (high - low) or 0.05
    return low - room, high + room


class _Panel:
    """Axes of one domain; numbers of rows stand at equal distances, as they double."""

    def __init__(self, shots: Sequence[int], low: float, high: float, left: int) -> None:
        self.shots = shots
        self.low, self.high = low, high
        self.left = left + _MARGIN
        self.right, self.top, self.bottom = left + _WIDTH - 12, 26, _HEIGHT - 34

    def x(self, index: int) -> float:
        return self.left + (self.right - self.left) * (index + 0.5) / len(self.shots)

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * (value - self.low) / (self.high - self.low)

    def frame(self, domain: str) -> Iterator[str]:
        yield _text(self.left, 16, domain, "start", 'font-weight="bold"')
        for step in range(5):
            value = self.low + (self.high - self.low) * step / 4
            y = self.y(value)
            yield (
                f'<line x1="{self.left}" y1="{y:.1f}" x2="{self.right}" y2="{y:.1f}" '
                'stroke="#e3e3e3"/>'
            )
            yield _text(self.left - 5, y + 4, f"{value:.2f}", "end")
        for index, shots in enumerate(self.shots):
            yield _text(self.x(index), self.bottom + 16, str(shots), "middle")

    def curve(self, start: str, values: Sequence[Document]) -> Iterator[str]:
        colour = _COLOURS[start]
        places = [(self.x(i), self.y(v["mean"])) for i, v in enumerate(values)]
        for (x, _), value in zip(places, values, strict=True):
            low, high = (self.y(bound) for bound in value["interval"])
            yield (
                f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" '
                f'stroke="{colour}" stroke-width="5" stroke-opacity="0.25"/>'
            )
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for x, y in places:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>'


def _legend(starts: Sequence[str], metric: str) -> Iterator[str]:
    y = _HEIGHT + 14
    for index, start in enumerate(starts):
        x = _MARGIN + 76 * index
        yield f'<rect x="{x}" y="{y - 8}" width="12" height="4" fill="{_COLOURS[start]}"/>'
        yield _text(x + 17, y - 2, start, "start")
    yield _text(_MARGIN, _HEIGHT - 6, f"{metric} by rows of each class", "start")


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text {place} {more}>{escape(text)}</text>"
