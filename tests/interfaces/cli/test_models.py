import json

import pytest

from orchestrator.inspect.model import inspect_model
from tests.inspect.model_folders import write_model

AFTER = {
    "camera": {"macro_f1": 0.825, "num_rows": 167, "intervals": {"macro_f1": [0.76, 0.88]}},
    "movie": {"macro_f1": 0.7, "num_rows": 700},
}
BEFORE = {"camera": {"macro_f1": 0.425}, "movie": {"macro_f1": 0.75}}


def test_an_empty_store_says_how_to_fill_it(orchestrator, work):
    done = orchestrator("models")
    assert done.exit_code == 0
    assert (
        f"no model in {work / 'models'} yet; `orchestrator run SPEC` publishes one" in done.stdout
    )


def test_the_list_shows_each_model_by_its_newest_version(orchestrator, publish):
    publish("sentiment", run="job-1", test=AFTER)
    publish("sentiment", run="job-2", test=AFTER)
    publish("topic", run="job-3")
    lines = orchestrator("models").stdout.splitlines()
    assert [" ".join(line.split()) for line in lines if "@" in line] == [
        "sentiment@2 2 708 B just now macro_f1: camera 0.825, movie 0.700",
        "topic@1 1 576 B just now –",
    ]


def test_the_list_as_json(orchestrator, publish, work):
    publish("sentiment", test=AFTER)
    orchestrator("models", "alias", "sentiment@1", "production")
    for words in (["models", "--json"], ["models", "list", "--json"]):
        done = orchestrator(*words)
        document = json.loads(done.stdout)
        (model,) = document["models"]
        assert document["store"] == str(work / "models")
        assert model.pop("published").startswith("20")
        assert model.pop("size_bytes") > 0
        assert model == {
            "name": "sentiment",
            "latest": 1,
            "versions": [1],
            "aliases": {"production": 1, "latest": 1},
            "metric": "macro_f1",
            "values": {"camera": 0.825, "movie": 0.7},
        }


def test_show_has_figures_lineage_and_files(orchestrator, publish, work):
    publish("sentiment", test=AFTER, before=BEFORE)
    shown = orchestrator("models", "show", "sentiment").stdout
    assert f"Where       {work / 'models/sentiment/1'}" in shown.replace("\n            ", "")
    assert "Base        package://encoder, sha256 abababababab" in shown
    assert "Method      full on camera" in shown
    assert "Time        1:45 in 2 attempts" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert [
        "camera",
        "macro_f1",
        "0.425",
        "0.825",
        "+0.400",
        *["0.760", "to", "0.880", "167"],
    ] in rows
    assert ["movie", "macro_f1", "0.750", "0.700", "-0.050", "–", "700"] in rows
    assert any(row[:3] == ["model.safetensors", "16", "B"] for row in rows)


def test_show_as_json_holds_the_documents(orchestrator, publish):
    publish("sentiment", test=AFTER)
    document = json.loads(orchestrator("models", "show", "sentiment@latest", "--json").stdout)
    assert document["model"] == "sentiment@1"
    assert document["aliases"] == ["latest"]
    assert document["metrics"]["test"]["movie"]["macro_f1"] == 0.7
    assert document["lineage"]["job"] == "job-1"
    assert {file["path"] for file in document["files"]} == {
        "lineage.json",
        "metrics.json",
        "model.safetensors",
    }


def test_pull_copies_a_version_to_a_new_folder(orchestrator, publish, work):
    publish("sentiment")
    done = orchestrator("models", "pull", "sentiment", "copy")
    assert done.stdout == "sentiment@1: 3 files, 576 B, in copy\n"
    assert (work / "copy/model.safetensors").read_bytes() == b"weights of job-1"
    again = orchestrator("models", "pull", "sentiment", "copy")
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_pull_tells_where_the_base_of_an_adapter_lies(orchestrator, publish, work):
    base = write_model(work / "encoder")
    publish("reviews", adapter_of=(base, inspect_model(base).digest))
    done = orchestrator("models", "pull", "reviews", "copy")
    assert done.stdout.splitlines()[1] == f"It is an adapter; its base lies in {base}"
    shown = json.loads(orchestrator("models", "pull", "reviews", "again", "--json").stdout)
    assert shown["base"] == str(base)
    shown = " ".join(orchestrator("models", "show", "reviews").stdout.split())
    assert "Adapter of /" in shown


def test_an_adapter_is_pulled_though_its_base_is_gone(orchestrator, publish, work):
    publish("reviews", adapter_of=(work / "nowhere", "0" * 64))
    done = orchestrator("models", "pull", "reviews", "copy")
    assert done.exit_code == 0
    assert (work / "copy/adapter_model.safetensors").is_file()
    assert "which cannot be had" in done.stderr


def test_verify_tells_a_damaged_file(orchestrator, publish, work):
    publish("sentiment")
    assert orchestrator("models", "verify", "sentiment@1").exit_code == 0
    (work / "models/sentiment/1/model.safetensors").write_bytes(b"wights of job-1!")
    done = orchestrator("models", "verify", "sentiment@1")
    assert done.exit_code == 1
    assert done.stdout == "changed  model.safetensors\n"
    document = json.loads(orchestrator("models", "verify", "sentiment", "--json").stdout)
    assert document["ok"] is False
    assert [issue["path"] for issue in document["issues"]] == ["model.safetensors"]


def test_an_alias_comes_and_goes(orchestrator, publish):
    publish("sentiment", run="job-1")
    publish("sentiment", run="job-2")
    done = orchestrator("models", "alias", "sentiment@1", "production")
    assert done.stdout == "sentiment@production is sentiment@1\n"
    document = json.loads(orchestrator("models", "show", "sentiment@production", "--json").stdout)
    assert (document["version"], document["aliases"]) == (1, ["production"])
    removed = orchestrator("models", "alias", "sentiment", "production", "--remove", "--json")
    assert json.loads(removed.stdout) == {"model": "sentiment", "aliases": {"latest": 2}}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "sentimnt"], "did you mean sentiment?"),
        (["show", "sentiment@9"], "sentiment has no version 9"),
        (["pull", "sentiment@staging", "x"], "no alias 'staging'"),
        (["alias", "sentiment", "latest"], "latest is moved by publishing only"),
        (["alias", "sentiment", "production", "--remove"], "no alias 'production'"),
        (["verify", "Not A Name"], "is not a model"),
    ],
)
def test_what_is_not_there_is_told_with_a_hint(orchestrator, publish, words, told):
    publish("sentiment")
    done = orchestrator("models", *words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_an_option_before_the_command_is_told_where_it_belongs(orchestrator):
    done = orchestrator("models", "--json", "show", "sentiment")
    assert done.exit_code == 2
    assert "behind the command" in json.loads(done.stdout)["error"]["message"]


def test_store_names_another_folder(orchestrator, publish, work):
    publish("sentiment")
    (work / "models").rename(work / "elsewhere")
    assert "no model in" in orchestrator("models").stdout
    assert "sentiment@1" in orchestrator("models", "--store", "elsewhere").stdout
