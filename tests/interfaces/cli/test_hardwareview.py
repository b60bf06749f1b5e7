import io

import pytest
from rich.console import Console

from orchestrator.interfaces.cli.hardwareview import hardware_views
from tests.control.admission.test_options import facts, planned
from tests.inspect.published import LLAMA_2_7B

PRICES = {"A100-80GB": 1.8, "H100": 2.5}


def lines(found, width=80):
    console = Console(width=width, file=io.StringIO(), highlight=False)
    for view in hardware_views(found, width):
        console.print(view)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.fixture(scope="module")
def two():
    return planned(facts(LLAMA_2_7B), "1xA100-80GB", "8xA100-80GB", prices=PRICES)


ONE_GPU = """\
1xA100-80GB: 81.6 GB of each GPU and 261 GB of each machine may be used; 35% of
312 TFLOP/s (A100-80GB, bf16)

ZeRO  offload  recomp  rows      GPU     host  a step    in all   cost
──────────────────────────────────────────────────────────────────────
0     –        –       1×64   133 GB  42.6 GB     GPU  −51.3 GB      –
0     –        yes     1×64   133 GB  42.6 GB     GPU  −51.3 GB      –
2     optim    –       16×4  65.0 GB  95.5 GB    22 s     29:13   0.88
2     optim    yes       64  43.8 GB  95.5 GB    24 s     31:04   0.93
3     optim    –       16×4  67.0 GB  95.5 GB    22 s     29:13   0.88
3     optim    yes       64  45.8 GB  95.5 GB    24 s     31:04   0.93
3     all      –       16×4  53.8 GB   111 GB    27 s     33:13   1.00
3     all      yes       64  32.6 GB   111 GB    26 s     32:06   0.96
GPU or host and a minus: it does not fit, that much is missing there

take ZeRO-2, 16×4 rows, optimizer offloaded: the fastest that fits: without host
memory nothing does; 29:13, cost 0.88, 1,471 tokens/s
  a step: compute 11,902 ms, update 7,400 ms, offload 2,950 ms, other 20 ms
  engine: {zero_stage: 2, offload: optimizer, micro_batch_size: 16,
    gradient_checkpointing: false}
  resources: {workers: 1, cpus_per_worker: 16,
    gpus_per_worker: 1, accelerator: A100-80GB}
"""


def test_a_fleet(two):
    told = "\n".join(lines(two))

    assert ONE_GPU in told


def test_fleets_side_by_side_come_first(two):
    told = lines(two)

    assert told[:10] == [
        "Job      reviews",
        "Base     base",
        "Trains   all of 6.61 G parameters (full), bf16",
        "Steps    48 of 64 rows, 1.54 M tokens (512 a row, assumed)",
        "",
        "hardware      best way                      each GPU   a step   in all   cost",
        "─" * 77,
        "1xA100-80GB   ZeRO-2, 16×4 rows,             65.0 GB     22 s    29:13   0.88",
        "              optimizer offloaded",
        "8xA100-80GB   ZeRO-2, 8 rows                 52.1 GB    1.6 s     6:57   1.67",
    ]


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
