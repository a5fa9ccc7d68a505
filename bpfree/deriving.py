"""Targets derived from a tuned study, by the protocol in `targets.py`."""

import statistics
from collections.abc import Sequence

from bpfree.errors import RequestError
from bpfree.records import Record, cell_name
from bpfree.results import ResultsFolder
from bpfree.study import Study, load
from bpfree.targets import LOSS_PLACES, PLACES, Target, target_key
from bpfree.workloads import Metric, find

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
    return {
        target_key(entry.name, study.training_of(entry.name, study.baseline).max_steps): target_of(
            study, entry.name, finals
        )
        for entry in study.workloads
    }


def target_of(study: Study, workload: str, finals: Sequence[Record]) -> Target:
    """The target of one workload."""
    metric = find(workload).metric
    optimizer = next(o for name, entry, o in study.cells if (name, entry.method) == (workload, study.baseline))
    runs = [r for r in finals if r.spec.cell == cell_name(workload, study.baseline, optimizer)]
    if len(runs) < FEWEST_SEEDS:
        raise RequestError(
            f"{study.baseline} completed {len(runs)} runs on {workload} in {study.name}: "
            f"a target needs {FEWEST_SEEDS} seeds"
        )
    best = {run.spec.seed: best_of(run, metric) for run in runs}
    margin = study.statistics.equivalence_margin
    median = statistics.median(best.values())
    places = PLACES if metric.higher_is_better else LOSS_PLACES
    return Target(
        value=round(median - margin if metric.higher_is_better else median * (1 + margin), places),
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        study=study.name,
        baseline=study.baseline,
        optimizer=optimizer,
        margin=margin,
        seeds=sorted(best),
        best=[round(best[seed], places) for seed in sorted(best)],
    )


def best_of(run: Record, metric: Metric) -> float:
    """The best validation metric of a run."""
    values = [evaluation.validation_metric for evaluation in run.history]
    return max(values) if metric.higher_is_better else min(values)
