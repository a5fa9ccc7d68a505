"""What the methods on a workload are judged by, as their records name it, and how that is printed."""

from collections.abc import Iterable
from dataclasses import dataclass

from bpfree.records import Record
from bpfree.report import form
from bpfree.report.quantities import accuracy_of
from bpfree.statistics import Comparison, Interval

SIGNIFICANT = 4
"""Digits of a metric that is no accuracy."""


@dataclass(frozen=True)
class Metric:
    """A workload's metric. An accuracy is printed in per cent and its differences in points, any other as it is."""

    name: str
    higher_is_better: bool

    @property
    def is_accuracy(self) -> bool:
        """Whether it is the share of samples that are right."""
        return self.name == "accuracy"

    @property
    def words(self) -> str:
        """Its name in words."""
        return form.words(self.name)

    @property
    def slug(self) -> str:
        """Its name in that of a file."""
        return self.name.replace("_", "-")

    @property
    def unit(self) -> str:
        """Of a printed value."""
        return "%" if self.is_accuracy else ""

    @property
    def difference_unit(self) -> str:
        """Of a printed difference."""
        return "points" if self.is_accuracy else ""

    def heading(self, name: str) -> str:
        """The head of a column of values."""
        return form.heading(name, self.unit)

    def difference_heading(self, name: str) -> str:
        """The head of a column of differences."""
        return form.heading(name, self.difference_unit)

    @property
    def scale(self) -> float:
        """From a record's value to one in the unit."""
        return 100.0 if self.is_accuracy else 1.0

    @property
    def sign(self) -> int:
        """Times this, more is better."""
        return 1 if self.higher_is_better else -1

    @property
    def best(self) -> str:
        """Which value is the best."""
        return "highest" if self.higher_is_better else "lowest"

    @property
    def worst(self) -> str:
        """Which value is the worst."""
        return "lowest" if self.higher_is_better else "highest"

    def of(self, record: Record) -> float | None:
        """Its value on the test set."""
        return accuracy_of(record) if self.is_accuracy else record.metrics.test_metric

    def axis(self, split: str) -> str:
        """The title of an axis, of values on the validation or the test set."""
        return f"{split} {self.words}" + (f" in {self.unit}" if self.unit else "")

    def value(self, value: float | None) -> str:
        """A value, without its unit."""
        return form.percent(value) if self.is_accuracy else form.number(value, SIGNIFICANT)

    def with_unit(self, value: float | None) -> str:
        """A value with its unit."""
        return f"{self.value(value)} {self.unit}".strip()

    def interval(self, x: Interval | None) -> tuple[str, str]:
        """A mean with its interval."""
        if x is None or self.is_accuracy:
            return form.accuracy(x)
        if x.low is None or x.high is None:
            return self.value(x.estimate), form.bounds(x.low, x.high)
        return self.value(x.estimate), f"{self.value(x.low)} to {self.value(x.high)}"

    def difference(self, x: Comparison | Interval | None) -> tuple[str, str]:
        """A difference with its interval."""
        return form.points(x) if self.is_accuracy else form.gap(x)

    def difference_bounds(self, low: float | None, high: float | None) -> str:
        """An interval of differences."""
        return form.signed_bounds(low, high) if self.is_accuracy else form.gap_bounds(low, high)

    def margin(self, margin: float) -> str:
        """A margin of equivalence: points of accuracy, of another metric a share of the baseline's mean."""
        return f"{100 * margin:g} {self.difference_unit or '%'}"


ACCURACY = Metric("accuracy", higher_is_better=True)


def metric_of(records: Iterable[Record]) -> Metric:
    """The metric that the records of a workload name; older ones name none, and were of accuracies mostly."""
    for record in records:
        if record.metrics.metric is not None and record.metrics.higher_is_better is not None:
            return Metric(record.metrics.metric, record.metrics.higher_is_better)
    return ACCURACY
