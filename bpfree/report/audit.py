"""Imported runs read twice: as their source compares them, and as this report does.

As published: ratios of arithmetic means over all runs, a repeated seed as often as it was run, no interval. Audited:
the runs of one seed averaged first, then geometric means, with Welch's intervals, since the seeds of a method are not
the baseline's. In both, energy = steps × time per step × power.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bpfree.records import Record
from bpfree.report import form
from bpfree.report.quantities import accuracy_of, joules_of, seconds_of
from bpfree.report.summary import Method, Summary
from bpfree.statistics import Comparison

RATIOS = ("energy", "steps", "time per step", "power")
TIMES = {2: "twice", 3: "three times", 4: "four times"}


@dataclass(frozen=True)
class Published:
    """A method against the baseline, from arithmetic means over all runs of each."""

    accuracy_difference: float
    """As a fraction, method − baseline."""
    energy: float
    """The ratio of mean joules, and so the product of the three ratios below."""
    steps: float
    time_per_step: float
    """Of mean seconds over mean steps."""
    power: float
    """Of mean joules over mean seconds."""


def as_published(method: Method) -> Published | None:
    """What the source's own table says of a method; None where a run lacks a figure, or there is no baseline."""
    ours = means(method)
    theirs = means(method.reference) if method.reference else None
    if ours is None or theirs is None:
        return None
    (accuracy, joules, seconds, steps), (accuracy_0, joules_0, seconds_0, steps_0) = ours, theirs
    return Published(
        accuracy_difference=accuracy - accuracy_0,
        energy=joules / joules_0,
        steps=steps / steps_0,
        time_per_step=(seconds / steps) / (seconds_0 / steps_0),
        power=(joules / seconds) / (joules_0 / seconds_0),
    )


def means(method: Method) -> tuple[float, float, float, float] | None:
    """Arithmetic means of accuracy, joules, seconds and steps over all runs."""
    figures: tuple[Callable[[Record], float | None], ...] = (accuracy_of, joules_of, seconds_of, steps_of)
    found = [[figure(record) for record in method.completed] for figure in figures]
    known = [[value for value in values if value] for values in found]
    if not method.completed or [len(values) for values in known] != [len(values) for values in found]:
        return None
    accuracy, joules, seconds, steps = map(fmean, known)
    return accuracy, joules, seconds, steps


def steps_of(record: Record) -> float | None:
    """Updates, all stages together."""
    return record.cost.steps if record.cost else None


def repeats(method: Method) -> dict[int, int]:
    """The seeds that were run more than once, and how often."""
    runs = Counter(record.spec.seed for record in method.completed)
    return {seed: count for seed, count in sorted(runs.items()) if count > 1}


def sentence(summary: Summary) -> str:
    """How far the imported runs bear what is said of them."""
    methods = [method for workload in summary.workloads for method in workload.methods]
    extra = sum(count - 1 for method in methods for count in repeats(method).values())
    together = [m.energy_ratio for m in methods if m.energy_ratio]
    alone = [c for m in methods if (c := audited(m, summary.confidence)["energy"])]
    single = sum(c.low is None for c in together)
    return (
        f"These {len(summary.records)} runs were made elsewhere. {extra} of them repeat a seed of their own method, "
        "which is no replication: the runs of one seed are averaged and count once. "
        f"Of {len(together)} comparisons of energy {single} have no interval, since a side has a single seed; of the "
        f"others {shown(alone)} show a difference "
        f"at {form.level(summary.confidence)} each, and {shown(together)} when all are "
        f"held to it together."
    )


def shown(comparisons: Sequence[Comparison]) -> int:
    """How many intervals exclude no effect."""
    return sum(c.verdict != "no difference shown" for c in comparisons)


def rows(summary: Summary) -> list[dict[str, Any]]:
    """Every method against the baseline: which seeds were repeated, and the two lines."""
    return [
        {
            "name": form.title(method.name),
            "workload": workload.name,
            "repeated": repeated(method),
            "lines": [published_line(method, published), audited_line(method, summary.confidence)],
        }
        for workload in summary.workloads
        for method in workload.methods
        if (published := as_published(method))
    ]


def published_line(method: Method, published: Published) -> dict[str, Any]:
    """The source's reading, with its table's three decimals; no figure has an interval."""
    assert method.reference
    ratios = (published.energy, published.steps, published.time_per_step, published.power)
    return {
        "reading": "as published",
        "accuracy": (form.signed(published.accuracy_difference), ""),
        **{name: (f"{value:.3f}\u00a0×", "") for name, value in zip(RATIOS, ratios, strict=True)},
        "counted": f"{len(method.completed)} and {len(method.reference.completed)} runs",
    }


def audited_line(method: Method, confidence: float) -> dict[str, Any]:
    """This report's reading, each figure with its interval."""
    assert method.reference
    found = audited(method, confidence)
    seeds = [len({record.spec.seed for record in m.completed}) for m in (method, method.reference)]
    return {
        "reading": "audited",
        "accuracy": form.points(found["accuracy"]),
        **{name: form.times(found[name]) for name in RATIOS},
        "counted": f"{seeds[0]} and {seeds[1]} seeds",
    }


def audited(method: Method, confidence: float) -> dict[str, Comparison | None]:
    """The comparisons of a method with its baseline, each at the study's own level."""
    difference_of, ratio_of = method.tests
    if method.reference is None:
        return dict.fromkeys(("accuracy", *RATIOS))
    ours, theirs = method.values, method.reference.values
    return {
        "accuracy": difference_of(ours(accuracy_of), theirs(accuracy_of), confidence),
        "energy": ratio_of(ours(joules_of), theirs(joules_of), confidence),
        **{name: method.factors.get(name) for name in RATIOS[1:]},
    }


def repeated(method: Method) -> str:
    """Which seeds of the method and of its baseline were run more than once."""
    found = []
    for m in (method, method.reference):
        if m and (counts := repeats(m)):
            named = ", ".join(f"{seed} {TIMES.get(count, f'{count} times')}" for seed, count in counts.items())
            found.append(f"{form.title(m.name)}: seed {named}")
    return "; ".join(found)
