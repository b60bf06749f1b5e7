"""Machines that are network namespaces: each with an address of its own on one bridge.

A process in one sees the others through real sockets, can be cut off by taking its link down, and
is killed with everything beside it, as a machine would be. Wants root and iproute2 (Linux).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

INTERFACE = "fabric0"
"""Of every machine's link to the others: no library would choose it by itself."""

CONTROL = "control0"
"""Of the link to whoever watches the machines: it stays up when the other is taken down."""


def missing() -> str | None:
    """Why no machines can be made here; None: they can."""
    if os.name != "posix" or not Path("/proc/self/ns/net").exists():
        return "network namespaces are a thing of Linux"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "iproute2 and util-linux are not installed (apt-get install iproute2)"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    probe = f"orcprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False)
    if made.returncode != 0:
        return f"no namespace can be made: {made.stderr.decode().strip()}"
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return None


@dataclass(frozen=True)
class Machine:
    """One namespace, and the folder that is its private disk."""

    name: str
    namespace: str
    address: str  # on the bridge
    control: str  # where the watcher reaches it, whatever happens to the bridge
    disk: Path
    link: str  # its end of the cable, on the watcher's side

    def command(self, *command: str, disk: Path) -> list[str]:
        """Runs it there, under the machine's own host name, disk and shared memory.

        Args:
            command: What to run.
            disk: Where it sees its disk: the same place on each machine, each seeing its own.
        """
        prepare = (
            f"hostname {self.name} && mount --bind {self.disk} {disk} && "
            'mount -t tmpfs -o size=1g tmpfs /dev/shm && exec "$@"'
        )
        inside = ["unshare", "--uts", "sh", "-c", prepare, "sh", *command]
        return ["ip", "netns", "exec", self.namespace, *inside]

    def pids(self) -> list[int]:
        found = subprocess.run(
            ["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True
        )
        return [int(pid) for pid in found.stdout.split()]

    def kill(self) -> None:
        """As a power cut: every process at once, until none is left."""
        deadline = time.monotonic() + 20
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name}: {pids} do not die")
            time.sleep(0.05)

    def unplug(self) -> None:
        """Takes the cable out: packets are lost, nobody is told."""
        _ip("link", "set", self.link, "down")

    def plug(self) -> None:
        _ip("link", "set", self.link, "up")


class Network:
    """A bridge and its machines. Use as a context manager: nothing of them is left."""

    def __init__(self, names: tuple[str, ...], folder: Path) -> None:
        self.tag = f"orc{random.randrange(16**4):04x}"
        self.subnet = f"10.{random.randrange(128, 250)}.{random.randrange(2, 250)}"
        self.address = f"{self.subnet}.1"  # of whoever watches, on the bridge
        self.machines = {
            name: Machine(
                name=name,
                namespace=f"{self.tag}-{name}",
                address=f"{self.subnet}.{10 + number}",
                control=f"{self.subnet}.{128 + 4 * number + 2}",
                disk=folder / name,
                link=f"{self.tag}f{number}",
            )
            for number, name in enumerate(names)
        }

    def __enter__(self) -> Network:
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.machines.values():
            if Path(f"/run/netns/{machine.namespace}").exists():
                machine.kill()
                _ip("netns", "del", machine.namespace)  # its links go with it
        if Path(f"/sys/class/net/{self.tag}").exists():
            _ip("link", "del", self.tag)

    def _make(self) -> None:
        _ip("link", "add", self.tag, "type", "bridge")
        _ip("addr", "add", f"{self.address}/25", "dev", self.tag)
        _ip("link", "set", self.tag, "up")
        for number, machine in enumerate(self.machines.values()):
            machine.disk.mkdir(parents=True, exist_ok=True)
            _ip("netns", "add", machine.namespace)
            inside = ("-n", machine.namespace)
            _ip(*inside, "link", "set", "lo", "up")
            self._cable(machine, machine.link, INTERFACE)
            _ip("link", "set", machine.link, "master", self.tag)
            _ip(*inside, "addr", "add", f"{machine.address}/25", "dev", INTERFACE)
            control = f"{self.tag}c{number}"
            self._cable(machine, control, CONTROL)
            ours = f"{self.subnet}.{128 + 4 * number + 1}"
            _ip("addr", "add", f"{ours}/30", "dev", control)
            _ip(*inside, "addr", "add", f"{machine.control}/30", "dev", CONTROL)

    def _cable(self, machine: Machine, here: str, there: str) -> None:
        ends = ("type", "veth", "peer", "name", there, "netns", machine.namespace)
        _ip("link", "add", here, *ends)
        _ip("link", "set", here, "up")
        _ip("-n", machine.namespace, "link", "set", there, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
