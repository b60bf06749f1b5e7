"""`compare`: what differs in what went in, and in what came out."""

import io
import json
import math

import pytest
from rich.console import Console

from orchestrator.interfaces.cli.compareview import comparison_views, spark
from orchestrator.interfaces.cli.comparing import Difference, Side, compared, flattened
from orchestrator.interfaces.wire import JobView, SpecView
from orchestrator.records import Identity, JobState, Outcome, Point, Reason
from orchestrator.specs import FineTune
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry
from tests.control.builders import resolved_spec
from tests.control.store.builders import TIME, a_job, job_name
from tests.interfaces.api.builders import SECRET, write_project

ROW = {"accuracy": 0.8, "loss": 0.5, "num_rows": 100, "majority_accuracy": 0.5}


def a_spec(**changes):
    fields = resolved_spec().model_dump(mode="json", exclude_none=True)
    for path, value in changes.items():
        section, _, name = path.partition("__")
        fields["spec"][section][name] = value
    return FineTune.model_validate(fields)


def a_side(number, *, spec=None, data="aa" * 32, curve=(), metrics=None, packages=None):
    outcome = Outcome(
        job=job_name(number),
        attempt=1,
        state=JobState.SUCCEEDED,
        reason=Reason.COMPLETED,
        metrics=metrics or {},
        seconds={"train": 75.0},
    )
    return Side(
        JobView(**dict(a_job(number, state=JobState.SUCCEEDED, attempt=1))),
        SpecView(
            job=job_name(number),
            written="",
            sets=(),
            spec=spec or a_spec(),
            identity=Identity(run="r", data={"camera/train": data}, base="bb" * 32, recipe="1"),
        ),
        outcome,
        tuple(Point(step=step, time=TIME, metrics=values) for step, values in curve),
        packages or {},
    )


def printed(a, b, width=80):
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    for view in comparison_views(a, b, compared(a, b)):
        console.print(view)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_two_equal_jobs_differ_in_nothing():
    found = compared(a_side(1), a_side(2))
    assert (found.spec, found.data, found.environment, found.metrics) == ((), (), (), ())
    assert found.curves == {}
    assert "Spec: the same" in printed(a_side(1), a_side(2))


def test_specs_differ_by_path():
    a = a_spec(training__seed=1, method__type="full")
    b = a_spec(training__seed=2, scheduling__node_labels={"zone": "a"})
    found = compared(a_side(1, spec=a), a_side(2, spec=b)).spec
    assert found == (
        Difference("training.seed", 1, 2),
        Difference("scheduling.node_labels", {}, None),
        Difference("scheduling.node_labels.zone", None, "a"),
    )


def test_lists_of_values_are_one_field_and_of_things_are_many():
    assert flattened({"a": {"b": [1, 2]}, "c": [{"path": "x"}, {"path": "y"}], "d": {}}) == {
        "a.b": [1, 2],
        "c[0].path": "x",
        "c[1].path": "y",
        "d": {},
    }


def test_data_are_compared_by_their_digests():
    a, b = a_side(1), a_side(2, data="cc" * 32)
    assert compared(a, b).data == (Difference("camera/train", "aa" * 32, "cc" * 32),)
    (row,) = [line for line in printed(a, b) if line.startswith("camera/train")]
    assert row.split() == ["camera/train", "aaaaaaaaaaaa", "cccccccccccc"]


def test_packages_are_compared_where_both_are_known():
    old, new = {"torch": "2.12", "ray": "2.60"}, {"torch": "2.13", "ray": "2.60"}
    found = compared(a_side(1, packages=old), a_side(2, packages=new))
    assert found.environment == (Difference("torch", "2.12", "2.13"),)
    unknown = a_side(1, packages=old), a_side(2)
    assert compared(*unknown).environment == ()
    assert f"not compared: {job_name(2)} published nothing" in " ".join(printed(*unknown))


def test_metrics_have_their_difference_and_whether_it_is_an_improvement():
    worse = {"accuracy": 0.7, "loss": 0.6, "intervals": {"accuracy": [0.6, 0.72]}}
    a = a_side(1, metrics={"camera": {**ROW, "intervals": {"accuracy": [0.75, 0.85]}}})
    b = a_side(2, metrics={"camera": {**ROW, **worse}, "news": {"accuracy": 0.6}})
    found = compared(a, b).metrics
    assert [(m.domain, m.metric, m.a, m.b, m.overlap, m.is_better) for m in found] == [
        ("camera", "accuracy", 0.8, 0.7, False, False),
        ("camera", "loss", 0.5, 0.6, None, False),
        ("news", "accuracy", None, 0.6, None, None),
    ]
    assert [row.split() for row in printed(a, b)[-3:]] == [
        ["camera", "accuracy", "0.800", "0.700", "-0.100", "apart"],
        ["loss", "0.500", "0.600", "+0.100", "–"],
        ["news", "accuracy", "–", "0.600", "–", "–"],
    ]


