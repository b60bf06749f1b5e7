"""`token`, `login`, `queues`, `nodes` and `audit`: what operators and users set up."""

import json
import stat

import pytest

from orchestrator.control.store import Audit, Database, Page, Tokens
from orchestrator.interfaces.api.authentication import digest_of
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.interfaces.cli import login as login_command
from orchestrator.records import Role
from tests.interfaces.api.builders import Place

ADMIN = {"role": Role.ADMIN, "name": "ops", "team": "platform"}


def test_a_token_is_made_once_and_works_until_it_is_revoked(ask, orchestrator, monkeypatch):
    made = ask("token", "create", "--name", "eve", "--team", "nlp", "--role", "viewer", **ADMIN)
    assert made.exit_code == 0
    secret = made.stdout.strip()
    assert secret.startswith("orc_")
    assert "eve, viewer of nlp. Shown this once:" in made.stderr
    listed = ask("token", "list", "--json", **ADMIN)
    assert secret not in listed.stdout
    (token,) = [t for t in json.loads(listed.stdout)["tokens"] if t["name"] == "eve"]
    monkeypatch.setenv("ORCHESTRATOR_TOKEN", secret)
    assert orchestrator("jobs").exit_code == 0
    assert ask("token", "revoke", token["id"], **ADMIN).exit_code == 0
    monkeypatch.setenv("ORCHESTRATOR_TOKEN", secret)
    assert orchestrator("jobs").exit_code == 2
    again = ask("token", "revoke", token["id"], **ADMIN)
    assert again.exit_code == 2
    assert f"there is no token {token['id']} that is still good" in again.stderr


def test_tokens_are_listed_with_how_long_they_are_good(ask):
    ask("token", "create", "--name", "x", "--team", "nlp", "--expires-in-days", "3", **ADMIN)
    shown = ask("token", "list", "--team", "nlp", **ADMIN).stdout.splitlines()
    assert shown[0].split() == ["id", "name", "team", "role", "used", "expires"]
    row = shown[2].split()
    assert row[1:5] == ["x", "nlp", "submitter", "–"]
    assert row[5] == "in"
    assert (
        ask("token", "list", "--team", "none", **ADMIN).stdout
        == "There is no token of team none.\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--name", "x", "--team", "A B"], "team: 'A B' is not a name"),
        (["--name", "x", "--team", "local"], "no token can be of team local"),
        (["--name", "", "--team", "nlp"], "name: must not be empty"),
        (["--name", "x", "--team", "nlp", "--role", "king"], "'king' is not one of"),
        (["--name", "x", "--team", "nlp", "--expires-in-days", "0"], "is not in the range"),
        (["--name", "x", "--team", "nlp", "--offline", "--url", "http://x"], "--offline asks no"),
        (["--name", "x"], "--team"),
    ],
)
@pytest.mark.parametrize("how", [[], ["--offline"]])
def test_what_is_no_token_is_told(ask, words, told, how):
    done = ask("token", "create", *words, *how, **ADMIN)
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stdout == ""


def test_a_name_is_no_markup_and_no_escape_sequence(ask):
    made = ["token", "create", "--name", "[/a]:x:", "--team", "nlp"]
    assert ask(*made, **ADMIN).exit_code == 0
    assert "[/a]:x:" in ask("token", "list", **ADMIN).stdout


def test_tokens_are_an_admins(ask):
    done = ask("token", "create", "--name", "x", "--team", "vision", role=Role.LEAD)
    assert done.exit_code == 2
    assert "ada is a lead of vision, this takes an admin" in done.stderr


def test_the_first_token_is_made_without_a_server(orchestrator, tmp_path, monkeypatch):
    database = f"sqlite:///{tmp_path / 'rows.db'}"
    monkeypatch.setenv("ORCHESTRATOR_DATABASE", database)
    words = ["token", "create", "--offline", "--name", "ops", "--team", "ops", "--role", "admin"]
    made = orchestrator(*words, "--json")
    assert made.exit_code == 0, made.stderr
    document = json.loads(made.stdout)
    assert document["token"]["role"] == "admin"
    rows = Database.open(database)
    who = Tokens(rows).principal_of(digest_of(document["secret"]), 0.0)
    assert (who.name, who.team, who.role) == ("ops", "ops", Role.ADMIN)
    (entry,), _ = Audit(rows).list(Page())
    assert (entry.action, entry.target) == ("token create --offline", document["token"]["id"])
    rows.close()


