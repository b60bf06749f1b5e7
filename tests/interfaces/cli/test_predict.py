import json
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest

from orchestrator.inspect.model import inspect_model
from tests.inspect.model_folders import write_model


@dataclass(frozen=True)
class Prediction:
    label: str
    probabilities: dict

    def fields(self):
        return {
            "predicted_label": self.label,
            "probability": self.probabilities[self.label],
            "probabilities": self.probabilities,
        }


class Predictor:
    """Calls a text positive where it says good; remembers how it was asked."""

    loaded = None
    asked = None

    @classmethod
    def load(cls, folder, max_length=None, base=None, threshold=None):
        cls.loaded = (folder, max_length) if base is None else (folder, max_length, base)
        cls.asked = []
        return cls()

    def predict(self, texts, *, batch_size=32):
        self.asked.append((len(texts), batch_size))
        return [self._one("good" in text) for text in texts]

    def _one(self, is_good):
        positive = 0.75 if is_good else 0.25
        probabilities = {"negative": 1 - positive, "positive": positive}
        return Prediction("positive" if is_good else "negative", probabilities)


@pytest.fixture(autouse=True)
def model(monkeypatch, publish):
    module = ModuleType("orchestrator.worker.serving.predict")
    module.Predictor = Predictor
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return publish("sentiment", training={"max_length": 48})


@pytest.fixture
def rows(work):
    path = work / "in.jsonl"
    path.write_text('{"id": 7, "text": "good one"}\n{"id": 8, "text": "dull"}\n')
    return path


POSITIVE = {
    "predicted_label": "positive",
    "probability": 0.75,
    "probabilities": {"negative": 0.25, "positive": 0.75},
}
NEGATIVE = {
    "predicted_label": "negative",
    "probability": 0.75,
    "probabilities": {"negative": 0.75, "positive": 0.25},
}


def test_texts_become_a_table(orchestrator):
    done = orchestrator("predict", "sentiment", "--text", "a good day", "--text", "a [bold] day")
    assert done.exit_code == 0
    assert [line.split() for line in done.stdout.splitlines()[2:]] == [
        ["positive", "0.750", "a", "good", "day"],
        ["negative", "0.750", "a", "[bold]", "day"],
    ]


def test_texts_as_json(orchestrator):
    done = orchestrator("predict", "sentiment@1", "--text", "good", "--json")
    assert json.loads(done.stdout) == {
        "model": "sentiment@1",
        "predictions": [{"text": "good"} | POSITIVE],
    }


def test_the_model_is_loaded_as_it_was_trained(orchestrator, model, work):
    orchestrator("predict", "sentiment", "--text", "good")
    assert Predictor.loaded == (work / "models/sentiment/1", 48)


def test_a_model_of_several_tasks_is_asked_for_one(orchestrator, model, work):
    lineage = work / "models/sentiment/1/lineage.json"
    document = json.loads(lineage.read_text())
    tasks = {name: {"type": "text-classification", "domains": ["x"]} for name in ("mood", "topic")}
    document["spec"]["resolved"]["spec"]["tasks"] = tasks
    lineage.write_text(json.dumps(document))
    (work / "models/sentiment/1/topic").mkdir()

    unnamed = orchestrator("predict", "sentiment", "--text", "good")
    assert unnamed.exit_code == 2
    assert "add --task: one of mood, topic" in unnamed.stderr
    wrong = orchestrator("predict", "sentiment", "--task", "tpic", "--text", "good")
    assert "has no task 'tpic'" in wrong.stderr
    done = orchestrator("predict", "sentiment", "--task", "topic", "--text", "good")
    assert done.exit_code == 0
    assert Predictor.loaded == (work / "models/sentiment/1/topic", 48)


def test_a_model_of_one_task_has_no_other(orchestrator):
    done = orchestrator("predict", "sentiment", "--task", "topic", "--text", "good")
    assert done.exit_code == 2
    assert "has one task only" in done.stderr


def test_a_file_is_written_whole_with_its_fields(orchestrator, rows, work):
    done = orchestrator("predict", "sentiment", "--file", "in.jsonl", "--out", "out.jsonl")
    assert done.exit_code == 0
    assert done.stdout == "out.jsonl\n"
    assert "2 rows in" in done.stderr
    assert "positive 1, negative 1" in done.stderr
    written = [json.loads(line) for line in (work / "out.jsonl").read_text().splitlines()]
    assert written == [
        {"id": 7, "text": "good one"} | POSITIVE,
        {"id": 8, "text": "dull"} | NEGATIVE,
    ]


