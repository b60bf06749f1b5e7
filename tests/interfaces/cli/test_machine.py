import shutil
from importlib import metadata

import pytest

from orchestrator.interfaces.cli import machine
from orchestrator.interfaces.cli.machine import Check, Status
from orchestrator.settings import load_settings

GB = 1_000_000_000


def found(name, **flags):
    return machine.CHECKS[name](load_settings(flags))


@pytest.fixture
def bare(monkeypatch):
    """A machine with the control plane alone."""

    def version(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(machine.metadata, "version", version)


def test_without_the_worker_extra_each_part_has_its_remedy(bare):
    checks = {check.name: check for check in machine.checks(load_settings())}
    for name in ("torch", "deepspeed", "deepspeed ops", "ray", "transformers"):
        assert checks[name].status is Status.FAILED
        assert checks[name].remedy == "pip install 'finetune-orchestrator[worker]'"
    for name in ("python", "store", "memory", "disk", "ports", "settings"):
        assert checks[name].status is not Status.FAILED, checks[name]


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(monkeypatch, bare):
    def broken(settings):
        raise ZeroDivisionError("odd machine")

    monkeypatch.setitem(machine.CHECKS, "memory", broken)
    checks = list(machine.checks(load_settings()))
    assert Check("memory", Status.FAILED, "ZeroDivisionError: odd machine") in checks
    assert checks[-1].name == "settings"


def test_a_store_that_is_not_there_yet_is_not_created(work, bare):
    check = found("store")
    assert check.status is Status.OK
    assert "will be created by the first run" in check.detail
    assert list(work.iterdir()) == []


def test_a_store_is_really_written_to(work, bare):
    (work / "models").mkdir()
    assert found("store").detail.endswith("can be read and written")
    (work / "file").touch()
    check = found("store", store="file")
    assert check.status is Status.FAILED
    assert check.remedy


def test_an_unknown_kind_of_store(bare):
    check = found("store", store="ftp://host/models")
    assert (check.status, "ftp://" in check.detail) == (Status.FAILED, True)


def test_a_long_temporary_folder_is_too_long_for_ray(tmp_path):
    check = found("ray", ray_temp_dir=tmp_path / ("x" * 40))
    assert check.status is Status.FAILED
    assert "at most 40 characters" in check.remedy


def test_little_disk_names_what_to_move(monkeypatch, bare):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 8, GB))
    check = found("disk")
    assert check.status is Status.WARNING
    assert check.detail == "free for store 1.00 GB, cache 1.00 GB, ray 1.00 GB"


def test_little_shared_memory_names_the_docker_option(monkeypatch, bare):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 8, 64_000_000)
    )
    check = found("shared memory")
    assert (check.status, "--shm-size" in check.remedy) == (Status.WARNING, True)


def test_an_address_that_is_not_ours(bare):
    check = found("ports", report_host="192.0.2.1")
    assert check.status is Status.FAILED
    assert "ORCHESTRATOR_REPORT_HOST" in check.remedy


def test_an_unknown_variable_is_told(monkeypatch, bare):
    monkeypatch.setenv("ORCHESTRATOR_STOER", "x")
    check = found("settings")
    assert check.status is Status.WARNING
    assert "ORCHESTRATOR_STOER is no setting" in check.detail
