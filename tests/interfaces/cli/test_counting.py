from orchestrator.interfaces.cli.counting import _Lines, counted
from tests.interfaces.cli.scripted import FakeClock


def test_a_long_pass_is_told_every_ten_seconds():
    clock, told = FakeClock(), []
    advance = _Lines("rows labelled", 1_000, clock=clock, write=told.append)
    for _ in range(10):
        clock.pass_seconds(4)
        advance(100)
    assert told == [
        "rows labelled 300 of 1,000, 0:28 left",
        "rows labelled 600 of 1,000, 0:16 left",
        "rows labelled 900 of 1,000, 0:04 left",
    ]


def test_a_short_pass_says_nothing(capsys):
    with counted("rows labelled", 2) as advance:
        advance(2)
    assert capsys.readouterr().err == ""
