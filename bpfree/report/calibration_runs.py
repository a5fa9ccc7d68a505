"""What the runs of a calibration took to their workloads' targets, from its outcome and its records.

A run's time is that of the first evaluation that is as good as the target: in steps, and in seconds and joules since
the first step, validation included. A run that missed it, diverged, failed or is not there took ∞.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from bpfree import outcomes
from bpfree.outcomes import CALIBRATED, NAIVE, Arm, Budget, MethodOutcome, Outcome
from bpfree.records import Record
from bpfree.report.quantities import joules_of
from bpfree.results import ResultsFolder, read

MISSING = "not run"
KINDS = (NAIVE, CALIBRATED)


@dataclass(frozen=True)
class Arrival:
    """What one run took to its target; ∞ where it missed it."""

    status: str
    """Of the record, or that there is none."""
    steps: float = math.inf
    seconds: float = math.inf
    joules: float | None = math.inf
    """None: it reached the target, and what it took is not known or may enter no claim."""

    @property
    def reached(self) -> bool:
        """Whether it reached the target."""
        return math.isfinite(self.steps)


Runs = Mapping[str, Mapping[str, list[Arrival]]]
"""For each entrant, for each workload, its runs: one a seed, in the order of the seeds."""


def arrival(record: Record | None, target: Budget) -> Arrival:
    """What a run took to its target."""
    if record is None:
        return Arrival(MISSING)
    if record.status == "completed":
        for e in record.history:
            if target.reached(e.validation_metric):
                joules = None if joules_of(record) is None else e.joules
                return Arrival(record.status, e.step, e.seconds, joules)
    return Arrival(record.status)


@dataclass
class Calibration:
    """A calibration as its report tells it: its outcome, and its records by their ids."""

    outcome: Outcome
    records: dict[str, Record | None]

    @cached_property
    def finals(self) -> list[Record]:
        """The records of all final runs that there are, each once."""
        ids = dict.fromkeys(i for m in self.outcome.methods for kind in KINDS for i in final_ids(m, kind))
        return [record for i in ids if (record := self.records[i])]

    @cached_property
    def planned(self) -> int:
        """How many final runs there were to be."""
        return len({i for m in self.outcome.methods for kind in KINDS for i in final_ids(m, kind)})

    @cached_property
    def quality(self) -> str:
        """The one quality of the joules of all final runs; mixed, or absent where those of one are not known."""
        found: set[str] = {record.cost.joules_quality for record in self.finals if record.cost}
        usable = found & {"measured", "modelled"}
        if len(usable) > 1:
            return "mixed"
        runs = (run for kind in KINDS for entry in self.final(kind).values() for row in entry.values() for run in row)
        whole = found == usable and usable and all(run.joules is not None for run in runs)
        return usable.pop() if whole else "absent"

    @property
    def scored(self) -> bool:
        """Whether joules can be compared."""
        return self.quality in ("measured", "modelled")

    def arrivals(self, ids: Iterable[str], target: Budget) -> list[Arrival]:
        """What some runs took."""
        return [arrival(self.records[i], target) for i in ids]

    def final(self, kind: str) -> Runs:
        """The final runs of every method: with its defaults, or with its calibrated setting."""
        return {
            m.name: {b.name: self.arrivals(m.finals[kind][b.name], b) for b in self.outcome.workloads}
            for m in self.outcome.methods
        }

    def table(self, choice: Callable[[MethodOutcome, str], str]) -> Runs:
        """The table's runs of every method, on each workload those of the arm that `choice` names."""
        return {
            m.name: {b.name: self.arrivals(m.arm(choice(m, b.name)).runs[b.name], b) for b in self.outcome.workloads}
            for m in self.outcome.methods
        }

    def row(self, arm: Arm) -> dict[str, list[Arrival]]:
        """An arm's row of the table."""
        return {b.name: self.arrivals(arm.runs[b.name], b) for b in self.outcome.workloads}


def final_ids(method: MethodOutcome, kind: str) -> list[str]:
    """The ids of a method's final runs."""
    return [i for ids in method.finals[kind].values() for i in ids]


def load(folder: ResultsFolder) -> Calibration:
    """A calibration from its results folder.

    Raises
    ------
    WorldError
        Its outcome or a record is damaged.
    """
    outcome = read(Outcome, folder.path / outcomes.FILE)
    ids = [i for m in outcome.methods for arm in m.arms for row in arm.runs.values() for i in row]
    ids += [i for m in outcome.methods for kind in KINDS for i in final_ids(m, kind)]
    return Calibration(outcome, {i: folder.record(i) for i in dict.fromkeys(ids)})


NAMES = {
    "sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "nadamw": "NadamW", "schedule_free_adamw": "Schedule-Free AdamW",
    "dadapt_adamw": "D-Adapt AdamW", "prodigy": "Prodigy", "mechanic": "Mechanic", "dog": "DoG", "ldog": "L-DoG",
    "dowg": "DoWG", "momo": "MoMo", "momo_adam": "MoMo-Adam", "cocob": "COCOB",
}  # fmt: skip


def title(method: str) -> str:
    """An optimizer's name as papers write it."""
    return NAMES.get(method, method)
