"""What it took to reach a workload's target: energy, time and passes up to the first evaluation that is as good.

A run that misses the target is censored: it is counted, and enters no mean. A ratio is given only where every run of
both methods reached it.
"""

from collections.abc import Callable
from typing import Any

from bpfree.records import Evaluation, Record
from bpfree.report import form
from bpfree.report.quantities import arrival, joules_of
from bpfree.report.summary import Method, Workload
from bpfree.statistics import by_seed, mean_interval
from bpfree.targets import Target

Figure = Callable[[Record, Evaluation], float | None]


def reached(m: Method, target: Target) -> list[tuple[Record, Evaluation]]:
    """The completed runs that reached it, and when."""
    return [(record, found) for record in m.completed if (found := arrival(record, target))]


def joules(record: Record, evaluation: Evaluation) -> float | None:
    """Joules so far, if they may enter a claim."""
    return None if joules_of(record) is None else evaluation.joules


def rows(workload: Workload, confidence: float, per_joule: float) -> list[dict[str, Any]]:
    """A line a method; none where the workload has no target."""
    target = workload.target
    if target is None:
        return []
    mixed = workload.quality == "mixed"
    return [row(m, target, confidence, per_joule, mixed=mixed) for m in workload.methods if m.completed]


def row(m: Method, target: Target, confidence: float, per_joule: float, *, mixed: bool) -> dict[str, Any]:
    """A method's line: how many reached it, what that took, and ratios to the baseline; unlike joules do not stand."""
    there = reached(m, target)

    def mean(figure: Figure, scale: float = 1.0) -> tuple[str, str]:
        values = figures(there, figure)
        return form.interval(mean_interval(list(values.values()), confidence) if values else None, scale)

    def ratio(figure: Figure) -> tuple[str, str]:
        if m.reference is None:
            return form.ABSENT, ""
        theirs = reached(m.reference, target)
        if len(there) < len(m.records) or len(theirs) < len(m.reference.records):
            return form.ABSENT, "not all reached it"
        _, ratio_of = m.tests
        return form.times(ratio_of(figures(there, figure), figures(theirs, figure), confidence))

    return {
        "name": form.title(m.name),
        "reached": f"{len(there)} of {len(m.records)}",
        "joules": (form.ABSENT, "") if mixed else mean(joules, per_joule),
        "joules_ratio": (form.ABSENT, "") if mixed else ratio(joules),
        "seconds": mean(lambda _, e: e.seconds),
        "seconds_ratio": ratio(lambda _, e: e.seconds),
        "epochs": mean(lambda _, e: e.epoch),
    }


def figures(runs: list[tuple[Record, Evaluation]], figure: Figure) -> dict[int, float]:
    """A figure of some runs, by seed."""
    pairs = [(record.spec.seed, figure(record, evaluation)) for record, evaluation in runs]
    return by_seed([(seed, value) for seed, value in pairs if value is not None])


def sentence(workload: Workload) -> str | None:
    """Who reached the target, in words."""
    if workload.target is None:
        return None
    counts = [
        (form.title(m.name), len(reached(m, workload.target)), len(m.records)) for m in workload.methods if m.records
    ]
    every = [name for name, k, n in counts if k == n]
    some = [f"{name} in {k} of {n} runs" for name, k, n in counts if k < n]
    text = (
        f"The target on {workload.name}, {workload.metric.with_unit(workload.target.value)} in validation, is reached "
    )
    if not some:
        return f"{text}by every run of every method."
    if not every:
        return f"{text}by {', '.join(some)}."
    return f"{text}by every run of {', '.join(every)}; by {', '.join(some)}."
