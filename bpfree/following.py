"""Studies that follow another one: its tuned settings are taken over, and its passes where they are to be matched.

Both are fixed when they are first taken over, so that the study that is followed may go on without moving them.
"""

import statistics

from bpfree import assembly
from bpfree.errors import RequestError
from bpfree.planning import Cell, Plan
from bpfree.records import TunedCell
from bpfree.results import ResultsFolder
from bpfree.tuning import digest


def take_over(plan: Plan, cell: Cell, followed: ResultsFolder) -> TunedCell:
    """A cell's settings as the other study tuned them, with what their tuning cost there.

    Raises
    ------
    RequestError
        The other study has not tuned this cell, or has not ended where its passes are wanted.
    """
    theirs = followed.tuned(cell.name)
    if theirs is None:
        raise unfinished(plan, followed, f"it has not tuned {cell.name}")
    values = {**theirs.hyperparameters, **cell.fixed}
    return theirs.model_copy(
        update={
            "digest": digest(plan, cell),
            "hyperparameters": assembly.resolve(cell.algorithm, cell.optimizer, values),
            "taken_from": plan.study.follows,
            "matched_passes": baseline_passes(plan, cell, followed) if cell.training.matched_passes else None,
        }
    )


def baseline_passes(plan: Plan, cell: Cell, followed: ResultsFolder) -> int:
    """The median number of epochs, rounded down, that the baseline's final runs took on the cell's workload.

    Where the other study has the baseline with several optimizers, those with the cell's own count.

    Raises
    ------
    RequestError
        Its final runs are not all there.
    """
    study = plan.study
    ended = [record for record in followed.finals() if record.status == "completed"]
    runs = [r for r in ended if (r.spec.workload, r.spec.method) == (cell.workload, study.baseline)]
    alike = [record for record in runs if record.spec.optimizer == cell.optimizer] or runs
    if not alike:
        raise unfinished(plan, followed, f"{study.baseline}'s final runs on {cell.workload} are not all there")
    return int(statistics.median(record.cost.epochs for record in alike if record.cost))


def unfinished(plan: Plan, followed: ResultsFolder, reason: str) -> RequestError:
    """The error for a study whose results are needed first."""
    return RequestError(
        f"{plan.study.name} follows {plan.study.follows}, but in {followed.path} {reason}: run that study first"
    )