def test_a_file_without_out_goes_to_stdout_as_json_lines(orchestrator, rows):
    done = orchestrator("predict", "sentiment", "--file", "in.jsonl")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [7, 8]
    assert done.stderr == ""


def test_json_beside_out_is_one_document_of_counts(orchestrator, rows):
    done = orchestrator("predict", "sentiment", "--file", "in.jsonl", "--out", "o.jsonl", "--json")
    document = json.loads(done.stdout)
    assert document.pop("seconds") >= 0
    assert document == {
        "model": "sentiment@1",
        "out": "o.jsonl",
        "rows": 2,
        "labels": {"positive": 1, "negative": 1},
    }


def test_json_without_out_is_one_document_of_rows(orchestrator, rows):
    done = orchestrator("predict", "sentiment", "--file", "in.jsonl", "--json")
    assert [row["id"] for row in json.loads(done.stdout)["predictions"]] == [7, 8]


def test_a_file_goes_through_in_portions_of_batches(orchestrator, work):
    (work / "in.jsonl").write_text('{"text": "x"}\n' * 70)
    orchestrator("predict", "sentiment", "--file", "in.jsonl", "--batch-size", "2")
    assert Predictor.asked == [(32, 2), (32, 2), (6, 2)]


def test_stdin(orchestrator):
    done = orchestrator("predict", "sentiment", "--file", "-", input='{"text": "good"}\n')
    assert json.loads(done.stdout)["predicted_label"] == "positive"


def test_another_column_holds_the_text(orchestrator, work):
    (work / "in.csv").write_text("review\ngood\n")
    words = ("predict", "sentiment", "--file", "in.csv", "--text-column", "review")
    assert json.loads(orchestrator(*words).stdout) == {"review": "good"} | POSITIVE


def test_a_bad_row_is_named_and_nothing_is_loaded_or_written(orchestrator, work):
    Predictor.loaded = None
    (work / "in.jsonl").write_text('{"text": "good"}\n{"text": 3}\n')
    done = orchestrator("predict", "sentiment", "--file", "in.jsonl", "--out", "out.jsonl")
    assert done.exit_code == 2
    assert done.stderr.startswith("in.jsonl:2: column `text` holds a number, not text")
    assert Predictor.loaded is None
    assert not (work / "out.jsonl").exists()


