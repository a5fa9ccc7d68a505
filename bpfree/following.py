"""Studies that follow another one: its tuned settings are taken over, and its passes where they are to be matched.

Both are fixed when they are first taken over, the passes once for all cells of a workload, so that the study that is
followed may go on without moving them.
"""

import statistics

from bpfree import assembly
from bpfree.errors import RequestError
from bpfree.planning import Cell, Plan
from bpfree.records import TunedCell
from bpfree.results import ResultsFolder
from bpfree.study import load
from bpfree.tuning import digest


def take_over(plan: Plan, cell: Cell, followed: ResultsFolder, passes: int | None) -> TunedCell:
    """A cell's settings as the other study tuned them, with what their tuning cost there.

    `passes` are those of the workload's other cells that have been taken over already; None if there are none.

    Raises
    ------
    RequestError
        The other study has not tuned this cell, or has not ended where its passes are wanted.
    """
    theirs = followed.tuned(cell.name)
    if theirs is None:
        raise unfinished(plan, followed, f"it has not tuned {cell.name}")
    if theirs.algorithm != cell.algorithm:
        raise unfinished(plan, followed, f"{cell.name} is {theirs.algorithm}, not {cell.algorithm}")
    values = {**theirs.hyperparameters, **cell.fixed}
    matched = cell.training.matched_passes
    return theirs.model_copy(
        update={
            "digest": digest(plan, cell),
            "hyperparameters": assembly.resolve(cell.algorithm, cell.optimizer, values),
            "taken_from": plan.study.follows,
            "matched_passes": (passes or baseline_passes(plan, cell.workload, followed)) if matched else None,
        }
    )


def baseline_passes(plan: Plan, workload: str, followed: ResultsFolder) -> int:
    """The median number of epochs, rounded down, that the baseline's final runs took on a workload.

    Raises
    ------
    RequestError
        Those runs are not all there.
    """
    baseline = plan.study.baseline
    planned = [followed.record(str(run)) for run in followed.plan().get("final_runs", [])]
    runs = [r for r in planned if r and (r.spec.workload, r.spec.method) == (workload, baseline)]
    ended = [r for r in runs if r.final]
    wanted = len(load(followed.path / "study.toml").seeds) if runs else 0
    epochs = [r.cost.epochs for r in ended if r.status == "completed" and r.cost]
    if len(ended) < wanted or not epochs:
        reason = f"{len(ended)} of {wanted} final runs of {baseline} on {workload} have ended"
        raise unfinished(plan, followed, reason if wanted else f"no final run of {baseline} on {workload} was made")
    return int(statistics.median(epochs))


def unfinished(plan: Plan, followed: ResultsFolder, reason: str) -> RequestError:
    """The error for a study whose results are needed first."""
    return RequestError(
        f"{plan.study.name} follows {plan.study.follows}, but in {followed.path} {reason}: run that study first"
    )
