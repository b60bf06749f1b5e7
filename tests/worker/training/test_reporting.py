from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from orchestrator.records import Action, Directive, Phase, Report
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.training.reporting import RankLog, Reporter
from tests.worker import tiny

AWAY = httpx.Response(503)


class Desk:
    """The control plane's end: scripted answers, and what arrived."""

    def __init__(self) -> None:
        self.heard: list[Report] = []
        self.answer: Callable[[], httpx.Response] = lambda: told(Action.CONTINUE)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self._receive))

    def _receive(self, request: httpx.Request) -> httpx.Response:
        answer = self.answer()
        if answer.is_success:
            self.heard.append(Report.model_validate_json(request.content))
        return answer


def told(action: Action, at: float | None = None) -> httpx.Response:
    return httpx.Response(200, text=Directive(action=action, at=at).model_dump_json())


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(open_store(str(tmp_path / "store")), "job-01arz3ndektsv4rrffq69g5fav")


def reporter(tmp_path: Path, store: CheckpointStore | None = None, rank: int = 0) -> Reporter:
    launch = tiny.launch(tmp_path / "base", tmp_path)
    return Reporter(launch.model_copy(update={"report_url": "http://desk/reports"}), rank, store)


def test_reports_wait_in_order_while_nobody_answers(tmp_path: Path) -> None:
    desk, speaker = Desk(), reporter(tmp_path)
    desk.answer = lambda: AWAY
    with desk.client() as client:
        for step in (1, 2, 3):
            speaker.update(phase=Phase.TRAIN, step=step, metrics={"loss": 1.0 / step})
            speaker.deliver(client)
        assert desk.heard == []
        desk.answer = lambda: told(Action.CONTINUE)
        speaker.update(step=4)
        speaker.deliver(client)
    assert [(r.sequence, r.step) for r in desk.heard] == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_heartbeats_do_not_pile_up_behind_what_waits(tmp_path: Path) -> None:
    desk, speaker = Desk(), reporter(tmp_path)
    desk.answer = lambda: AWAY
    with desk.client() as client:
        speaker.update(phase=Phase.TRAIN, step=1)
        for _ in range(5):
            speaker.deliver(client)
        desk.answer = lambda: told(Action.CONTINUE)
        speaker.deliver(client)
    assert [(r.sequence, r.step) for r in desk.heard] == [(6, 1)]


def test_a_refused_report_is_not_sent_again(tmp_path: Path) -> None:
    desk, speaker = Desk(), reporter(tmp_path)
    desk.answer = lambda: httpx.Response(401)
    with desk.client() as client:
        speaker.deliver(client)
        desk.answer = lambda: told(Action.CONTINUE)
        speaker.deliver(client)
    assert [r.sequence for r in desk.heard] == [2]


def test_save_and_stop_reaches_the_step_loop(tmp_path: Path) -> None:
    desk, speaker = Desk(), reporter(tmp_path)
    desk.answer = lambda: told(Action.SAVE_AND_STOP)
    with desk.client() as client:
        assert not speaker.should_stop
        speaker.deliver(client)
    assert speaker.should_stop


def test_stacks_are_left_once_for_each_time_they_are_asked_for(
    tmp_path: Path, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, speaker = Desk(), reporter(tmp_path, store, rank=1)
    left: list[int] = []
    put = store.put_stacks
    monkeypatch.setattr(
        store, "put_stacks", lambda attempt, rank, text: (left.append(rank), put(1, rank, text))
    )
    with desk.client() as client:
        for asked_at in (10.0, 10.0, 20.0):
            desk.answer = lambda at=asked_at: told(Action.DUMP_STACKS, at)  # type: ignore[misc]
            speaker.deliver(client)
    assert left == [1, 1]
    assert "test_stacks_are_left_once" in store.stacks(1)[1]


def test_output_is_sent_in_pieces_and_kept_when_it_has_grown(tmp_path: Path) -> None:
    file = tmp_path / "worker.err"
    file.write_bytes(b"epoch 1 \xe2\x9c\x93\n")
    log = RankLog(file)
    offset, piece = log.unsent()
    assert (offset, piece) == (0, b"epoch 1 \xe2\x9c\x93\n".decode("latin-1"))
    report = Report(
        job="j", attempt=1, rank=0, sequence=1, time=0, phase=Phase.TRAIN, log=piece, log_offset=0
    )
    log.mark_sent(report)
    assert not log.has_unsent
    assert log.grown() == file
    assert log.grown() is None
    with file.open("ab") as stream:
        stream.write(b"epoch 2\n")
    assert log.unsent() == (12, "epoch 2\n")
    assert log.grown() == file
