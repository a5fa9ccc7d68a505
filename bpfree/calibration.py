"""Calibration: the one setting of an optimizer that is best over all workloads, and how far it is from the best.

A calibration file says which optimizers take part, on which suite, and how many points each of them gets:

    name = "calibration_quickstart"
    optimizers = ["nadamw", "prodigy"]
    baseline = "nadamw"
    points = 4                    # quasirandom points of each optimizer, beside its defaults
    table_seeds = 1               # runs of each point on each workload
    seeds = 3                     # fresh ones, of the final runs

    [[workloads]]
    name = "digits-mlp"
    max_steps = 300               # budget; schedules are in fractions of it
    evaluate_every = 5
    batch_size = 64

    [schedule]                    # what the points choose from; the naive arm is constant, without warm-up
    shapes = ["constant", "cosine"]
    warmups = [0.0, 0.05]
    horizons = [0.75, 1.0]

After *How far away are truly hyperparameter-free learning algorithms?* (arXiv 2505.24005). A run ends when it reaches
its workload's target. The points of an optimizer are a scrambled Halton sequence in its search space, the same
annotations that tuning reads; a longer sequence begins with the shorter one.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from bpfree import scoring, study
from bpfree.hyperparameters import Choice, LogUniform, SearchRange
from bpfree.outcomes import NAIVE, Budget
from bpfree.records import Execution, LearningRateSchedule, fingerprint
from bpfree.sections import TRIAL_SEED, Measurement, Name, Section, distinct_seeds, read_as, seed_range
from bpfree.study import Study

SCHEDULE_KNOBS = ("schedule", "warmup", "horizon")


class SuiteEntry(Section):
    """`[[workloads]]`: a workload and the budget of a run on it."""

    name: str
    max_steps: Annotated[int, Field(gt=0, le=1_000_000_000)]
    evaluate_every: Annotated[int, Field(gt=0, le=1_000_000_000)]
    batch_size: Annotated[int, Field(gt=0)] = 128

    @model_validator(mode="after")
    def _evaluations_fit(self) -> Self:
        if self.max_steps % self.evaluate_every:
            raise ValueError(f"evaluate_every = {self.evaluate_every} does not divide max_steps = {self.max_steps}")
        return self


class Schedules(Section):
    """`[schedule]`: what the points choose from, each value as likely as another."""

    shapes: Annotated[list[LearningRateSchedule], Field(min_length=1)] = ["constant", "linear", "cosine"]
    warmups: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=1)] = [0.0, 0.02, 0.05, 0.1]
    horizons: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)] = [0.5, 0.75, 1.0]


class Calibration(Section):
    """A calibration file, checked."""

    name: Name
    description: str = ""
    optimizers: Annotated[list[str], Field(min_length=1)]
    baseline: str = "nadamw"
    points: Annotated[int, Field(ge=1, le=10_000)] = 20
    table_seeds: Annotated[int, Field(ge=1, le=100)] = 1
    seeds: Annotated[list[int], Field(validate_default=True)] = [0, 1, 2, 3, 4]
    threads: Annotated[int, Field(gt=0, le=1024)] | None = 1
    execution: Execution | None = None
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    workloads: Annotated[list[SuiteEntry], Field(min_length=2)]
    schedule: Schedules = Schedules()
    measurement: Measurement = Measurement()

    @model_validator(mode="before")
    @classmethod
    def _is_no_study(cls, value: Any) -> Any:
        if isinstance(value, dict) and "algorithms" in value:
            raise ValueError("algorithms: this is a study: use `bpfree study`")
        return value

    _seeds_may_be_a_count = field_validator("seeds", mode="before")(seed_range)
    _seeds_are_distinct = field_validator("seeds")(distinct_seeds)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for field, names in (("optimizers", self.optimizers), ("workloads", [w.name for w in self.workloads])):
            if len(set(names)) < len(names):
                raise ValueError(f"{field}: a name occurs twice")
        if self.baseline not in self.optimizers:
            raise ValueError(f"baseline: {self.baseline} is not among the optimizers")
        return self

    @property
    def digest(self) -> str:
        """Changes with anything that the plan depends on."""
        return fingerprint(self)

    @property
    def table(self) -> list[int]:
        """Seeds of the table's runs, the same for every point: larger than those of final runs."""
        return [TRIAL_SEED + k for k in range(self.table_seeds)]


def load(path: Path) -> Calibration:
    """A calibration from its file.

    Raises
    ------
    RequestError
        The file is absent, not TOML, or a field is wrong: the message gives file, line and field.
    """
    return read_as(Calibration, path)


def load_either(path: Path) -> Study | Calibration:
    """A study, or a calibration, which is a file that names no algorithms.

    Raises
    ------
    RequestError
        As `load`.
    """
    try:
        names_algorithms = "algorithms" in tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        names_algorithms = True  # whatever is wrong is told below
    return study.load(path) if names_algorithms else load(path)


def unit_points(count: int, dimensions: int, seed: int) -> list[list[float]]:
    """Points of the unit cube: a scrambled Halton sequence, of which a longer one begins with a shorter one."""
    from scipy.stats import qmc  # a second, which only the draw of the points need wait

    sequence: list[list[float]] = qmc.Halton(dimensions, scramble=True, rng=seed).random(count).tolist()
    return sequence


def mapped(u: float, span: SearchRange) -> Any:
    """A value of a search range from a number in [0, 1)."""
    if isinstance(span, Choice):
        return span.values[int(u * len(span.values))]
    if isinstance(span, LogUniform):
        return span.low * (span.high / span.low) ** u
    return span.low + u * (span.high - span.low)


Steps = Mapping[str, Mapping[str, float]]
"""For each arm, for each workload, the median over seeds of the first step that reaches the target; ∞ for a miss."""
Gaps = Mapping[str, Mapping[str, float]]
"""The same of how far the best metric stayed from the target, as a share of the target; 0 where it was reached."""


def reference_steps(suite: Sequence[str], arms: Mapping[str, Steps], baseline: str) -> dict[str, float | None]:
    """For each workload the least steps of any naive arm or arm of the baseline; None where none reaches it.

    A fixed reference: the ratio of an arm does not change when another one is added to its method.
    """
    found: dict[str, float | None] = {}
    for workload in suite:
        times = [
            steps[workload]
            for method, table in arms.items()
            for arm, steps in table.items()
            if arm == NAIVE or method == baseline
        ]
        best = min(times, default=math.inf)
        found[workload] = best if math.isfinite(best) else None
    return found


def ranking(steps: Steps, gaps: Gaps, budgets: Sequence[Budget]) -> list[str]:
    """The arms of a method, the best first.

    By the number of targets reached; then AlgoPerf's score of its steps over the reference, not clipped at 1, which
    would hide what is faster than the reference; then the gap to the targets that it missed; then the order of arms.
    """

    def merit(arm: str) -> tuple[float, float, float]:
        hits = sum(math.isfinite(steps[arm][b.name]) for b in budgets)
        ratios = [steps[arm][b.name] / (b.reference_steps or b.max_steps) for b in budgets]
        gap = float(np.mean([gaps[arm][b.name] for b in budgets]))
        return hits, scoring.score(ratios), -gap

    return sorted(steps, key=merit, reverse=True)  # stable, so the earlier arm of equals: naive first


def left_out(steps: Steps, gaps: Gaps, budgets: Sequence[Budget]) -> dict[str, str]:
    """For each workload the arm that is best over all the others: what is chosen without having seen it."""
    return {b.name: ranking(steps, gaps, [other for other in budgets if other is not b])[0] for b in budgets}
