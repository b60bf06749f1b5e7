import pytest

from orchestrator.interfaces.cli import figures


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (-0.2, "0.0 s"),
        (0.84, "0.8 s"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (59.7, "1:00"),
        (185, "3:05"),
        (7844, "2:10:44"),
        (3 * 86_400 + 4 * 3_600 + 12 * 60, "3 d 4:12:00"),
        (float("inf"), "–"),
    ],
)
def test_duration(seconds, text):
    assert figures.duration(seconds) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.00 KB"),
        (91_600_000, "91.6 MB"),
        (999_600, "1.00 MB"),
        (2_147_483_648, "2.15 GB"),
    ],
)
def test_size(num_bytes, text):
    assert figures.size(num_bytes) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (7, "7"),
        (12_345, "12,345"),
        (22_713_600, "22.7 M"),
        (999_999, "1.00 M"),
        (124_000, "124 k"),
        (7.2e9, "7.20 G"),
    ],
)
def test_count(number, text):
    assert figures.count(number) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.0001, "<0.1 %"), (0.004, "0.4 %"), (0.0999, "10 %"), (1, "100 %")],
)
def test_percent_keeps_small_shares_apart_from_none(share, text):
    assert figures.percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.8862, "0.886"), (1, "1.000"), (None, "–"), (float("nan"), "–"), ("x", "–")],
)
def test_score(value, text):
    assert figures.score(value) == text


def test_a_signed_score_shows_its_direction():
    assert figures.score(0.4, signed=True) == "+0.400"
    assert figures.score(-0.01, signed=True) == "-0.010"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3, "just now"),
        (300, "5 min ago"),
        (3 * 3_600 + 5, "3 h ago"),
        (12 * 86_400, "12 d ago"),
    ],
)
def test_age(seconds, text):
    assert figures.age(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.9, "0:07"), (185, "3:05"), (3_764, "1:02:44"), (-1, "0:00")]
)
def test_stopwatch(seconds, text):
    assert figures.stopwatch(seconds) == text
