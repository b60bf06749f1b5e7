"""How numbers are written for people: durations, sizes, counts, shares, ages.

Called by the tables and the progress displays, so that a kind of figure looks alike everywhere.
"""

from __future__ import annotations

import math

_BYTE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")  # powers of 1000, as specs count `_gb`
NOTHING = "–"


def duration(seconds: float) -> str:
    """`0.8 s` below ten seconds, then `42 s`, `3:05`, `2:10:44`, `3 d 4:12:00`."""
    if not math.isfinite(seconds):
        return NOTHING
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if hours == 0:
        return f"{minute}:{second:02}"
    days, hour = divmod(hours, 24)
    clock = f"{hour}:{minute:02}:{second:02}"
    return f"{days} d {clock}" if days else clock


def stopwatch(seconds: float) -> str:
    """`0:07`, `3:05`, `1:02:44`: a figure that is redrawn each second and keeps its width."""
    minutes, second = divmod(max(int(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def size(num_bytes: float) -> str:
    """`91.6 MB`: three significant figures in powers of 1000."""
    value = float(num_bytes)
    for unit in _BYTE_UNITS:
        if abs(value) < 999.5 or unit == _BYTE_UNITS[-1]:
            break
        value /= 1000
    return f"{value:.0f} B" if unit == "B" else f"{_three_figures(value)} {unit}"


def count(number: float) -> str:
    """`22.7 M`, `1,234`: exact below a hundred thousand."""
    if abs(number) < 100_000:
        return f"{round(number):,}"
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * limit:
            return f"{_three_figures(number / limit)} {unit}"
    raise AssertionError(number)


def percent(share: float) -> str:
    """`12 %`; small shares keep a figure, so that 0.4 % is not 0 %."""
    if not math.isfinite(share):
        return NOTHING
    value = 100 * share
    if 0 < value < 0.05:
        return "<0.1 %"
    return f"{value:.0f} %" if value == 0 or value >= 9.95 else f"{value:.1f} %"


def score(value: object, *, signed: bool = False) -> str:
    """A metric at three decimals; what is no number becomes a dash."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return NOTHING
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def rate(value: float) -> str:
    """A learning rate: `5.0e-05`."""
    return f"{value:.1e}"


def age(seconds: float) -> str:
    """`just now`, `5 min ago`, `3 h ago`, `12 d ago`."""
    if seconds < 60:
        return "just now"
    for limit, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= limit:
            return f"{int(seconds // limit)} {unit} ago"
    raise AssertionError(seconds)


def short_age(seconds: float) -> str:
    """`40 s`, `5 min`, `3 h`, `12 d`: how long, roughly."""
    if seconds < 60:
        return f"{max(int(seconds), 0)} s"
    return age(seconds).removesuffix(" ago")


def _three_figures(value: float) -> str:
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
