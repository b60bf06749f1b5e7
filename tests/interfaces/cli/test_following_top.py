"""`top`: what is on the screen at each size, and how it behaves in a terminal."""

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest
from rich.console import Console

from orchestrator.interfaces.cli.topview import Paces, Seen, fit, screen
from orchestrator.interfaces.wire import JobView, NodeView, Overview, Progress, QueueView
from orchestrator.interfaces.wire import WaitingView as View
from orchestrator.records import JobState, Placed, Role, Wait, WaitReason
from tests.control.builders import report
from tests.control.store.builders import a_job
from tests.interfaces.api.builders import SECRET

S = JobState
NOW = 1_800_000_600.0
WHY = "There is no room for 2 workers with 2 cores, 1.52 GB each at once (0 cores are free)."


def running(number, state=S.RUNNING, team="vision", **said):
    progress = {
        "attempt": 1,
        "phase": "train",
        "step": 40,
        "max_steps": 100,
        "metrics": {"loss": 0.4312, "samples_per_second": 61.4},
        "placement": (Placed(backend="ray", node=f"node-{number}", workers=2),),
        "running_at": NOW - 80,
        "reported_at": NOW,
    }
    job = a_job(number, state=state, started_at=NOW - 95, name=f"run-{number}", team=team)
    return JobView(**dict(job), progress=Progress(**{**progress, **said}))


def waiting(number, position=1, queue="default"):
    job = a_job(number, name=f"wait-{number}", queue=queue, queued_at=NOW - 61)
    waits = (Wait(reason=WaitReason.NO_ROOM, message=WHY),)
    return View(**{**dict(job), "waits": waits}, position=position)


def node(number, **said):
    given = {
        "cpus": 4.0,
        "used_cpus": 4.0,
        "memory_bytes": 64 * 10**9,
        "used_memory_bytes": 3 * 10**9,
    }
    return NodeView(backend="ray", name=f"node-{number}", **{**given, **said})


def overview(jobs=3, waits=8, nodes=3, **said):
    return Overview(
        **{
            "time": NOW,
            "team": "vision",
            "queues": (QueueView(name="default", running=jobs, waiting=waits, used={"cpu": 12.0}),),
            "nodes": tuple(node(n, gpus=2, used_gpus=1, accelerator="A100") for n in range(nodes)),
            "running": tuple(running(n) for n in range(jobs)),
            "waiting": tuple(waiting(100 + n, n + 1) for n in range(waits)),
            "suspended": 0,
            "num_running": jobs,
            "num_waiting": waits,
            **said,
        }
    )


def lines(shown, width=80, height=24, **seen):
    console = Console(width=width, height=height or 100, record=True, file=io.StringIO())
    told = Seen(shown, "http://server:8642", NOW, **seen)
    console.print(screen(told, console, width, height))
    return console.export_text().splitlines()


def test_everything_is_on_one_screen():
    shown = lines(overview())
    assert len(shown) == 24
    assert shown[0].split() == [
        "server:8642",
        "team",
        "vision",
        "3",
        "running",
        "8",
        "waiting",
        shown[0].split()[-1],
    ]
    text = "\n".join(shown)
    assert re.search(r"default +3 +8  cpu 12", text)
    assert re.search(r"node-0 +████████  4/4  ████░░░░  1/2  █░░░░░░░  3/64 GB  A100", text)
    assert re.search(r"run-0 +train +40/100 +61 +0\.4312 +2:00 +1:35  node-0 ×2", text)
    assert re.search(r" 1  wait-100 +1:01  There is no room for 2 workers", text)
    assert shown[-1].startswith("q leaves")


@pytest.mark.parametrize("width", [40, 80, 150])
@pytest.mark.parametrize("height", [6, 15, 24, 60])
@pytest.mark.parametrize("nodes", [3, 400])
def test_it_fits_into_every_window(width, height, nodes):
    shown = lines(overview(jobs=20, waits=200, nodes=nodes), width, height)
    assert len(shown) <= height
    assert max(map(len, shown)) <= width
    text = "\n".join(shown)
    assert "running" in text
    assert "waiting" in text


def test_jobs_come_before_the_cluster_where_there_is_little_room():
    text = "\n".join(lines(overview(), height=14))
    assert "node-0 " not in text.partition("running")[0]
    assert all(name in text for name in ("run-0", "run-1", "wait-100"))
    assert "… 4 more" in text


def test_what_the_server_leaves_out_is_counted():
    text = "\n".join(lines(overview(num_waiting=5_000), height=None))
    assert "… 4992 more" in text


def test_a_wide_window_has_ids_and_whole_reasons():
    text = " ".join(" ".join(lines(overview(), 130, 50)).split())
    assert overview().running[0].id in text
    assert "(0 cores are free)." in text


def test_teams_are_told_where_there_are_several():
    jobs = (running(1), running(2, team="text"))
    text = "\n".join(lines(overview(running=jobs, num_running=2, team=None), 100))
    assert re.search(r"run-2 +text +train", text)
    assert "all teams" in text
    assert "vision" not in "\n".join(lines(overview())[1:])


def test_many_nodes_are_told_together_and_one_that_is_away_apart():
    text = "\n".join(lines(overview(nodes=40), 80, 30))
    assert re.search(r"ray: 40 +█+  160/160", text)
    away = (node(1), node(2, is_alive=False))
    assert re.search(
        r"node-2 .* away", "\n".join(lines(overview(nodes=0).model_copy(update={"nodes": away})))
    )


