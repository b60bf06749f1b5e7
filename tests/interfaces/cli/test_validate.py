import json

import pytest

SPEC = """\
apiVersion: finetune.orchestrator/v1alpha1
kind: FineTune
metadata: {name: reviews}
spec:
  model: {base: "hf://org/encoder"}
  task: {type: text-classification}
  data:
    domains:
      camera:
        train: [{path: data/camera/train.jsonl}]
        test: [{path: data/camera/test.jsonl}]
  training: {epochs: 2, global_batch_size: 4}
"""


@pytest.fixture
def spec(work):
    folder = work / "data/camera"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        rows = [{"text": f"{split} text {n}", "label": "ab"[n % 2]} for n in range(40)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = work / "job.yaml"
    path.write_text(SPEC)
    return path


def test_a_right_spec(orchestrator, spec):
    done = orchestrator("validate", "job.yaml")
    assert (done.exit_code, done.stdout) == (0, "job.yaml: valid (FineTune reviews)\n")


def test_a_right_spec_as_json(orchestrator, spec):
    done = orchestrator("validate", "job.yaml", "--json")
    assert json.loads(done.stdout) == {
        "valid": True,
        "kind": "FineTune",
        "name": "reviews",
        "file": "job.yaml",
        "warnings": [],
    }


def test_all_problems_at_once_one_a_line(orchestrator, spec, work):
    wrong = SPEC.replace("epochs:", "epoch:").replace("test.jsonl", "tset.jsonl")
    spec.write_text(wrong + "  resources: {workers: 3}\n")
    done = orchestrator("validate", "job.yaml")
    assert done.exit_code == 2
    assert done.stdout == ""
    *problems, total = done.stderr.splitlines()
    assert [line.split(": ")[:2] for line in problems] == [
        ["job.yaml:11", "data.domains.camera.test[0].path"],
        ["job.yaml:12", "training.epoch"],
        ["job.yaml:12", "training.global_batch_size"],
    ]
    assert "did you mean test.jsonl?" in problems[0]
    assert "did you mean epochs?" in problems[1]
    assert total == "3 problems; nothing was started."


def test_problems_as_json(orchestrator, spec):
    done = orchestrator("validate", "job.yaml", "--json", "--set", "training.epochs=0")
    assert done.exit_code == 2
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "InvalidInput"
    assert [problem["path"] for problem in error["problems"]] == ["training.epochs"]


def test_an_override_can_mend(orchestrator, spec):
    spec.write_text(SPEC.replace("epochs: 2", "epochs: 0"))
    assert orchestrator("validate", "job.yaml").exit_code == 2
    assert orchestrator("validate", "job.yaml", "--set", "training.epochs=1").exit_code == 0


def test_without_data_files_the_spec_alone_can_be_checked(orchestrator, spec, work):
    (work / "data/camera/test.jsonl").unlink()
    assert orchestrator("validate", "job.yaml").exit_code == 2
    assert orchestrator("validate", "job.yaml", "--no-data").exit_code == 0


def test_a_spec_that_is_not_there(orchestrator):
    done = orchestrator("validate", "absent.yaml")
    assert done.exit_code == 2
    assert "absent.yaml: the spec file does not exist" in done.stderr
