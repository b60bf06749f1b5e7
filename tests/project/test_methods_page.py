"""The tables of docs/methods.md say what admission does."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from orchestrator.control.admission.compatibility import RULES, Features, incompatibilities
from orchestrator.specs import MethodSpec
from tests.project import ROOT

PAGE = (ROOT / "docs" / "methods.md").read_text()
# On GPUs, where more goes than on CPUs.
USUAL = Features(
    task="text-classification",
    method="full",
    strategy="deepspeed",
    zero_stage=2,
    precision="bf16",
    offload="none",
    device="gpu",
    gang="many",
    quantizer="present",
)
COLUMNS = {
    "DDP": {"strategy": "ddp", "zero_stage": 0},
    "ZeRO 0": {"zero_stage": 0},
    "ZeRO 1": {"zero_stage": 1},
    "ZeRO 2": {"zero_stage": 2},
    "ZeRO 3": {"zero_stage": 3},
    "offload optimizer": {"offload": "optimizer"},
    "offload parameters": {"offload": "parameters"},
    "CPU": {"device": "cpu"},
    "GPU": {"device": "gpu"},
}


def methods() -> list[str]:
    variants = get_args(get_args(MethodSpec)[0])
    return [get_args(variant.model_fields["type"].annotation)[0] for variant in variants]


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def test_the_table_of_methods_is_what_the_rules_allow() -> None:
    lines = [row(["method", *COLUMNS])]
    for method in methods():
        cells = [
            "no" if list(incompatibilities(replace(USUAL, method=method, **changes))) else "yes"
            for changes in COLUMNS.values()
        ]
        lines.append(row([f"`{method}`", *cells]))
    missing = [line for line in lines if line not in PAGE]
    assert not missing, "docs/methods.md lacks\n" + "\n".join(missing)


def test_every_rule_is_on_the_page() -> None:
    lines = []
    for rule in RULES:
        when = ", ".join(
            f"{name} {'/'.join(sorted(map(str, values)))}" for name, values in rule.when.items()
        )
        refused = "yes" if rule.refuses else "warned"
        lines.append(row([when, refused, f"`{rule.path}`: {rule.message}"]))
    missing = [line for line in lines if line not in PAGE]
    assert not missing, "docs/methods.md lacks\n" + "\n".join(missing)
    assert sum(
        line.count("| yes | `") + line.count("| warned | `") for line in PAGE.splitlines()
    ) == len(lines)


def test_every_method_is_described() -> None:
    for method in methods():
        assert f"\n| `{method}`" in PAGE