def test_a_job_that_does_not_train_has_no_figures():
    fresh = running(1, S.STARTING, phase=None, step=None, max_steps=None, metrics={})
    text = "\n".join(lines(overview(running=(fresh,), num_running=1)))
    assert re.search(r"run-1 +starting +1:35  node-1 ×2", text)


def test_nothing_is_told_as_such():
    text = "\n".join(lines(overview(0, 0, 0)))
    for remark in ("nothing runs", "nobody waits", "no backend has answered yet"):
        assert remark in text
    assert lines(None) == ["asking http://server:8642 …"]


def test_a_server_that_is_away_is_told_above_what_was_known():
    shown = lines(overview(), notice="the server does not answer since 0:05; asking again")
    assert shown[1].startswith("the server does not answer")
    assert len(shown) == 24


def test_the_pace_follows_the_last_steps():
    """Not the mean since the start, which loading and a resumed step would spoil."""
    paces = Paces()
    for step in range(501, 511):
        at = NOW + (step - 501) * 2.0
        paces.take(overview(running=(running(1, step=step, max_steps=600, reported_at=at),)))
    job = running(1, step=510, max_steps=600)
    assert paces.seconds_left(job, NOW + 18.0) == pytest.approx(180.0)
    assert paces.seconds_left(job, NOW + 28.0) == pytest.approx(170.0)
    assert paces.seconds_left(running(2), NOW) == pytest.approx(120.0)
    assert paces.seconds_left(running(2, phase="publish"), NOW) is None


@pytest.mark.parametrize(
    ("needs", "room", "given"),
    [
        ([3, 8], 20, [3, 8]),
        ([3, 8], 9, [3, 6]),
        ([9, 9], 9, [5, 4]),
        ([0, 5], 3, [0, 3]),
        ([4, 4], 0, [0, 0]),
        ([4, 4], -2, [0, 0]),
    ],
)
def test_room_is_shared(needs, room, given):
    assert fit(needs, room) == given


# The command


def test_one_screen_without_a_terminal(ask, place):
    place.started(place.job("cameras").id)
    place.job("waits")
    done = ask("top")
    assert (done.exit_code, done.stderr) == (0, "")
    assert re.search(r"cameras +running", done.stdout)
    assert "waits" in done.stdout
    assert "q leaves" not in done.stdout
    assert ask("top", "--once").stdout.count("\n") == done.stdout.count("\n")


def test_as_json(ask, place):
    place.job("of others", team="text")
    (line,) = ask("top", "--once", "--json").stdout.splitlines()
    told = json.loads(line)
    assert (told["type"], told["num_waiting"], told["team"]) == ("overview", 0, "vision")
    (line,) = ask("top", "--once", "--json", "--team", "text", role=Role.ADMIN).stdout.splitlines()
    assert json.loads(line)["num_waiting"] == 1
    done = ask("top", "--json", "--url", "http://127.0.0.1:9", "--once")
    assert json.loads(done.stdout)["error"]["kind"] == "ServerUnavailable"


class Terminal:
    """`top` in a terminal of its own."""

    def __init__(self, server, token):
        self._ours, theirs = pty.openpty()
        self.resize(24, 80)
        environment = {
            **{name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")},
            "TERM": "xterm",
            "ORCHESTRATOR_URL": server.url,
            "ORCHESTRATOR_TOKEN": token,
        }
        self.settings = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.interfaces.cli.main", "top"],
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        self.raw = ""

    def resize(self, height, width):
        size = struct.pack("HHHH", height, width, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def type(self, keys):
        os.write(self._ours, keys)

    def until(self, pattern, seconds=60.0):
        """What was drawn since the last call, once it holds the pattern; how long that took."""
        began, self.raw = time.monotonic(), ""
        while not re.search(pattern, self.raw):
            left = began + seconds - time.monotonic()
            assert left > 0, f"{pattern} was not drawn:\n{self.raw[-3000:]}"
            if select.select([self._ours], [], [], left)[0]:
                self.raw += os.read(self._ours, 65536).decode(errors="replace")
        return time.monotonic() - began

    def close(self):
        self.process.kill()
        self.process.wait(10)
        os.close(self._ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(server, place):
    terminal = Terminal(server, place.token())
    yield terminal
    terminal.close()


def test_a_live_screen(terminal, place):
    """Drawn at once when something happens or the window changes; q leaves a clean terminal."""
    terminal.until("nobody waits")
    assert "\x1b[?1049h" in terminal.raw  # a screen of its own
    job = place.job("cameras")
    terminal.until("cameras")
    place.started(job.id)
    place.service.desk.receive(SECRET, report(1, job=job.id, step=77, max_steps=99))
    terminal.until("77/99")
    terminal.resize(24, 120)
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.until(job.id)
    terminal.type(b"q")
    terminal.until(r"\x1b\[\?1049l")
    assert terminal.process.wait(20) == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.settings


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_leave_a_clean_terminal(terminal, number):
    terminal.until("nobody waits")
    terminal.process.send_signal(number)
    terminal.until(r"\x1b\[\?1049l")
    assert terminal.process.wait(20) == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.settings
