"""Optimizers: one file an optimizer or family, one table.

Each class is a `torch.optim.Optimizer` constructed as `Class(parameters, **hyperparameters)`.
"""

from bpfree import errors
from bpfree.optimizers.adam import ADAM, ADAMW
from bpfree.optimizers.base import OptimizerEntry
from bpfree.optimizers.sgd import SGD

OPTIMIZERS: dict[str, OptimizerEntry] = {entry.name: entry for entry in (SGD, ADAM, ADAMW)}


def find(name: str) -> OptimizerEntry:
    """The optimizer of that name.

    Raises
    ------
    RequestError
        There is none; the message suggests the nearest.
    """
    return errors.find("optimizer", name, OPTIMIZERS)


__all__ = ["OPTIMIZERS", "OptimizerEntry", "find"]
