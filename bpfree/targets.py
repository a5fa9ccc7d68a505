"""Targets derived from a tuned study: what its baseline reached, less the study's equivalence margin.

The protocol is in `workloads/targets.py`; this makes the rows of its file.
"""

import statistics
import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bpfree.errors import RequestError
from bpfree.records import Record, cell_name
from bpfree.results import ResultsFolder
from bpfree.study import Study, load
from bpfree.toml import toml_value
from bpfree.workloads import Metric, find
from bpfree.workloads.targets import HEADER, PLACES, Target

FEWEST_SEEDS = 3


def derive(folder: ResultsFolder) -> dict[str, Target]:
    """The target of every workload of a study that has ended.

    Raises
    ------
    RequestError
        The study is not tuned, has not ended, or its baseline completed too few seeds.
    """
    study = load(folder.path / "study.toml")
    if study.tuning is None:
        raise RequestError(f"{study.name} tunes nothing: targets come from a tuned baseline")
    finals = [record for record in folder.finals() if record.status == "completed"]
    if not finals:
        raise RequestError(f"the study in {folder.path} has not ended: run it first")
    return {entry.name: target_of(study, entry.name, finals) for entry in study.workloads}


def target_of(study: Study, workload: str, finals: Sequence[Record]) -> Target:
    """The target of one workload."""
    metric = find(workload).metric
    here = [o for name, entry, o in study.cells if (name, entry.method) == (workload, study.baseline)]
    optimizer = here[0]
    runs = [r for r in finals if r.spec.cell == cell_name(workload, study.baseline, optimizer)]
    if len(runs) < FEWEST_SEEDS:
        raise RequestError(
            f"{study.baseline} completed {len(runs)} runs on {workload} in {study.name}: "
            f"a target needs {FEWEST_SEEDS} seeds"
        )
    best = {run.spec.seed: best_of(run, metric) for run in runs}
    margin = study.statistics.equivalence_margin
    median = statistics.median(best.values())
    return Target(
        value=round(median - margin if metric.higher_is_better else median + margin, PLACES),
        metric=metric.name,
        study=study.name,
        baseline=study.baseline,
        optimizer=optimizer,
        margin=margin,
        seeds=sorted(best),
        best=[round(best[seed], PLACES) for seed in sorted(best)],
    )


def best_of(run: Record, metric: Metric) -> float:
    """The best validation metric of a run."""
    values = [evaluation.validation_metric for evaluation in run.history]
    return max(values) if metric.higher_is_better else min(values)


def merged(text: str, found: dict[str, Target]) -> str:
    """A target file with these rows added, or put in the place of older ones."""
    rows = {**tomllib.loads(text), **{name: asdict(target) for name, target in found.items()}}
    parts = [HEADER]
    for name in sorted(rows):
        parts += ["", f'["{name}"]', *(f"{key} = {toml_value(value)}" for key, value in rows[name].items())]
    return "\n".join(parts) + "\n"


def write(path: Path, found: dict[str, Target]) -> None:
    """Merge targets into a file."""
    ResultsFolder(path.parent).write_text(path.name, merged(path.read_text() if path.exists() else "", found))
