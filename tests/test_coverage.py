"""How often a nominal 95 % interval of paired differences covers the true mean; `docs/statistics.md` has the table.

`python tests/test_coverage.py` prints it anew.
"""

import math
from pathlib import Path

import numpy as np
import pytest

from bpfree.statistics import mean_interval

DOCUMENT = Path(__file__).parents[1] / "docs" / "statistics.md"
SEEDS = (3, 5, 7, 10, 20)
LAWS = {
    "normal": (lambda draw, n: draw.normal(size=n), 0.0),
    "Student’s t with 3 degrees of freedom": (lambda draw, n: draw.standard_t(3, n), 0.0),
    "exponential": (lambda draw, n: draw.exponential(size=n), 1.0),
    "log-normal, σ = 1": (lambda draw, n: draw.lognormal(size=n), math.exp(0.5)),
    "two clusters of equal size, 20 σ apart": (lambda d, n: d.choice([-1.0, 1.0], n) + d.normal(0, 0.1, n), 0.0),
    "one seed in ten 10 σ off": (lambda d, n: 10.0 * (d.random(n) < 0.1) + d.normal(size=n), 1.0),
}


def coverage(law: str, n: int, repetitions: int) -> float:
    """Share of intervals that hold the true mean."""
    draw = np.random.default_rng([n, *law.encode()])
    sample, mean = LAWS[law]
    covered = 0
    for _ in range(repetitions):
        found = mean_interval(sample(draw, n))
        covered += found.low <= mean <= found.high
    return covered / repetitions


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("law", list(LAWS)[:2])
def test_intervals_cover_what_they_say(law, n):
    assert 0.93 <= coverage(law, n, 10_000) <= 0.97  # chance alone: ± 0.4 points


@pytest.mark.parametrize("law", LAWS)
def test_the_document_says_what_is_so(law):
    (line,) = [line for line in DOCUMENT.read_text().splitlines() if line.startswith(f"| {law} |")]
    written = [float(cell) for cell in line.split("|")[2:-1]]
    assert [100 * coverage(law, n, 1500) for n in SEEDS] == pytest.approx(written, abs=4)  # 3 σ of 1,500 draws


if __name__ == "__main__":
    for law in LAWS:
        print(f"| {law} | " + " | ".join(f"{100 * coverage(law, n, 20_000):.1f}" for n in SEEDS) + " |")
