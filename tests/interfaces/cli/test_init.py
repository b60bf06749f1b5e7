import json

import pytest

from orchestrator.specs.checks import check_spec
from orchestrator.specs.loading import load_spec


@pytest.fixture
def data(work):
    """Three domains in data/reviews; one is evaluated only."""
    for place in ("camera/train", "camera/valid", "camera/test", "movie/test", "news/train"):
        path = work / f"data/reviews/{place}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"text": f"{place} {n}", "label": "ab"[n % 2]} for n in range(30)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return work / "data/reviews"


def test_the_spec_names_what_was_found_and_is_valid(orchestrator, data, work):
    done = orchestrator("init", "--data", "data/reviews")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "Wrote spec.yaml",
        "  camera: train, valid, test",
        "  movie: test  (evaluated only)",
        "  news: train",
        "Next:",
        "  orchestrator validate spec.yaml",
        "  orchestrator plan spec.yaml",
        "  orchestrator run spec.yaml",
    ]
    spec = load_spec(work / "spec.yaml").spec
    assert spec.metadata.name == "reviews"
    domains = spec.spec.data.domains
    assert domains["camera"].valid[0].path == "data/reviews/camera/valid.jsonl"
    assert domains["movie"].train is None
    assert orchestrator("validate", "spec.yaml").exit_code == 0


def test_paths_are_relative_to_the_spec(orchestrator, data, work):
    (work / "jobs").mkdir()
    orchestrator("init", "--data", data, "-o", "jobs/a.yaml")
    spec = load_spec(work / "jobs/a.yaml").spec
    assert spec.spec.data.domains["camera"].train[0].path == "../data/reviews/camera/train.jsonl"
    assert orchestrator("validate", "jobs/a.yaml").exit_code == 0


def test_single_domains_are_named(orchestrator, data, work):
    words = ("--domain", "cam=data/reviews/camera", "--domain", "film=data/reviews/movie")
    orchestrator("init", *words, "--name", "two")
    spec = load_spec(work / "spec.yaml").spec
    assert (spec.metadata.name, list(spec.spec.data.domains)) == ("two", ["cam", "film"])


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("review,stars", {"text": "review", "label": "stars"}),
        ("Text,Label", {"text": "Text", "label": "Label"}),
        ("id,label,text", None),
    ],
)
def test_columns_are_looked_for(orchestrator, work, header, columns):
    (work / "camera").mkdir()
    (work / "camera/train.csv").write_text(f"{header}\n" + "a,1,a\n"[: 2 * len(header.split(","))])
    done = orchestrator("init", "--domain", "camera=camera", "--json")
    assert json.loads(done.stdout)["columns"] == columns
    source = load_spec(work / "spec.yaml").spec.spec.data.domains["camera"].train[0]
    assert source.columns == columns


def test_columns_that_cannot_be_guessed_are_asked_for(orchestrator, work):
    (work / "camera").mkdir()
    (work / "camera/train.csv").write_text("a,b\nx,y\n")
    done = orchestrator("init", "--domain", "camera=camera")
    assert done.exit_code == 2
    assert "no column that looks like the text; it has: a, b" in done.stderr
    assert "--column text=NAME" in done.stderr
    assert not (work / "spec.yaml").exists()
    words = ("--domain", "camera=camera", "--column", "text=a", "--column", "label=b")
    assert "columns: text from `a`, label from `b`" in orchestrator("init", *words).stdout


def test_without_data_there_are_paths_to_fill_in(orchestrator, work):
    done = orchestrator("init", "-o", "-")
    assert done.exit_code == 0
    spec = load_spec(done.stdout).spec
    assert list(spec.spec.data.domains) == ["my-domain"]
    assert list(work.iterdir()) == []


def test_a_file_is_not_overwritten(orchestrator, work):
    (work / "spec.yaml").write_text("mine")
    done = orchestrator("init")
    assert done.exit_code == 2
    assert "add --force" in done.stderr
    assert (work / "spec.yaml").read_text() == "mine"
    assert orchestrator("init", "--force").exit_code == 0
    assert "kind: FineTune" in (work / "spec.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--task", "cooking"], "'cooking' is not one of"),
        (["--data", "absent"], "absent does not exist"),
        (["--data", "data/reviews/movie"], "none of the domains has a train split: movie"),
        (
            ["--data", "data/reviews", "--domain", "camera=data/reviews/news"],
            "a domain of that name already",
        ),
        (["-o", "absent/spec.yaml"], "there is no folder absent"),
        (["-o", "-", "--json"], "--json needs a file"),
    ],
)
def test_wrong_words(orchestrator, data, words, told):
    done = orchestrator("init", *words)
    assert done.exit_code == 2
    assert told in done.stderr or told in done.stdout


def test_label_sets_and_pairs_are_asked_for(orchestrator, work):
    folder = work / "data/qa"
    folder.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        lines = '{"question": "a", "sentence2": "b", "labels": ["x"]}\n'
        (folder / f"{split}.jsonl").write_text(lines)
    options = ("--problem", "multi_label", "--pairs", "--column", "text=question")
    done = orchestrator("init", "--data", "data", *options)
    assert done.exit_code == 0
    text = (work / "spec.yaml").read_text()
    loaded = load_spec(work / "spec.yaml").spec
    assert (loaded.spec.task.problem, loaded.spec.task.pairs) == ("multi_label", True)
    assert check_spec(loaded) == []
    (source,) = loaded.spec.data.domains["qa"].train
    assert source.columns == {"text": "question", "text_pair": "sentence2", "label": "labels"}
    assert "# metrics: [micro_f1, macro_f1]" in text
    done = orchestrator("init", "--task", "causal-lm", "--problem", "regression", "--force")
    assert "--problem belong to --task text-classification" in done.stderr
