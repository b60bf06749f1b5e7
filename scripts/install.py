"""Installs the project into .venv; called by `make install` and needing only the standard library.

It may be run at any time, by several people at once and after having been killed: a lock keeps
installs apart, a marker tells a torn .venv from a good one, and the stamp is written last.
"""

from __future__ import annotations

import ast
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / ".install.lock"
STAMP = VENV / ".installed"
TORN = ROOT / ".install.torn"  # exists while .venv is being written, and after a kill
INPUTS = (ROOT / "pyproject.toml", ROOT / "scripts" / "install.sh", Path(__file__))
EXTRAS = "worker,quickstart,dev"


class InstallError(Exception):
    """Something a person has to mend; the message says how."""


def main() -> int:
    try:
        with _only_one() as lock:
            if not _is_current():
                _install(lock)
    except InstallError as error:
        print(f"install: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        command = " ".join(str(part) for part in error.cmd)
        print(f"install: this failed (its output is above): {command}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("install: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


def _install(lock: int) -> None:
    started = time.monotonic()
    # 1. What only the machine's owner can provide.
    _check_compiler()
    # 2. The environment and uv. A torn one goes: packages that look installed may lack files.
    if TORN.exists():
        shutil.rmtree(VENV, ignore_errors=True)
    TORN.touch()
    if not _works(PYTHON):
        _say("creating .venv")
        _create_venv()
    settings = pip_settings()
    folders = find_links(settings)
    environment = uv_environment(settings, folders)
    uv = _uv(environment)
    # 3. The packages.
    torch = None if has_gpu() else cpu_torch(folders, _python_tag())
    constraints = VENV / "constraints.txt"
    constraints.write_text(f"torch=={torch}\n" if torch else "")
    _say(f"installing packages, torch {torch or 'as the package index has it'}")
    target = [f"--python={PYTHON}", f"--constraint={constraints}", f"--editable=.[{EXTRAS}]"]
    # A job starts some ten interpreters. Without bytecode, as where PYTHONDONTWRITEBYTECODE is set,
    # each of them would compile torch and Ray anew: half of a job's start.
    _run([uv, "pip", "install", "--compile-bytecode", *target], environment, lock)
    TORN.unlink()
    # 4. What DeepSpeed would otherwise compile in the middle of the first job.
    _say(f"packages are in place after {time.monotonic() - started:.0f} s; now DeepSpeed's ops")
    _run([PYTHON, "-m", "orchestrator.worker.training.ops"], lock=lock)
    STAMP.touch()
    _say(f"done in {time.monotonic() - started:.0f} s")


def pip_settings() -> dict[str, str]:
    """What pip is configured to use here, by option name; uv does not read pip's files itself."""
    for python in (PYTHON, Path(sys.executable)):
        listing = subprocess.run(
            [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
        )
        if listing.returncode == 0:
            return parse_pip_settings(listing.stdout)
    return {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name.startswith("PIP_")
    }


def parse_pip_settings(listing: str) -> dict[str, str]:
    """Reads `pip config list`: the environment wins over `install`, and that over `global`."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for section, option, value in re.findall(
        r"^(global|install|:env:)\.([\w-]+)=(.*)$", listing, re.M
    ):
        sections[section][option] = str(ast.literal_eval(value))
    return {**sections["global"], **sections["install"], **sections[":env:"]}


def find_links(settings: Mapping[str, str]) -> list[str]:
    """The folders and pages pip looks into besides its index, folders as plain paths."""
    return [entry.removeprefix("file://") for entry in settings.get("find-links", "").split()]


def cpu_torch(folders: Sequence[str], tag: str) -> str | None:
    """The newest CPU-only torch in local folders of wheels, as `2.9.0+cpu`.

    Args:
        folders: Folders; pages (with a scheme) are passed over.
        tag: The interpreter as wheels name it, e.g. `cp311`.
    """
    pattern = re.compile(rf"torch-([\d.]+\+cpu)-{tag}-{tag}-.*{re.escape(platform.machine())}\.whl")
    found = [
        match[1]
        for folder in folders
        if "://" not in folder
        for wheel in Path(folder).glob("torch-*.whl")
        if (match := pattern.fullmatch(wheel.name))
    ]
    return max(found, key=_release, default=None)


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded: such a machine gets the index's torch, built for it."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def uv_environment(settings: Mapping[str, str], folders: Sequence[str]) -> dict[str, str]:
    """The process environment plus pip's settings in uv's words; what is set for uv stays.

    Local `file://` indexes are left out: uv takes a package from the first index that names it, so
    a partial mirror would hide the full one.
    """
    extra = [url for url in settings.get("extra-index-url", "").split() if url.startswith("http")]
    translated = {
        "UV_FIND_LINKS": ",".join(folders),
        "UV_DEFAULT_INDEX": settings.get("index-url", ""),
        "UV_INDEX": " ".join(extra),
        "UV_INSECURE_HOST": settings.get("trusted-host", ""),
        "UV_HTTP_TIMEOUT": settings.get("default-timeout", settings.get("timeout", "")),
        "SSL_CERT_FILE": settings.get("cert", ""),
    }
    return {**{name: value for name, value in translated.items() if value}, **os.environ}


def _check_compiler() -> None:
    compiler = os.environ.get("CXX", "c++").split()[0]
    if shutil.which(compiler) is None:
        raise InstallError(
            f"no C++ compiler ({compiler}); DeepSpeed compiles parts of itself with it "
            "(Debian and Ubuntu: apt-get install g++)"
        )
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        raise InstallError(
            f"{header} is missing; DeepSpeed's compiled parts need it "
            "(Debian and Ubuntu: apt-get install python3-dev)"
        )


def _create_venv() -> None:
    if shutil.which("uv"):
        _run(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, VENV])
        return
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise InstallError(
            "this Python cannot create environments: install its venv module (Debian and Ubuntu: "
            f"apt-get install python3-venv) or uv\n{made.stdout}{made.stderr}"
        )


def _uv(environment: Mapping[str, str]) -> Path:
    """uv from the PATH, or from .venv, where pip puts it when it is nowhere."""
    if found := shutil.which("uv"):
        return Path(found)
    own = VENV / "bin" / "uv"
    if not _works(own):
        _run([PYTHON, "-m", "pip", "install", "--quiet", "uv"], environment)
    return own


def _works(program: Path) -> bool:
    try:
        return subprocess.run([program, "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def _python_tag() -> str:
    code = "import sys; print(f'cp{sys.version_info.major}{sys.version_info.minor}')"
    return subprocess.check_output([PYTHON, "-c", code], text=True).strip()


def _release(version: str) -> list[int]:
    return [int(part) for part in version.removesuffix("+cpu").split(".")]


def _run(
    command: Sequence[str | Path],
    environment: Mapping[str, str] = os.environ,
    lock: int | None = None,
) -> None:
    # A child keeps the lock open, so that it holds for as long as an orphaned uv still writes.
    kept = () if lock is None else (lock,)
    subprocess.run(command, cwd=ROOT, env=environment, pass_fds=kept, check=True)


def _is_current() -> bool:
    """Whether another install finished between make's look at the stamp and the lock."""
    if not STAMP.exists():
        return False
    return STAMP.stat().st_mtime >= max(path.stat().st_mtime for path in INPUTS)


@contextmanager
def _only_one() -> Iterator[int]:
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another install is at work in this folder; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _say(text: str) -> None:
    print(f"install: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
