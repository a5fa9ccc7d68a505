"""How figures are printed on a terminal; live bars and lines are tested with the studies that show them."""

import io

import pytest
from rich.console import Console

from bpfree.progress import Bars, duration, rounded


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.012"), (4.44, "4.4"), (190.4, "190"), (12_345, "12,000"), (1.9e6, "1,900,000"), (0, "0")],
)
def test_no_figure_has_an_exponent_without_need(value, text):
    assert rounded(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(12, "12 s"), (119, "119 s"), (180, "3 min"), (4800, "80 min"), (7860, "2 h 11 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("total", "done", "said"), [(8, 0, [2, 4, 6]), (3, 0, [1, 2]), (24, 12, [18]), (1, 0, [])])
def test_without_a_terminal_each_quarter_is_said(total, done, said):
    text = io.StringIO()
    bars = Bars(Console(file=text))
    bars.begin("tuning", total, done)
    for _ in range(total - done):
        bars.advance("tuning", "best 90 %")
    assert text.getvalue().splitlines() == [f"tuning: {n} of {total}, best 90 %" for n in said]
