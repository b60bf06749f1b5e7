"""What a rank prints: secrets are hidden wherever a read ends, and there is an end to it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from orchestrator.worker.output_filter import Hiding, Limit, hidden_parts

SECRETS = ("hunter22", "hunt & gather/1", "line one\nsecond line\n")
TEXT = b"a hunter22 b hunt hunter2 hunt%20%26%20gather%2F1 second line, line one hunt & gather/1"
SHOWN = b"a *** b hunt hunter2 *** ***, *** ***"


def test_values_are_hidden_however_they_are_read() -> None:
    for first in range(len(TEXT)):
        for second in range(first, len(TEXT), 7):
            hiding = Hiding(hidden_parts(SECRETS))
            pieces = (TEXT[:first], TEXT[first:second], TEXT[second:])
            shown = b"".join(map(hiding.feed, pieces)) + hiding.end()
            assert shown == SHOWN, (first, second)


def test_only_what_may_be_a_beginning_waits() -> None:
    hiding = Hiding(hidden_parts(["hunter22"]))

    assert hiding.feed(b"step 1\n") == b"step 1\n"
    assert hiding.feed(b"the hun") == b"the "
    assert hiding.feed(b"t is on") == b"hunt is on"


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ([""], []),
        (["abc"], []),  # too short: it would hide half of everything
        (["abcd"], [b"abcd"]),
        (["a\tbcd"], [b"a%09bcd", b"a\\tbcd", b"a\tbcd"]),
        (["gr\u00fcn"], [b"gr%C3%BCn", b"gr\\u00fcn", b"gr\xc3\xbcn"]),
    ],
)
def test_spellings(values: list[str], parts: list[bytes]) -> None:
    assert hidden_parts(values) == parts


def test_a_limit_keeps_the_beginning_and_the_end() -> None:
    limit = Limit(max_bytes=10, tail_bytes=4)

    shown = b"".join(limit.feed(b"%05d" % number) for number in range(1000)) + limit.end()

    assert shown == (
        b"0000000001\n[the output of this rank is too long: only its end follows]\n"
        b"[4986 bytes are left out]\n0999"
    )


def test_within_the_limit_nothing_changes() -> None:
    limit = Limit(max_bytes=10, tail_bytes=4)

    assert limit.feed(b"01234") + limit.feed(b"56789") + limit.end() == b"0123456789"


RANK = """
import os, sys
from orchestrator.specs import RuntimeSpec
from orchestrator.worker.output import filtered_output, output_file
before = output_file()
with filtered_output(RuntimeSpec(secrets=("hf-token",))):
    assert output_file() == before, (output_file(), before)
    print("printed", os.environ["HF_TOKEN"])
    os.write(2, b"native hunter22\\n")
    os.system("echo child $HF_TOKEN")
    if sys.argv[1] == "dies":
        print("last words of hunt", end="", flush=True)
        os.kill(os.getpid(), 9)
print("after")
"""


@pytest.mark.parametrize(("how", "last"), [("ends", "after\n"), ("dies", "last words of hunt")])
def test_children_and_last_words_pass_it_too(how: str, last: str) -> None:
    environment = {"HF_TOKEN": "hunter22", "PATH": "/bin"}
    command = [sys.executable, "-u", "-c", RANK, how]
    # A pipe ends with the last that holds it: the filter, where the rank was killed.
    rank = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, timeout=60
    )

    assert rank.stdout.decode() == f"printed ***\nnative ***\nchild ***\n{last}"
    assert rank.returncode == (0 if how == "ends" else -9)
