import json


def test_the_schema_goes_to_stdout(orchestrator):
    done = orchestrator("schema")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["title"] == "FineTune"
    assert "spec" in document["properties"]


def test_the_schema_goes_to_a_file(orchestrator, work):
    done = orchestrator("schema", "-o", "spec.schema.json")
    assert (done.exit_code, done.stdout) == (0, "")
    assert (work / "spec.schema.json").read_text() == orchestrator("schema").stdout


def test_beside_json_a_written_schema_names_its_file(orchestrator):
    assert json.loads(orchestrator("schema", "-o", "s.json", "--json").stdout) == {"file": "s.json"}
    assert json.loads(orchestrator("schema", "--json").stdout)["title"] == "FineTune"