# Logging in


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "home/.config/orchestrator/login.json"


def test_login_tries_a_token_and_keeps_it_for_its_owner_alone(
    orchestrator, place, server, kept, monkeypatch
):
    monkeypatch.delenv("ORCHESTRATOR_URL")
    token = place.token()
    done = orchestrator("login", "--url", f"{server.url}/", "--token-stdin", input=f"{token}\n")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{server.url} knows you as ada, submitter of team vision\n"
    assert token not in done.stdout + done.stderr
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert orchestrator("jobs").exit_code == 0
    place.job("cameras")
    assert "cameras" in orchestrator("jobs").stdout
    out = orchestrator("login", "--logout")
    assert out.stdout == f"{kept} is deleted\n"
    assert not kept.exists()
    assert "nothing kept" in orchestrator("login", "--logout").stdout


def test_a_token_that_is_refused_is_not_kept(orchestrator, server, kept):
    kept.parent.mkdir(parents=True)
    kept.write_text("{ damaged")  # and does not keep anybody from logging in
    for text, told in (
        ("orc_wrong\n", "unknown, revoked or has expired"),
        ("\n", "there is no token on stdin"),
        ("zwei worte\n", "this is no token"),
    ):
        done = orchestrator("login", "--url", server.url, "--token-stdin", input=text)
        assert done.exit_code == 2
        assert told in done.stderr
    assert kept.read_text() == "{ damaged"


def test_login_asks_in_a_terminal(orchestrator, place, server, kept, monkeypatch):
    monkeypatch.setattr(
        login_command.sys.stdin.__class__, "isatty", lambda self: True, raising=False
    )
    monkeypatch.setattr(login_command, "_need_terminal", lambda instead: None)
    token = place.token()
    done = orchestrator("login", input=f"{server.url}\n{token}\n")
    assert done.exit_code == 0, done.stderr
    assert token not in done.stdout + done.stderr  # typed without echo
    assert json.loads(kept.read_text()) == {"url": server.url, "token": token}
    assert "ORCHESTRATOR_URL is set and comes before what is kept" in done.stderr


def test_a_server_that_asks_nobody_needs_no_token(orchestrator, tmp_path, kept):
    folder = tmp_path / "open"
    folder.mkdir()
    place = Place(folder, authentication="off")
    with ApiServer(place.app, "127.0.0.1") as server:
        done = orchestrator("login", "--url", server.url, "--json")
        assert json.loads(done.stdout)["role"] == "admin"
        assert json.loads(kept.read_text()) == {"url": server.url, "token": None}
    place.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["login"], "give --url URL and --token-stdin"),
        (["login", "--url", "ftp://x"], "write http://… or https://…"),
        (["login", "--logout", "--token-stdin"], "--logout takes no other option"),
        (["login", "--url", "http://127.0.0.1:1", "--token-stdin"], "cannot be reached"),
    ],
)
def test_what_is_no_login_is_told(orchestrator, server, words, told):
    done = orchestrator(*words, input="orc_x\n")
    assert done.exit_code in (1, 2)
    assert told in done.stderr


def test_a_token_on_the_open_network_is_warned_about(orchestrator, monkeypatch, place, server):
    monkeypatch.setattr(login_command, "LOOPBACK", ())
    done = orchestrator("login", "--url", server.url, "--token-stdin", input=place.token())
    assert "is not encrypted: whoever listens on the way can read the token" in done.stderr


# Queues, machines, the trail


