"""HTML pages that stand alone: nothing is loaded from elsewhere, readable in light and dark.

Used by the report on data and by the worker's explanations. What comes from data is escaped here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --fg: #1c2024; --bg: #fff; --dim: #5f6b76; --line: #d9dee3;
  --soft: #f4f6f8; --bad: #b3261e; --for: 22, 120, 60; --against: 190, 40, 40; }
@media (prefers-color-scheme: dark) { :root { --fg: #e4e8ec; --bg: #14171a; --dim: #98a4b0;
  --line: #30363d; --soft: #1d2226; --bad: #ff8a80; --for: 60, 170, 100; --against: 225, 85, 85; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem; color: var(--fg); background: var(--bg);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .35rem 0; max-width: 60rem; }
.dim, th { color: var(--dim); } .bad { color: var(--bad); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .5rem 0; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; } th { font-weight: 600; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { background: var(--soft); padding: 0 .25rem; border-radius: 3px; }
""".strip()


def page(title: str, body: Iterable[str], style: str = "") -> str:
    """A whole document around HTML that is already escaped."""
    inner = "\n".join(body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}\n{style}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{inner}\n</body>\n</html>\n"
    )


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Headings that start with `>` are columns of figures."""
    is_figure = [heading.startswith(">") for heading in header]
    head = "".join(f"<th>{escape(heading.removeprefix('>'))}</th>" for heading in header)
    rows = "\n".join(
        "<tr>"
        + "".join(
            f'<td class="n">{escape(cell)}</td>' if figure else f"<td>{escape(cell)}</td>"
            for cell, figure in zip(line, is_figure, strict=True)
        )
        + "</tr>"
        for line in lines
    )
    return f'<div class="scroll"><table><tr>{head}</tr>\n{rows}\n</table></div>'


def paragraph(text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{escape(text)}</p>"


def heading(text: str, level: int = 2) -> str:
    return f"<h{level}>{escape(text)}</h{level}>"
