"""A method's points: what each took, how good a few of them would have been, which knobs mattered, what was chosen."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from bpfree import scoring
from bpfree.outcomes import NAIVE, Arm, Budget, MethodOutcome
from bpfree.report import form
from bpfree.report.calibration_runs import Arrival, Calibration, title
from bpfree.statistics import Interval

FEWEST_POINTS = 8
"""With fewer a rank correlation says nothing."""
SCHEDULE = {"schedule": "shape", "warmup": "warmup", "horizon": "horizon"}
"""Knobs that are of the schedule, and its fields."""


def value_of(arm: Arm, knob: str) -> Any:
    """An arm's value of a knob."""
    return getattr(arm.schedule, SCHEDULE[knob]) if knob in SCHEDULE else arm.hyperparameters[knob]


def written(value: Any) -> str:
    """A knob's value."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def label(knob: str) -> str:
    """A knob's name, which may be broken into lines."""
    return knob.replace("_", " ")


def score_of(row: dict[str, list[Arrival]], suite: Sequence[Budget]) -> float:
    """An arm's score against the fixed references: what it was selected by, among arms that reach as many targets."""
    ratios = [scoring.median([run.steps for run in row[b.name]]) / (b.reference_steps or b.max_steps) for b in suite]
    return scoring.score(ratios)


def hits(row: dict[str, list[Arrival]]) -> int:
    """How many targets an arm reached, at the median over seeds."""
    return sum(math.isfinite(scoring.median([run.steps for run in runs])) for runs in row.values())


def point_scores(method: MethodOutcome, found: Calibration) -> list[float]:
    """The scores of a method's points, in their order; its defaults are none of them."""
    return [score_of(found.row(arm), found.outcome.workloads) for arm in method.arms if arm.name != NAIVE]


def steps(values: Sequence[float]) -> str:
    """The median of some steps, or a dash where it is a miss."""
    found = scoring.median(values)
    return f"{found:,.1f}".removesuffix(".0") if math.isfinite(found) else form.ABSENT


def cell(runs: Sequence[Arrival]) -> str:
    """Steps to the target, or why there are none."""
    took = steps([run.steps for run in runs])
    others = [run.status.replace("_", " ") for run in runs if run.status != "completed"]
    return others[0] if others and took == form.ABSENT else took


def marks(method: MethodOutcome, arm: str) -> str:
    """What an arm was chosen for."""
    found = ["selected"] if arm == method.selected else ["runner-up"] if arm == method.runner_up else []
    others = [workload for workload, chosen in method.left_out.items() if chosen == arm != method.selected]
    return ", ".join(found + ([f"selected without {' or '.join(others)}"] if others else []))


def table(method: MethodOutcome, found: Calibration) -> dict[str, Any]:
    """Every arm of a method, the best first."""
    suite = found.outcome.workloads
    rows = []
    for arm in method.arms:
        row = found.row(arm)
        rank = (arm.name == method.selected, arm.name == method.runner_up, hits(row), score_of(row, suite))
        rows.append((rank, {
            "arm": arm.name,
            "values": [written(value_of(arm, knob)) for knob in method.knobs],
            "cells": [cell(row[b.name]) for b in suite],
            "reached": f"{hits(row)} of {len(suite)}",
            "score": f"{score_of(row, suite):.3f}",
            "marks": marks(method, arm.name),
        }))  # fmt: skip
    ordered = sorted(rows, key=lambda pair: pair[0], reverse=True)
    return {
        "name": title(method.name),
        "knobs": [(label(knob), span) for knob, span in method.knobs.items()],
        "rows": [row for _, row in ordered],
    }


def sensitivity(method: MethodOutcome, found: Calibration) -> dict[str, Any]:
    """How the score goes with each knob; with few points its range alone."""
    values = point_scores(method, found)
    return {
        "name": title(method.name),
        "range": (f"{min(values):.3f} to {max(values):.3f}", f"median {statistics.median(values):.3f}"),
        "knobs": [knob_row(method, knob, values, found.outcome.confidence) for knob in method.knobs],
    }