def test_an_error_in_the_middle_leaves_no_file(orchestrator, rows, work, monkeypatch):
    def fail(self, texts, *, batch_size):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Predictor, "predict", fail)
    done = orchestrator("predict", "sentiment", "--file", "in.jsonl", "--out", "out.jsonl")
    assert done.exit_code == 1
    assert [path.name for path in work.iterdir() if "out" in path.name] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give either --text (once or more) or --file"),
        (["--text", "a", "--file", "in.jsonl"], "give either --text (once or more) or --file"),
        (["--text", "a", "--out", "o.jsonl"], "--out belongs to --file"),
        (["--text", "a", "--text", " "], "--text number 2 is empty"),
        (["--text", "a", "--batch-size", "0"], "--batch-size"),
        (["--file", "absent.jsonl"], "no such file"),
    ],
)
def test_wrong_words(orchestrator, words, told):
    done = orchestrator("predict", "sentiment", *words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_missing_extra_names_the_pip_line(orchestrator, monkeypatch):
    monkeypatch.setitem(sys.modules, "orchestrator.worker.serving.predict", None)
    done = orchestrator("predict", "sentiment", "--text", "good")
    assert done.exit_code == 2
    assert "pip install 'finetune-orchestrator[worker]'" in done.stderr


def test_a_model_that_is_not_there(orchestrator):
    done = orchestrator("predict", "sentimnt", "--text", "good")
    assert done.exit_code == 2
    assert "did you mean sentiment?" in done.stderr


def test_an_adapter_is_loaded_beside_its_base(orchestrator, publish, work):
    base = write_model(work / "encoder")
    publish("reviews", adapter_of=(base, inspect_model(base).digest))
    done = orchestrator("predict", "reviews", "--text", "good")
    assert done.exit_code == 0, done.stderr
    folder, max_length, beside = Predictor.loaded
    assert (folder / "adapter_config.json").is_file()
    assert (max_length, beside) == (64, base)


def test_an_adapter_whose_base_is_gone_or_another_is_refused(orchestrator, publish, work):
    publish("gone", adapter_of=(work / "nowhere", "0" * 64))
    done = orchestrator("predict", "gone", "--text", "good")
    assert done.exit_code == 2
    assert "gone@1 is an adapter of" in done.stderr
    assert "which cannot be had" in done.stderr
    publish("other", adapter_of=(write_model(work / "encoder"), "0" * 64))
    done = orchestrator("predict", "other", "--text", "good")
    assert done.exit_code != 0
    assert "is not the base this adapter was trained on" in done.stderr


class PairPredictor(Predictor):
    """Gives how many words two texts share, and which labels of three it sees in them."""

    def predict(self, texts, *, batch_size=32):
        self.asked.append(texts)
        return [
            Fields({"predicted_value": float(len(a.split()) - len(b.split()))}) for a, b in texts
        ]


class SetPredictor(Predictor):
    def predict(self, texts, *, batch_size=32):
        chances = {"good": 0.75, "camera": 0.5, "film": 0.25}
        given = {"predicted_labels": ["good", "camera"], "probabilities": chances}
        nothing = {"predicted_labels": [], "probabilities": dict.fromkeys(chances, 0.25)}
        return [Fields(given if "good" in text else nothing) for text in texts]


@dataclass(frozen=True)
class Fields:
    found: dict

    def fields(self):
        return self.found


@pytest.fixture
def of_pairs(monkeypatch, publish):
    sys.modules["orchestrator.worker.serving.predict"].Predictor = PairPredictor
    return publish(
        "pairs", task={"type": "text-classification", "problem": "regression", "pairs": True}
    )


def test_a_model_of_pairs_is_asked_about_two_texts(orchestrator, of_pairs):
    asked = ("--text", "a b c", "--text-pair", "d", "--text", "e", "--text-pair", "f")
    done = orchestrator("predict", "pairs", *asked)
    assert [line.split() for line in done.stdout.splitlines()[2:]] == [
        ["2.000", "a", "b", "c", "d"],
        ["0.000", "e", "f"],
    ]
    document = json.loads(orchestrator("predict", "pairs", *asked, "--json").stdout)
    assert document["predictions"][0] == {
        "text": "a b c",
        "text_pair": "d",
        "predicted_value": 2.0,
    }


def test_a_file_of_pairs_has_two_columns(orchestrator, of_pairs, work):
    (work / "in.jsonl").write_text('{"text": "a b", "text_pair": "c"}\n')
    (work / "other.csv").write_text("q,a,id\nx y z,w,7\n")
    done = orchestrator("predict", "pairs", "--file", "in.jsonl")
    assert json.loads(done.stdout)["predicted_value"] == 1.0
    done = orchestrator(
        "predict", "pairs", "--file", "other.csv", "--text-column", "q", "--text-pair-column", "a"
    )
    assert json.loads(done.stdout) == {"q": "x y z", "a": "w", "id": "7", "predicted_value": 2.0}
    done = orchestrator("predict", "pairs", "--file", "other.csv", "--text-column", "q")
    assert "there is no column `text_pair`" in done.stderr
    assert "--text-pair-column (q, a, id)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pairs", "--text", "a"), "reads two texts: give --text-pair beside --text"),
        (("sentiment", "--text", "a", "--text-pair", "b"), "reads one text: leave --text-pair out"),
        (("pairs", "--text", "a", "--text", "b", "--text-pair", "c"), "2, not 1"),
        (("pairs", "--text", "a", "--text-pair", " "), "--text-pair number 1 is empty"),
        (("sentiment", "--file", "in.jsonl", "--text-pair-column", "b"), "reads one text"),
        (("pairs", "--file", "in.jsonl", "--text-pair", "b"), "--text-pair belongs to --text"),
        (("pairs", "--text", "a", "--text-pair-column", "b"), "--text-pair-column belongs to"),
    ],
)
def test_one_text_or_two_is_the_models_affair(orchestrator, of_pairs, rows, arguments, message):
    done = orchestrator("predict", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_several_labels_are_named_with_their_chances(orchestrator, publish, work):
    sys.modules["orchestrator.worker.serving.predict"].Predictor = SetPredictor
    publish("sets", task={"type": "text-classification", "problem": "multi_label"})
    done = orchestrator("predict", "sets", "--text", "good", "--text", "dull")
    lines = [line.split() for line in done.stdout.splitlines()[2:]]
    assert lines == [["good", "0.750,", "camera", "0.500", "good"], ["–", "dull"]]
    (work / "in.jsonl").write_text('{"text": "good"}\n{"text": "dull"}\n')
    done = orchestrator("predict", "sets", "--file", "in.jsonl", "--out", "out.jsonl", "--json")
    assert json.loads(done.stdout)["labels"] == {"good": 1, "camera": 1}
