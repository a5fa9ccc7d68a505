"""In which settings the runs of two studies differ."""

from collections.abc import Callable, Sequence
from typing import Any

from bpfree.records import Record, RunSpec
from bpfree.report import form

CONDITIONS = ("execution", "threads")
"""Of the training settings: how a run is executed, not what it trains."""
RENAMED = {"schedule": "learning_rate_schedule"}
"""Training settings whose name an algorithm's hyperparameter has too."""


def settings(spec: RunSpec) -> list[tuple[str, Any]]:
    """All that decides what a run trains, but for its seed."""
    training = spec.training.model_dump(exclude=set(CONDITIONS))
    named = [(RENAMED.get(name, name), value) for name, value in training.items()]
    return [("algorithm", spec.algorithm), *named, *spec.hyperparameters.items()]


def conditions(spec: RunSpec) -> list[tuple[str, Any]]:
    """How a run is executed and measured."""
    measured = spec.measurement.model_dump(include={"boundary", "cpu_watts", "warmup_steps"})
    return [("device", spec.device), *spec.training.model_dump(include=set(CONDITIONS)).items(), *measured.items()]


def differing(
    ours: Sequence[Record], theirs: Sequence[Record], values: Callable[[RunSpec], list[tuple[str, Any]]]
) -> list[str]:
    """The fields in which runs differ, with both values."""
    before, after = gathered(ours, values), gathered(theirs, values)
    return [
        f"{name.replace('_', ' ')}: {printed(before.get(name))} → {printed(after.get(name))}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def gathered(records: Sequence[Record], values: Callable[[RunSpec], list[tuple[str, Any]]]) -> dict[str, list[Any]]:
    """Each field's values over runs."""
    found: dict[str, list[Any]] = {}
    for record in records:
        for name, value in values(record.spec):
            if value not in found.setdefault(name, []):
                found[name].append(value)
    return found


def printed(values: Sequence[Any] | None) -> str:
    """The values of a field."""
    return ", ".join(map(text, values)) if values else form.ABSENT


def text(value: Any) -> str:
    """A value."""
    if isinstance(value, tuple):
        return " and ".join(map(str, value))
    return form.ABSENT if value is None else str(value)