def knob_row(method: MethodOutcome, knob: str, values: Sequence[float], confidence: float) -> dict[str, Any]:
    """One knob: a rank correlation, or the mean scores of values that have no order."""
    settings = [value_of(arm, knob) for arm in method.arms if arm.name != NAIVE]
    row: dict[str, Any] = {
        "knob": knob,
        "span": method.knobs[knob],
        "correlation": (form.ABSENT, ""),
        "means": "",
        "r": None,
    }
    if len(set(settings)) < 2:
        row["means"] = "not varied"
    elif not all(isinstance(x, int | float) and not isinstance(x, bool) for x in settings):
        row["means"] = ", ".join(f"{x} {m:.3f}" for x, m in means(settings, values).items())
    elif len(set(values)) < 2:
        row["means"] = "all points score the same"
    else:
        row["r"] = r = spearman(settings, values, confidence)
        bounds = "" if r.low is None or r.high is None else f"{signed(r.low, 2)} to {signed(r.high, 2)}"
        row["correlation"] = (signed(r.estimate, 2), bounds)
    return row


def clear_knobs(sensitivities: Sequence[dict[str, Any]], confidence: float) -> str:
    """Which correlations show anything, and how many chance would."""
    known = [(s["name"], k["knob"], k["r"]) for s in sensitivities for k in s["knobs"] if k["r"]]
    clear = [
        f"{knob} of {name} ({signed(r.estimate, 2)})"
        for name, knob, r in known
        if r.low is not None and r.high is not None and not r.low <= 0 <= r.high
    ]
    return (
        f"Of {len(known)} correlations the interval of {len(clear)} leaves out 0{': ' if clear else ''}"
        f"{', '.join(clear)}. Chance alone would give about {form.digits((1 - confidence) * len(known), 2)}."
    )


def means(settings: Sequence[Any], values: Sequence[float]) -> dict[str, float]:
    """The mean score of each value of a knob."""
    names = [str(setting) for setting in settings]
    return {
        name: statistics.fmean(v for n, v in zip(names, values, strict=True) if n == name)
        for name in dict.fromkeys(names)
    }


def spearman(x: Sequence[float], y: Sequence[float], confidence: float) -> Interval:
    """Spearman's ρ with Bonett and Wright's interval (2000): tanh(artanh ρ ± z √((1 + ρ²/2) / (n − 3)))."""
    from scipy import stats  # a second, which no report of a study need wait

    rho, n = float(stats.spearmanr(x, y).statistic), len(x)
    if n < 4 or abs(rho) > 1 - 1e-12:
        return Interval(rho, None, None, confidence, n)
    half = stats.norm.ppf((1 + confidence) / 2) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    low, high = np.tanh([math.atanh(rho) - half, math.atanh(rho) + half])
    return Interval(rho, float(low), float(high), confidence, n)


def signed(value: float, places: int = 3) -> str:
    """A number with its sign, unless it rounds to zero."""
    text = f"{value:+.{places}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]


def setting(method: MethodOutcome) -> dict[str, Any]:
    """The chosen setting of a method beside its defaults."""
    naive, chosen = method.arm(NAIVE), method.arm(method.selected)
    return {
        "name": title(method.name),
        "arm": "defaults" if method.selected == NAIVE else f"point {method.selected}",
        "knobs": [
            (knob, written(value_of(chosen, knob)), written(value_of(naive, knob))) for knob in method.knobs
        ],
        "edges": "; ".join(text for knob in method.knobs if (text := edge(method, knob))),
    }  # fmt: skip


def edge(method: MethodOutcome, knob: str) -> str | None:
    """Whether the chosen value of a knob is the least or the greatest that was tried: a better one may lie beyond."""
    tried = [value_of(arm, knob) for arm in method.arms if arm.name != NAIVE]
    value = value_of(method.arm(method.selected), knob)
    of_a_list = "|" in method.knobs[knob] or len(set(map(str, tried))) < 3
    if method.selected == NAIVE or of_a_list or value not in (min(tried), max(tried)):
        return None
    return f"{knob}: the {'least' if value == min(tried) else 'greatest'} tried"