def test_an_admin_sets_up_queues_piece_by_piece(ask):
    words = ["--quota", "gpu=2", "--quota", "memory_bytes=64e9", "--weight", "vision=2"]
    made = ask("queues", "set", "gpus", *words, "--team", "vision", "--team", "nlp", **ADMIN)
    assert made.stdout == (
        "gpus is created: quota gpu 2, memory_bytes 64.0 GB; open to vision (share 2), nlp\n"
    )
    # What is not named stays as it is.
    changed = ask("queues", "set", "gpus", "--quota", "memory_bytes=", "--pause", **ADMIN)
    assert changed.stdout == "gpus is changed: quota gpu 2; open to vision (share 2), nlp; paused\n"
    document = json.loads(
        ask(
            "queues", "set", "gpus", "--unpause", "--no-preempt", "--all-teams", "--json", **ADMIN
        ).stdout
    )
    assert (document["quota"], document["teams"]) == ({"gpu": 2.0}, [])
    assert (document["is_paused"], document["allows_preemption"]) == (False, False)
    assert ask("queues", "delete", "gpus", **ADMIN).stdout == "gpus is deleted\n"
    assert ask("queues", "delete", "gpus", **ADMIN).exit_code == 2


@pytest.mark.parametrize("width", ["80", "120"])
def test_queues_are_listed_with_their_use(ask, place, monkeypatch, width):
    ask("queues", "set", "default", "--quota", "cpu=8", "--weight", "vision=3", **ADMIN)
    monkeypatch.setenv("COLUMNS", width)
    place.started(place.job("running").id)
    place.job("waiting")
    lines = ask("queues").stdout.splitlines()
    assert lines[0].split("  ")[0] == "queue"
    assert lines[2].split() == ["default", "1", "1", "cpu", "2", "of", "8", "all"]
    assert lines[3].split() == ["vision", "(share", "3)"]
    (queue,) = json.loads(ask("queues", "list", "--json").stdout)["queues"]
    assert (queue["used"]["cpu"], queue["running"], queue["waiting"]) == (2.0, 1, 1)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["set", "gpus", "--quota", "gpus=1"], "no resource is called 'gpus'"),
        (["set", "gpus", "--quota", "gpu=-1"], "quota.gpu: must be at least 0"),
        (["set", "gpus", "--quota", "gpu"], "write NAME=NUMBER"),
        (["set", "gpus", "--quota", "gpu=many"], "write NAME=NUMBER"),
        (["set", "gpus", "--team", "A"], "teams[0]: 'A' is not a name"),
        (["set", "gpus", "--team", "a", "--all-teams"], "exclude each other"),
        (["set", "a/b"], "is no id and no name"),
        (["--json", "delete", "gpus"], "behind the command"),
    ],
)
def test_what_is_no_queue_is_told(ask, words, told):
    done = ask("queues", *words, **ADMIN)
    assert done.exit_code == 2
    assert told in done.stdout + done.stderr


def test_queues_are_an_admins_to_set(ask):
    assert ask("queues", "set", "gpus", role=Role.LEAD).exit_code == 2
    assert ask("queues", "delete", "default", role=Role.LEAD).exit_code == 2


def test_nodes_are_listed_with_what_is_held(ask, place):
    place.started(place.job("running").id)
    assert ask("nodes").stdout.splitlines()[2].split() == [
        *("fake", "node-1", "2", "of", "8", "0", "of", "1", "A100", "0", "of", "1.00", "GB")
    ]
    (node,) = json.loads(ask("nodes", "--json").stdout)["nodes"]
    assert (node["used_cpus"], node["cpus"]) == (2.0, 8.0)


@pytest.mark.parametrize("width", ["80", "120"])
def test_the_trail_tells_who_asked_for_what(ask, place, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    job = place.job("cameras").id
    ask("suspend", job)
    ask("audit")  # refused, which is kept as well
    shown = ask("audit", role=Role.LEAD, name="lea").stdout.splitlines()
    assert shown[2].split()[2:] == ["ada", "of", "vision", "GET", "/audit", "403"]
    assert shown[3].split()[2:] == ["ada", "of", "vision", "POST", "/jobs/…/suspend", "200"]
    assert shown[4].split() == [job]
    assert max(map(len, shown)) <= int(width)
    document = json.loads(ask("audit", "--json", "--limit", "1", role=Role.LEAD, name="lea").stdout)
    assert (document["entries"][0]["action"], document["more"]) == ("GET /api/v1/audit", True)
