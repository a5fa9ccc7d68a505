"""A method's tuning as the records of its trials tell it: the knobs, where each was sought, how each trial ended."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bpfree.records import KnobRange, Record
from bpfree.report.form import words
from bpfree.report.metric import Metric
from bpfree.report.summary import Method, Workload

LOG_FROM = 3
"""Where a folder does not say how a knob was searched: positive values that span this factor are put on a log scale."""


@dataclass(frozen=True)
class Trial:
    """One run of a tuning."""

    place: int
    """Counted from 1."""
    knobs: dict[str, Any]
    value: float | None
    """The validation metric in its unit; None where the run yielded none."""
    ending: str
    """A record's status, or pruned."""
    chosen: bool

    @property
    def counts(self) -> bool:
        """Whether it may be chosen."""
        return self.ending == "completed" and self.value is not None


@dataclass(frozen=True)
class Tuning:
    """The trials of a method on one workload, in their order."""

    method: Method
    knobs: dict[str, KnobRange]
    trials: list[Trial]

    def goodness(self, trial: Trial) -> float | None:
        """A trial's value, turned so that more is better."""
        return None if trial.value is None else self.method.metric.sign * trial.value

    @property
    def completed(self) -> list[Trial]:
        """The trials whose values count."""
        return [trial for trial in self.trials if trial.counts]

    @property
    def values(self) -> list[float]:
        """Of the completed trials, in their order."""
        return [trial.value for trial in self.completed if trial.value is not None]

    @property
    def goodnesses(self) -> list[float]:
        """The same, turned so that more is better."""
        return [self.method.metric.sign * value for value in self.values]


def tunings(workload: Workload, trials: Mapping[str, Sequence[Record]]) -> list[Tuning]:
    """Of every method that was tuned here, where the metric is known."""
    found = [tuning(m, trials) for m in workload.methods if m.tuned and m.test_metric]
    return [each for each in found if each.completed]


def tuning(m: Method, trials: Mapping[str, Sequence[Record]]) -> Tuning:
    """The tuning that stands: a study that was changed left the trials of earlier ones, which are older."""
    assert m.tuned is not None
    here = sorted(trials.get(m.tuned.cell, ()), key=lambda r: (r.started or "", r.trial or 0))
    standing = sorted(here[len(here) - min(m.tuned.trials, len(here)) :], key=lambda r: r.trial or 0)
    knobs = m.tuned.search_space or tried(standing)
    found = [
        Trial(
            place=i + 1,
            knobs={name: record.spec.hyperparameters[name] for name in knobs},
            value=value_of(record, m.metric),
            ending="pruned" if any(text.startswith("pruned") for text in record.warnings) else record.status,
            chosen=record.trial == m.tuned.best_trial,
        )
        for i, record in enumerate(standing)
    ]
    return Tuning(m, knobs, found)


def value_of(record: Record, metric: Metric) -> float | None:
    """In the metric's unit; what a diverged or failed run left behind is none."""
    value = record.metrics.validation_metric if record.status == "completed" else None
    return None if value is None else metric.scale * value


def tried(records: Sequence[Record]) -> dict[str, KnobRange]:
    """The knobs that differ between trials, each with the range of the values tried."""
    names = records[0].spec.hyperparameters if records else {}
    values = {name: [record.spec.hyperparameters[name] for record in records] for name in names}
    return {name: spanned(found) for name, found in values.items() if len(set(map(str, found))) > 1}


def spanned(values: Sequence[Any]) -> KnobRange:
    """The range that some values span; anything but numbers is a list."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return KnobRange(values=sorted(set(values), key=str))
    low, high = min(values), max(values)
    return KnobRange(low=low, high=high, log=low > 0 and high / low >= LOG_FROM)


def position(span: KnobRange, value: Any) -> float:
    """Where a value lies on its knob's own axis, from 0 to 1."""
    if span.values is not None:
        return span.values.index(value) / (len(span.values) - 1) if len(span.values) > 1 else 0.5
    low, high = span.ends
    return math.log(value / low) / math.log(high / low) if span.log else float((value - low) / (high - low))


def ticks(span: KnobRange, style: str) -> list[tuple[float, str]]:
    """Positions and texts of an axis: each of a list, else both ends and the middle; numbers in that style."""
    if span.values is not None:
        return [
            (position(span, value), f"{value:{style}}" if isinstance(value, float) else words(str(value)))
            for value in span.values
        ]
    low, high = span.ends
    middle = math.sqrt(low * high) if span.log else (low + high) / 2
    return [(at, f"{value:{style}}") for at, value in ((0, low), (0.5, middle), (1, high))]
