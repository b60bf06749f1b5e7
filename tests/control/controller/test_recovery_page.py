from __future__ import annotations

import re
from pathlib import Path

from orchestrator.control.controller.policy import RULES

PAGE = Path(__file__).parents[3] / "docs" / "recovery.md"


def test_the_page_shows_the_table_the_controller_obeys() -> None:
    rows = re.findall(r"^\| (\w+) \| (\d+|no limit) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    shown = {cause: (None if n == "no limit" else int(n), remedy) for cause, n, remedy in rows}
    assert shown == {str(cause): (rule.retries, rule.remedy) for cause, rule in RULES.items()}
