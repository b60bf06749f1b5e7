from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.backend_settings import FakeSettings, LocalSettings, RaySettings
from orchestrator.errors import SettingsError
from orchestrator.settings import load_settings, setting_names


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / ".config/orchestrator").mkdir(parents=True)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def write_personal(home: Path, text: str) -> Path:
    file = home / ".config/orchestrator/config.toml"
    file.write_text(text)
    return file


def test_defaults_are_marked_as_such(home: Path, project: Path) -> None:
    settings = load_settings(environ={"HOME": str(home)}, directory=project)
    assert settings.store == str(project / "models")
    assert settings.state_dir == home / ".local/state/orchestrator"
    assert settings.cache_dir == home / ".cache/orchestrator"
    assert settings.source("store") == settings.source("state_dir") == "default"
    assert settings.warnings == ()


def test_xdg_folders_are_respected(home: Path, project: Path, tmp_path: Path) -> None:
    environ = {"HOME": str(home), "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/c"}
    settings = load_settings(environ=environ, directory=project)
    assert settings.state_dir == Path("/s/orchestrator")
    assert settings.cache_dir == Path("/c/orchestrator")


def test_flag_beats_environment_beats_project_beats_personal(home: Path, project: Path) -> None:
    personal = write_personal(
        home,
        'log_level = "DEBUG"\nlog_format = "json"\nreport_host = "127.0.0.5"\nstore = "s3://a/b"\n',
    )
    (project / "orchestrator.toml").write_text(
        'log_format = "text"\nreport_host = "127.0.0.6"\nstore = "s3://c/d"\n'
    )
    environ = {
        "HOME": str(home),
        "ORCHESTRATOR_REPORT_HOST": "127.0.0.7",
        "ORCHESTRATOR_STORE": "s3://e/f",
    }
    settings = load_settings({"store": "s3://g/h"}, environ=environ, directory=project)
    assert (settings.log_level, settings.source("log_level")) == ("DEBUG", str(personal))
    assert (settings.log_format, settings.source("log_format")) == (
        "text",
        str(project / "orchestrator.toml"),
    )
    assert (settings.report_host, settings.source("report_host")) == (
        "127.0.0.7",
        "environment ORCHESTRATOR_REPORT_HOST",
    )
    assert (settings.store, settings.source("store")) == ("s3://g/h", "flag")


def test_a_flag_that_was_not_given_is_no_value(home: Path, project: Path) -> None:
    settings = load_settings({"store": None}, environ={"HOME": str(home)}, directory=project)
    assert settings.source("store") == "default"


def test_a_folder_in_a_file_is_relative_to_that_file(home: Path, project: Path) -> None:
    personal = write_personal(home, 'store = "shared-models"\n')
    settings = load_settings(environ={"HOME": str(home)}, directory=project)
    assert settings.store == str(personal.parent / "shared-models")


def test_a_folder_in_the_environment_is_relative_to_the_current_one(
    home: Path, project: Path
) -> None:
    environ = {"HOME": str(home), "ORCHESTRATOR_STORE": "out"}
    settings = load_settings(environ=environ, directory=project)
    assert settings.store == str(project / "out")


def test_the_config_variable_replaces_the_personal_file(
    home: Path, project: Path, tmp_path: Path
) -> None:
    write_personal(home, 'log_level = "DEBUG"\n')
    other = tmp_path / "other.toml"
    other.write_text('log_level = "ERROR"\n')
    environ = {"HOME": str(home), "ORCHESTRATOR_CONFIG": str(other)}
    settings = load_settings(environ=environ, directory=project)
    assert (settings.log_level, settings.source("log_level")) == ("ERROR", str(other))


def test_a_missing_config_file_is_an_error(home: Path, project: Path) -> None:
    environ = {"HOME": str(home), "ORCHESTRATOR_CONFIG": "/nowhere.toml"}
    with pytest.raises(SettingsError, match=r"ORCHESTRATOR_CONFIG: there is no file /nowhere"):
        load_settings(environ=environ, directory=project)


def test_an_unknown_name_in_toml_says_what_was_meant(home: Path, project: Path) -> None:
    (project / "orchestrator.toml").write_text('stroe = "x"\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={"HOME": str(home)}, directory=project)
    assert caught.value.message == f"{project}/orchestrator.toml: unknown setting 'stroe'"
    assert caught.value.hint == "did you mean store?"


def test_torn_toml_names_the_file(home: Path, project: Path) -> None:
    (project / "orchestrator.toml").write_text("store = \n")
    with pytest.raises(SettingsError, match=r"orchestrator\.toml: not valid TOML"):
        load_settings(environ={"HOME": str(home)}, directory=project)


def test_wrong_values_name_the_setting_and_its_source(home: Path, project: Path) -> None:
    environ = {
        "HOME": str(home),
        "ORCHESTRATOR_LOG_LEVEL": "LOUD",
        "ORCHESTRATOR_STORE_RETRY_SECONDS": "-1",
    }
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=environ, directory=project)
    lines = caught.value.message.splitlines()
    assert lines[0] == (
        "store_retry_seconds (environment ORCHESTRATOR_STORE_RETRY_SECONDS): "
        "input should be greater than or equal to 0, not '-1'"
    )
    assert lines[1].startswith("log_level (environment ORCHESTRATOR_LOG_LEVEL): input should be")


