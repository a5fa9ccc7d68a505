"""What a calibration found: `calibration.json` of its results folder, which its report is made from.

An *arm* is a setting of a method that is held over all workloads: its defaults with a constant learning rate
(*naive*), or a quasirandom point.
"""

from typing import Any

from bpfree.records import Document, LearningRateSchedule

FILE = "calibration.json"
NAIVE, CALIBRATED = "naive", "calibrated"


class Schedule(Document):
    """How the learning rate, or the scale that a method finds, is shaped over a run."""

    shape: LearningRateSchedule = "constant"
    warmup: float = 0.0
    """Share of the run's steps in which it rises from zero."""
    horizon: float = 1.0
    """The run's steps as a share of the workload's budget: where a schedule ends, the run ends."""


class Arm(Document):
    """One setting, and its runs in the table of all points."""

    name: str
    """`naive`, or the point's number from 1."""
    hyperparameters: dict[str, Any]
    schedule: Schedule
    runs: dict[str, list[str]]
    """For each workload the ids of its runs, one a seed."""


class MethodOutcome(Document):
    """A method's arms, and which of them are best."""

    name: str
    paper: str
    knobs: dict[str, str]
    """What the points vary, and its range in words."""
    copies: float
    """Memory of its state as copies of the parameters."""
    arms: list[Arm]
    selected: str
    """The arm that is best over all workloads."""
    runner_up: str | None
    left_out: dict[str, str]
    """For each workload the arm that is best over all others."""
    finals: dict[str, dict[str, list[str]]]
    """For `naive` and `calibrated`, for each workload, the ids of the runs with fresh seeds."""

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)


class Budget(Document):
    """A workload of the suite with its target and what a run may take."""

    name: str
    metric: str
    higher_is_better: bool
    target: float
    target_from: str
    """The study, baseline and optimizer that the target was derived from."""
    max_steps: int
    evaluate_every: int
    batch_size: int
    reference_steps: float | None
    """What selection measures steps by: the fastest naive arm, or baseline's arm, that reached the target."""

    def reached(self, value: float) -> bool:
        """Whether a validation metric is as good as the target."""
        return value >= self.target if self.higher_is_better else value <= self.target


class Outcome(Document):
    """All of a calibration."""

    schema_version: int = 1
    name: str
    description: str
    baseline: str
    device: str
    digest: str
    points: int
    confidence: float
    table_seeds: list[int]
    seeds: list[int]
    """Of the final runs; none of them is among those of the table."""
    workloads: list[Budget]
    methods: list[MethodOutcome]
