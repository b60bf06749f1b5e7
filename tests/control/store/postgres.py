"""A real PostgreSQL server on a Unix socket in a temporary folder, for tests that talk to one."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

_SETTINGS = {
    "fsync": "off",  # only a crash of the machine would lose something
    "full_page_writes": "off",
    "listen_addresses": "''",
    "shared_buffers": "32MB",
    "deadlock_timeout": "100ms",
    "autovacuum": "off",
}


def postgres_folder() -> Path | None:
    """Where initdb and pg_ctl are: on the PATH, or where Debian puts them, the newest first."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in folders), key=lambda p: float(p.parent.name), default=None)


@dataclass
class PostgresServer:
    """Start, kill, start again: rows stay in its folder."""

    programs: Path
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="pg-")))

    def address(self, database: str = "postgres") -> str:
        return f"postgresql://tester@/{database}?host={self.folder}"

    def create(self) -> None:
        """The server's files."""
        self.folder.chmod(0o700)
        if user := _unprivileged():
            shutil.chown(self.folder, user)
        self._run("initdb", "-D", self._data, "-U", "tester", "-A", "trust", "-E", "UTF8", "-N")

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        log = str(self.folder / "log")
        options += f" -c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "-D", self._data, "-l", log, "-w", "-t", "30", "-o", options, "start")

    def kill(self) -> None:
        """As a crash: nothing is finished, and the next start recovers from the log."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def crash(self) -> None:
        """`kill -9` of its first process; returns when the others have followed it."""
        pid_file = Path(self._data) / "postmaster.pid"
        first = psutil.Process(int(pid_file.read_text().split()[0]))
        family = [first, *first.children(recursive=True)]
        first.kill()
        _, alive = psutil.wait_procs(family, timeout=20)
        if alive:
            raise RuntimeError(f"sessions outlive their server: {alive}")

    def new_database(self, name: str) -> str:
        """Its address; it is empty."""
        with psycopg.connect(self.address(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.address(name)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        if user := _unprivileged():  # the server refuses to be root's
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
        with (self.folder / "output").open("ab") as output:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/"
            )
        if done.returncode != 0:
            text = (self.folder / "output").read_text(errors="replace")
            raise RuntimeError(f"{program} failed:\n{text[-2000:]}")


def somebody_waits_for_a_lock(address: str) -> bool:
    """Whether a session of this database is held up by another."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with psycopg.connect(address) as connection:
        found = connection.execute(f"{query} AND datname = current_database()".encode())
        return found.fetchone() != (0,)


def _unprivileged() -> str | None:
    """Whom the server runs as: an ordinary user's own, else the system's."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