def test_of_all_that_is_measured_people_see_what_the_specs_show():
    spec = a_spec(evaluation__metrics=["accuracy"])
    row = {"accuracy": 0.8, "micro_f1": 0.7}
    curve = [(1, {"loss": 1.0, "camera/accuracy": 0.5, "camera/micro_f1": 0.5})]
    sides = [a_side(n, spec=spec, metrics={"camera": row}, curve=curve) for n in (1, 2)]
    assert [m.metric for m in compared(*sides).metrics] == ["accuracy", "micro_f1"]
    lines = " ".join(printed(*sides))
    assert "camera/accuracy" in lines
    assert "micro_f1" not in lines


def test_curves_stand_side_by_side_on_the_same_axes():
    a = a_side(1, curve=[(s, {"loss": 1.0 - s / 100}) for s in range(0, 101, 10)])
    b = a_side(2, curve=[(s, {"loss": 0.5, "camera/accuracy": 0.25}) for s in range(0, 51, 10)])
    found = compared(a, b)
    assert list(found.curves) == ["loss", "camera/accuracy"]
    lines = printed(a, b)
    at = next(n for n, line in enumerate(lines) if line.startswith("curve"))
    assert lines[at + 2].split() == ["loss", "███▇▇▆▆▅▅▅▅▄▄▃▃▂▂▁▁▁", "▅▅▅▅▅▅▅▅▅▅"]
    assert lines[at + 3].split() == [
        *("1.000", "→", "0.000", "at", "step", "100"),
        *("0.500", "→", "0.500", "at", "step", "50"),
    ]
    rows = [line.split() for line in lines[lines.index("", at) :]]
    assert rows[1] == ["step", "loss", "of", "a", "loss", "of", "b", "b", "−", "a"]
    assert rows[3] == ["0", "1.000", "0.500", "-0.500"]
    assert rows[-1] == ["50", "0.500", "0.500", "+0.000"]


def test_a_step_that_was_trained_twice_has_its_later_value():
    curve = [(10, {"loss": 1.0}), (20, {"loss": 0.9}), (10, {"loss": 0.5})]
    (found, _) = compared(a_side(1, curve=curve), a_side(2)).curves["loss"]
    assert found == ((10, 0.5), (20, 0.9))


@pytest.mark.parametrize(
    ("curve", "drawn"),
    [
        ((), ""),
        (((5, math.nan),), ""),
        (((0, 1.0),), "▁"),
        (((0, 0.0), (19, 1.0)), "▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁█"),
        (((0, 0.0), (1, math.inf), (19, 1.0)), "▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁█"),
    ],
)
def test_a_curve_in_blocks(curve, drawn):
    assert spark(curve, curve) == drawn


@pytest.mark.parametrize("width", [80, 120])
def test_two_jobs_of_a_server(ask, place, work, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    spec = write_project(work)
    for seed, version in ((1, "2.12"), (2, "2.13")):
        place.clock.sleep(60)
        made = ask("submit", spec, "--set", f"training.seed={seed}", "--json")
        job = json.loads(made.stdout)["job"]
        place.started(job["id"], secret=f"{seed}{SECRET}")
        publish(work, job["store"], job["id"], version)
        place.ended(job["id"], model=f"cameras@{seed}")
    done = ask("compare", job_of(place, 1), job_of(place, 2))
    assert done.exit_code == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["training.seed", "1", "2"] in rows
    assert ["torch", "2.12", "2.13"] in rows
    assert "Data and base: the same bytes" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= width
    document = json.loads(ask("compare", "cameras", job_of(place, 1), "--json").stdout)
    assert list(document) == ["a", "b", "spec", "data", "environment", "curves", "metrics"]
    assert document["environment"] == [{"path": "torch", "a": "2.13", "b": "2.12"}]


def publish(work, store, job, version):
    folder = work / job
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(job.encode())
    (folder / "lineage.json").write_text(json.dumps({"packages": {"torch": version}}))
    ModelRegistry(open_store(store)).publish("cameras", folder, run=job)


def job_of(place, seed):
    from orchestrator.control.store import JobFilter, Page

    newest_first, _ = place.service.jobs.list(JobFilter(), Page())
    return newest_first[-seed].id