def test_an_unknown_variable_warns(home: Path, project: Path) -> None:
    environ = {"HOME": str(home), "ORCHESTRATOR_LOGLEVEL": "INFO"}
    settings = load_settings(environ=environ, directory=project)
    assert settings.warnings == (
        "ORCHESTRATOR_LOGLEVEL is no setting and has no effect (did you mean log_level?)",
    )


def test_variables_between_our_own_processes_do_not_warn(home: Path, project: Path) -> None:
    environ = {"HOME": str(home), "ORCHESTRATOR_REPORT_TOKEN": "hush-hush"}
    settings = load_settings(environ=environ, directory=project)
    assert settings.warnings == ()
    assert "hush-hush" not in repr(settings)


def test_every_setting_is_described_with_its_source(home: Path, project: Path) -> None:
    settings = load_settings(environ={"HOME": str(home)}, directory=project)
    rows = {row.name: row for row in settings.described()}
    assert rows["store"].value == str(project / "models")
    assert rows["store"].source == "default"
    assert "sources" not in rows
    assert all(row.description for row in rows.values())


def test_the_temporary_folder_leaves_room_for_rays_sockets(home: Path, project: Path) -> None:
    settings = load_settings(environ={"HOME": str(home)}, directory=project)
    assert len(str(settings.ray_temp_dir)) <= 30


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs/run.md").read_text()
    table = page.partition("## Settings")[2]
    assert [name for name in setting_names() if f"`{name}`" not in table] == []


def test_the_store_settings_become_the_variables_clients_read(home: Path, project: Path) -> None:
    environ = {"HOME": str(home), "ORCHESTRATOR_STORE_ENDPOINT": "http://127.0.0.1:8333"}
    settings = load_settings(environ=environ, directory=project)
    assert settings.store_environment() == {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:8333"}


def test_jobs_run_on_this_machine_unless_the_operator_says_otherwise(
    home: Path, project: Path
) -> None:
    settings = load_settings(environ={"HOME": str(home)}, directory=project)
    assert settings.backends == {"local": LocalSettings()}
    rows = {row.name: row.value for row in settings.described()}
    assert rows["backends"] == {"local": {"kind": "local"}}


def test_backends_are_tables_of_a_file(home: Path, project: Path) -> None:
    (project / "orchestrator.toml").write_text(
        '[backends.prod]\nkind = "ray"\nurl = "http://head:8265/"\ntoken_env = "PROD_TOKEN"\n'
        'network_interface = "eth1"\nenvironment = {OMP_NUM_THREADS = "4"}\n'
        '[backends.toy]\nkind = "fake"\nseconds = 0.5\nfails = {"broken-*" = "OutOfMemory"}\n'
    )
    settings = load_settings(environ={"HOME": str(home)}, directory=project)
    assert settings.backends == {
        "prod": RaySettings(
            kind="ray",
            url="http://head:8265",
            token_env="PROD_TOKEN",
            network_interface="eth1",
            environment={"OMP_NUM_THREADS": "4"},
        ),
        "toy": FakeSettings(kind="fake", seconds=0.5, fails={"broken-*": "OutOfMemory"}),
    }


def test_backends_are_one_object_in_the_environment(home: Path, project: Path) -> None:
    environ = {"HOME": str(home), "ORCHESTRATOR_BACKENDS": '{"toy": {"kind": "fake"}}'}
    settings = load_settings(environ=environ, directory=project)
    assert settings.backends == {"toy": FakeSettings(kind="fake")}


def test_prices_are_a_table_of_a_file_or_one_object(home: Path, project: Path) -> None:
    (project / "orchestrator.toml").write_text('[prices]\nH100 = 2.5\n"A100-80GB" = 2\n')
    settings = load_settings(environ={"HOME": str(home)}, directory=project)
    assert settings.prices == {"H100": 2.5, "A100-80GB": 2.0}
    environ = {"HOME": str(home), "ORCHESTRATOR_PRICES": '{"L4": 0.7}'}
    assert load_settings(environ=environ, directory=project).prices == {"L4": 0.7}
    assert load_settings(environ={"HOME": str(home)}, directory=home).prices == {}


@pytest.mark.parametrize("price", ['{"L4": 0}', '{"L4": "much"}', '{"L4": NaN}', "L4=2", "[1]"])
def test_a_wrong_price_names_the_setting(home: Path, project: Path, price: str) -> None:
    environ = {"HOME": str(home), "ORCHESTRATOR_PRICES": price}
    with pytest.raises(SettingsError, match=r"^prices.*\(environment ORCHESTRATOR_PRICES\): "):
        load_settings(environ=environ, directory=project)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            '[backends.a]\nkind = "ray"\nurl = "http://me:secret@head"\n',
            "backends.a.url ({file}): it holds a user name; "
            "name a token's variable with token_env instead",
        ),
        ('[backends.a]\nkind = "ray"\n', "backends.a.url ({file}): field required"),
        (
            '[backends.a]\nkind = "local"\ntoken = "x"\n',
            "backends.a.token ({file}): unknown setting",
        ),
        ("[backends]\n", "backends ({file}): dictionary should have at least 1 item"),
    ],
)
def test_a_wrong_backend_names_its_field(home: Path, project: Path, table: str, told: str) -> None:
    file = project / "orchestrator.toml"
    file.write_text(table)
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={"HOME": str(home)}, directory=project)
    assert caught.value.message.startswith(told.format(file=file))
    assert "secret" not in caught.value.message
