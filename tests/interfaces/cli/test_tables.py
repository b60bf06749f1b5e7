"""Tables of figures, as a terminal of 80 columns shows them."""

import io

from rich.console import Console

from orchestrator.interfaces.cli.tables import metrics_table


def printed(after, before, metrics):
    out = io.StringIO()
    Console(file=out, width=80).print(metrics_table(after, before, metrics))
    return out.getvalue().splitlines()


def test_classes_have_a_floor():
    after = {"camera": {"accuracy": 0.9, "majority_accuracy": 0.8, "num_rows": 40}}
    header, _, row = printed(after, {}, ["accuracy"])[:3]
    assert header.split()[-2:] == ["floor", "rows"]
    assert row.split() == ["camera", "accuracy", "0.900", "–", "0.800", "40"]


def test_what_is_copied_is_the_floor_of_a_translation():
    after = {"cms": {"chrf": 0.4, "perplexity": 9.0, "copy_chrf": 0.3, "num_rows": 7}}
    header, _, chrf, perplexity = printed(after, {}, ["chrf", "perplexity"])[:4]
    assert header.split()[-2:] == ["floor", "rows"]
    assert chrf.split() == ["cms", "chrf", "0.400", "–", "0.300", "7"]
    assert perplexity.split() == ["perplexity", "9.000", "–", "–"]


def test_tokens_have_none_and_their_metrics_stay_on_a_line():
    values = {"perplexity": 29.66, "token_accuracy": 0.382, "num_rows": 24}
    values["intervals"] = {"perplexity": [23.353, 37.181], "token_accuracy": [0.351, 0.418]}
    before = {"pydoc": {"perplexity": 40.084, "token_accuracy": 0.355}}
    header, _, *rows = printed({"pydoc": values}, before, ["perplexity", "token_accuracy"])
    assert "floor" not in header
    assert len(rows) == 2
    assert rows[0].split()[:5] == ["pydoc", "perplexity", "40.084", "29.660", "-10.424"]
    assert "token_accuracy" in rows[1]


def test_numbers_have_a_floor_and_a_gain_that_is_less_error():
    after = {"camera": {"rmse": 0.9, "constant_rmse": 1.8, "pearson": 0.5, "num_rows": 40}}
    header, _, *rows = printed(
        after, {"camera": {"rmse": 2.0, "pearson": 0.1}}, ["rmse", "pearson"]
    )
    assert header.split()[-2:] == ["floor", "rows"]
    assert rows[0].split() == ["camera", "rmse", "2.000", "0.900", "-1.100", "–", "1.800", "40"]
    assert rows[1].split() == ["pearson", "0.100", "0.500", "+0.400", "–", "–"]
