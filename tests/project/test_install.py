"""What scripts/install.py reads off a machine: pip's settings and a CPU-only torch."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path
from types import ModuleType

import pytest

from tests.project import ROOT


@pytest.fixture(scope="module")
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", ROOT / "scripts" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LISTING = """\
:env:.find-links='/wheels https://wheels.example/simple'
global.cert='/etc/ssl/company.pem'
global.find-links='/old'
global.index-url='https://index.example/simple'
install.index-url='https://index.example/install'
freeze.timeout='3'
"""


def test_environment_beats_install_beats_global(install: ModuleType) -> None:
    assert install.parse_pip_settings(LISTING) == {
        "find-links": "/wheels https://wheels.example/simple",
        "cert": "/etc/ssl/company.pem",
        "index-url": "https://index.example/install",
    }


def test_a_machine_without_settings(install: ModuleType) -> None:
    assert install.parse_pip_settings("") == {}
    assert install.find_links({}) == []


def test_find_links_are_plain_folders_and_pages(install: ModuleType) -> None:
    settings = {"find-links": "/wheels file:///more/wheels\nhttps://wheels.example/simple"}

    assert install.find_links(settings) == [
        "/wheels",
        "/more/wheels",
        "https://wheels.example/simple",
    ]


MACHINE = platform.machine()


@pytest.mark.parametrize(
    ("wheels", "version"),
    [
        pytest.param([], None, id="empty folder"),
        pytest.param(
            [f"torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_{MACHINE}.whl"], "2.13.0+cpu", id="one"
        ),
        pytest.param(
            [
                f"torch-2.9.1+cpu-cp311-cp311-manylinux_2_28_{MACHINE}.whl",
                f"torch-2.13.0+cpu-cp311-cp311-linux_{MACHINE}.whl",
            ],
            "2.13.0+cpu",
            id="newest by number, not by letter",
        ),
        pytest.param(
            [f"torch-2.13.0+cpu-cp312-cp312-manylinux_2_28_{MACHINE}.whl"],
            None,
            id="other interpreter",
        ),
        pytest.param(
            ["torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_pdp11.whl"], None, id="other processor"
        ),
        pytest.param(
            [
                f"torch-2.13.0+cu130-cp311-cp311-manylinux_2_28_{MACHINE}.whl",
                f"torch-2.13.0-cp311-cp311-manylinux_2_28_{MACHINE}.whl",
                f"torchvision-0.30.0+cpu-cp311-cp311-manylinux_2_28_{MACHINE}.whl",
            ],
            None,
            id="no CPU build of torch",
        ),
    ],
)
def test_cpu_torch(
    install: ModuleType, tmp_path: Path, wheels: list[str], version: str | None
) -> None:
    for wheel in wheels:
        (tmp_path / wheel).touch()

    folders = ["https://wheels.example/simple", str(tmp_path), str(tmp_path / "absent")]
    assert install.cpu_torch(folders, "cp311") == version


def test_pip_settings_in_uvs_words(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_INDEX", "UV_FIND_LINKS", "UV_DEFAULT_INDEX", "UV_INSECURE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/already/set.pem")
    settings = {
        "index-url": "https://index.example/simple",
        "extra-index-url": "file:///partial/mirror https://more.example/simple",
        "cert": "/etc/ssl/company.pem",
    }

    environment = install.uv_environment(settings, ["/wheels", "/more"])

    assert environment["UV_DEFAULT_INDEX"] == "https://index.example/simple"
    assert environment["UV_INDEX"] == "https://more.example/simple"
    assert environment["UV_FIND_LINKS"] == "/wheels,/more"
    assert environment["SSL_CERT_FILE"] == "/already/set.pem"
    assert "UV_INSECURE_HOST" not in environment
