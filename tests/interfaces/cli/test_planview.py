import io

from rich.console import Console

from orchestrator.control.admission.records import Choice, PlanReason
from orchestrator.interfaces.cli.planview import plan_views
from tests.interfaces.cli.scripted import plan


def lines(found, width=80):
    console = Console(width=width, file=io.StringIO(), highlight=False)
    for view in plan_views(found):
        console.print(view)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


FITS = """\
Job      sentiment-camera
Base     package://encoder/model
Trains   all of 22.7 M parameters (full) on camera
On       2 × 1 CPU, DeepSpeed ZeRO-2, fp32

memory of a worker               with     precision    in all
────────────────────────────     ───────────────────────────────────────
weights              90.9 MB     ZeRO-2   fp32        1.29 GB   ← chosen
gradients            90.9 MB     ZeRO-3   fp32        1.24 GB
optimizer             136 MB
activations          52.0 MB
logits                 128 B
buffers              20.0 MB
process               900 MB
at its peak          1.29 GB
host, at load        1.10 GB

Steps         120 (60 an epoch, 2 epochs), 7 to warm up, 2 evaluations on valid
Batch         32 rows = 2 workers × 16 rows × 1 accumulated
Tokens        93,720 (24 a row, counted; 781 a step)
Time          about 2:55: start 40 s, before 3.0 s, train 2:00, valid 2.0 s,
              checkpoint 1.0 s, test 6.0 s, publish 3.0 s
Speed         1.0 s a step, 32 rows/s (measured on this machine)
Checkpoints   6 of 273 MB; each stops training for 0.4 s and is sent in 1.2 s
              behind it
Disk          1.27 GB of 79.2 GB free here; model 91.6 MB, checkpoints 637 MB,
              scratch 545 MB
Memory        3.78 GB of 25.3 GB (20.0 GB free now), Ray and the rest 1.20 GB of
              it

domain   split   rows     cut   classes
─────────────────────────────────────────────────────────
camera   train    294   0.7 %   negative 76, positive 218

fits: about 2:55
"""


def test_a_plan_that_fits():
    assert lines(plan()) == FITS.splitlines()


def test_nothing_is_wider_than_the_terminal():
    warnings = ("class negative of camera/train is rare: 76 of 294 rows, and " * 3,)
    choices = (
        Choice(path="engine.micro_batch_size", value="16", why="the largest that fits " * 4),
    )
    found = plan("x" * 63, warnings=warnings, choices=choices)
    assert max(map(len, lines(found))) <= 80


def test_choices_and_warnings_are_told():
    choices = (Choice(path="engine.zero_stage", value="2", why="least memory at no cost"),)
    told = lines(plan(choices=choices, warnings=("camera/train is skewed",)))
    assert "  engine.zero_stage   2: least memory at no cost" in told
    assert "warning: camera/train is skewed" in told


def test_a_refused_plan_ends_with_its_reasons_and_the_change():
    reasons = (
        PlanReason(
            path="resources.gpus_per_worker", message="this machine has no GPU", change="write 0"
        ),
    )
    assert lines(plan(verdict="refused", reasons=reasons))[-3:] == [
        "refused: it would not work like this",
        "  resources.gpus_per_worker: this machine has no GPU",
        "    → write 0",
    ]
