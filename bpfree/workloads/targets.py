"""Targets: the validation metric that a workload is to reach, each with its provenance, from `targets.toml`.

The protocol: in a tuned study that ran to convergence, take the baseline's best validation metric of each seed; their
median, moved by the study's equivalence margin to the easier side, is the target. So a run that reaches it is as good
as the tuned baseline within the margin. `bpfree targets
RESULTS_FOLDER` derives a study's targets again.
"""

import tomllib
from dataclasses import dataclass
from importlib import resources

HEADER = "# Targets of workloads. Derived by `bpfree targets`; the protocol is in targets.py beside this file."
PLACES = 4
"""Decimals of a target."""


@dataclass(frozen=True)
class Target:
    """A target and where it comes from."""

    value: float
    metric: str
    study: str
    """The study whose runs it was derived from."""
    baseline: str
    optimizer: str
    margin: float
    seeds: list[int]
    best: list[float]
    """The baseline's best validation metric for each of the seeds."""


def read(text: str) -> dict[str, Target]:
    """The targets by workload, from the text of a target file."""
    rows = tomllib.loads(text)
    return {
        name: Target(**{**row, "seeds": tuple(row["seeds"]), "best": tuple(row["best"])}) for name, row in rows.items()
    }


TARGETS = read((resources.files("bpfree.workloads") / "targets.toml").read_text(encoding="utf-8"))
