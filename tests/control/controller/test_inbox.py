from __future__ import annotations

from orchestrator.control.controller.inbox import AttemptInbox, Inboxes
from orchestrator.records import Action
from tests.control.builders import JOB, report


def test_reports_are_taken_once_and_in_order() -> None:
    inbox = AttemptInbox(JOB, 1, "t")
    inbox.receive(report(1, step=1))
    inbox.receive(report(2, step=2))
    inbox.receive(report(2, step=2))  # its answer was lost
    inbox.receive(report(1, step=1))  # overtaken
    assert [(r.sequence, r.step) for r in inbox.take()] == [(1, 1), (2, 2)]
    assert inbox.take() == []


def test_each_rank_counts_for_itself() -> None:
    inbox = AttemptInbox(JOB, 1, "t")
    inbox.receive(report(5, rank=0))
    inbox.receive(report(1, rank=1))
    assert [(r.rank, r.sequence) for r in inbox.take()] == [(0, 5), (1, 1)]


def test_the_directive_answers_every_report_from_then_on() -> None:
    inbox = AttemptInbox(JOB, 1, "t")
    assert inbox.receive(report(1)).action is Action.CONTINUE
    inbox.answer_with(Action.SAVE_AND_STOP)
    assert inbox.receive(report(2)).action is Action.SAVE_AND_STOP
    assert inbox.receive(report(2)).action is Action.SAVE_AND_STOP


def test_a_token_opens_its_own_inbox_only_while_it_is_open() -> None:
    inboxes = Inboxes()
    first = inboxes.open(JOB, 1, "one")
    second = inboxes.open(JOB, 2, "two")
    assert inboxes.by_token("one") is first
    assert inboxes.by_token("two") is second
    assert inboxes.by_token("three") is None
    assert inboxes.by_token("") is None
    assert inboxes.by_token("zwölf") is None
    inboxes.close(first)
    assert inboxes.by_token("one") is None
