import io

import pytest
from rich.console import Console

from orchestrator.interfaces.cli.hardwareview import hardware_views
from tests.control.admission.test_options import facts, planned
from tests.inspect.published import LLAMA_2_7B
from tests.project import ROOT

PRICES = {"A100-80GB": 1.8, "H100": 2.5}


def lines(found, width=80):
    console = Console(width=width, file=io.StringIO(), highlight=False)
    for view in hardware_views(found, width):
        console.print(view)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.fixture(scope="module")
def two():
    return planned(facts(LLAMA_2_7B), "1xA100-80GB", "8xA100-80GB", prices=PRICES)


def test_the_example_of_the_documents(two):
    page = (ROOT / "docs/plan.md").read_text()
    (example,) = [block for block in page.split("```") if block.startswith("\nJob      reviews")]

    assert lines(two) == example.strip("\n").splitlines()


def test_a_wide_terminal_tells_what_memory_is_for(two):
    (heading,) = [line for line in lines(two, 120) if line.startswith("ZeRO")][:1]
    row = next(line for line in lines(two, 120) if line.startswith("2     –        yes"))

    assert heading.split()[4:10] == ["weights", "grads", "optim", "activ", "GPU", "host"]
    assert row.split()[4:8] == ["13.2", "GB", "1.65", "GB"]


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_wider_than_the_terminal(width):
    model = facts({**LLAMA_2_7B, "num_hidden_layers": 400})
    found = planned(
        model, "1xV100-32GB,9999x8xB200", prices={"B200": 999.0}, training={"max_length": 4096}
    )

    assert max(map(len, lines(found, width))) <= width


def test_what_to_write_is_a_spec(two):
    import yaml

    told = lines(two)
    at = next(number for number, line in enumerate(told) if line.startswith("  engine:"))
    written = yaml.safe_load("\n".join(told[at : at + 4]))

    assert written == {
        "engine": {
            "zero_stage": 2,
            "offload": "optimizer",
            "micro_batch_size": 16,
            "gradient_checkpointing": False,
        },
        "resources": {
            "workers": 1,
            "cpus_per_worker": 16,
            "gpus_per_worker": 1,
            "accelerator": "A100-80GB",
        },
    }


def test_hardware_on_which_it_cannot_run():
    found = planned(facts(LLAMA_2_7B), "8xT4", "6xA10")
    told = lines(found)

    assert "8xT4       does not fit" in told
    assert "  → write fp16 or fp32" in told
    assert "  → write training.global_batch_size: 66" in told


def test_without_a_price_it_is_told_where_prices_are_set():
    told = " ".join(lines(planned(facts(LLAMA_2_7B), "8xH100")))

    assert ", no price set, " in told
    assert "[prices] and a line like H100 = 2.5 (for an hour)" in told
