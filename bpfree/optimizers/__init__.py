"""Optimizers: one file an optimizer or family, one table.

Each is a `torch.optim.Optimizer`; a row's `build(parameters, hyperparameters)` makes it. A method that finds its own
scale has no `learning_rate`: its `group["lr"]` is 1, or what a schedule makes of it.
"""

from bpfree import errors
from bpfree.optimizers.adam import ADAM, ADAMW
from bpfree.optimizers.base import OptimizerEntry
from bpfree.optimizers.cocob import COCOB_ENTRY
from bpfree.optimizers.dadapt import DADAPT_ADAMW
from bpfree.optimizers.dog import DOG, DOWG, LDOG
from bpfree.optimizers.mechanic import MECHANIC
from bpfree.optimizers.momo import MOMO, MOMO_ADAM
from bpfree.optimizers.nadamw import NADAMW
from bpfree.optimizers.prodigy import PRODIGY
from bpfree.optimizers.schedule_free import SCHEDULE_FREE_ADAMW
from bpfree.optimizers.sgd import SGD_ENTRY

OPTIMIZERS: dict[str, OptimizerEntry] = {
    entry.name: entry
    for entry in (
        SGD_ENTRY, ADAM, ADAMW, NADAMW, SCHEDULE_FREE_ADAMW, DADAPT_ADAMW, PRODIGY, MECHANIC,
        DOG, LDOG, DOWG, MOMO, MOMO_ADAM, COCOB_ENTRY,
    )
}  # fmt: skip


def find(name: str) -> OptimizerEntry:
    """The optimizer of that name.

    Raises
    ------
    RequestError
        There is none; the message suggests the nearest.
    """
    return errors.find("optimizer", name, OPTIMIZERS)


__all__ = ["OPTIMIZERS", "OptimizerEntry", "find"]
