"""Planted leaks, skew and telling words are found; what is only alike in topic is not."""

from __future__ import annotations

import json
import random
import time
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

from orchestrator.inspect.data import inspect_data, read_tables
from orchestrator.inspect.data_report import DataReport, data_report
from orchestrator.inspect.near import near_pairs, words_of
from orchestrator.interfaces.cli import datareport
from tests.inspect.rows import data_spec, jsonl, write

WORDS = [f"w{n}" for n in range(3000)]


def sentence(seed: int, num_words: int = 16) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=num_words))


def changed(text: str) -> str:
    """One word of it replaced, in capitals and with a full stop."""
    words = text.split()
    words[5] = "other"
    return " ".join(words).upper() + "."


def report_on(folder: Path) -> DataReport:
    """Two domains: the second's test holds 3 copies and 4 near copies of the first's train."""
    train = [(sentence(n), "a" if n % 2 else "b") for n in range(100)]
    marked = [(f"{text} zzz" if label == "a" else text, label) for text, label in train]
    test = [(sentence(n), "a") for n in range(1000, 1030)]
    copies = [train[n][0].upper() for n in (2, 4, 6)]  # labelled b there, and a here
    near = [changed(train[n][0]) for n in (8, 10, 12, 14)]
    other = [(text, "a") for text in copies] + [(text, "b") for text in near]
    other += [(sentence(n), "b") for n in range(2000, 2013)]
    write(
        folder,
        train_jsonl=jsonl([*marked, marked[1]]),
        valid_jsonl=jsonl(test[:5]),
        test_jsonl=jsonl(test),
        other_jsonl=jsonl(other),
    )
    own = {"train": "train.jsonl", "valid": "valid.jsonl", "test": "test.jsonl"}
    spec = data_spec({"one": own, "two": {"test": "other.jsonl"}})
    tables = read_tables(spec, base_dir=folder, fetch=None)
    return data_report(inspect_data(spec, base_dir=folder, fetch=None), tables)


def test_planted_leaks_are_counted(tmp_path: Path) -> None:
    found = report_on(tmp_path)

    leak, between = found.shared
    assert (leak.domain, leak.split, leak.other_domain, leak.other_split) == (
        *("two", "test"),
        *("one", "train"),
    )
    assert (leak.exact, leak.near, leak.conflicts, leak.is_leak) == (3, 4, 3, True)
    assert leak.examples[0] == (changed(sentence(8)), sentence(8))
    assert (between.split, between.other_split, between.exact) == ("valid", "test", 5)
    assert [(r.domain, r.split, r.exact) for r in found.repeated] == [("one", "train", 1)]
    told = "\n".join(found.findings)
    assert "7 of 20 rows of two/test stand in one/train too (3 the same, 4 nearly)" in told
    assert "the classes of one/test are skewed: 'a' has 100% of the rows" in told


def test_a_word_that_gives_a_label_away_is_found(tmp_path: Path) -> None:
    (word,) = report_on(tmp_path).words
    assert (word.word, word.label, word.rows, word.purity, word.cover) == ("zzz", "a", 51, 1.0, 1.0)


def test_the_report_stands_alone_and_escapes_what_data_say(tmp_path: Path) -> None:
    train = [(f"{sentence(n)} <script>x</script>", "a" if n % 2 else "b") for n in range(20)]
    write(tmp_path, train_jsonl=jsonl(train), test_jsonl=jsonl([(changed(t), n) for t, n in train]))
    spec = data_spec({"one": {"train": "train.jsonl", "test": "test.jsonl"}})
    tables = read_tables(spec, base_dir=tmp_path, fetch=None)
    found = data_report(inspect_data(spec, base_dir=tmp_path, fetch=None), tables)

    page = datareport.html(found, "<job>")

    names: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: names.extend([tag, *(n for n, _ in attrs)])  # type: ignore[method-assign]
    parser.feed(page)
    assert {"script", "src", "href", "link", "img"}.isdisjoint(names)
    assert "&lt;script&gt;" in page
    assert "&lt;job&gt;" in page
    assert "url(" not in page
    assert "| one/test | one/train |" in datareport.markdown(found, "job")
    assert json.loads(json.dumps(found.document()))["shared"][0]["is_leak"] is True


def test_near_pairs_are_those_of_comparing_all() -> None:
    generator = random.Random(1)
    texts = []
    for number in range(120):
        words = sentence(number % 40, generator.randint(16, 20)).split()
        for _ in range(generator.randint(0, 2)):
            words[generator.randrange(len(words))] = generator.choice(WORDS)
        texts.append(" ".join(words))
    words_ = [words_of(text) for text in texts]

    def likeness(one: tuple[str, ...], other: tuple[str, ...]) -> float:
        sets = [{*w, *pairwise(w)} for w in (one, other)]
        return len(sets[0] & sets[1]) / len(sets[0] | sets[1])

    expected = {
        (i, j) for j in range(120) for i in range(j) if likeness(words_[i], words_[j]) >= 0.75
    }
    found = [(min(pair), max(pair)) for pair in near_pairs(words_)]
    assert len(expected) > 10
    assert sorted(found) == sorted(expected)


def test_twenty_thousand_rows_take_seconds() -> None:
    texts = [words_of(sentence(n)) for n in range(19_000)]
    texts += [words_of(changed(sentence(n))) for n in range(1000)]
    began = time.process_time()
    found = sum(1 for _ in near_pairs(texts))
    assert found == 1000
    assert time.process_time() - began < 15  # 1.5 s on a quiet core
