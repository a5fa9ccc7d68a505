"""Algorithms: one file an algorithm, readable beside its paper; one table.

A new algorithm is a file with an `Algorithm` subclass and its name in `ALGORITHMS`; the conformance tests then run it.
"""

from bpfree import errors
from bpfree.algorithms.backprop import Backprop
from bpfree.algorithms.base import Algorithm, LocalAlgorithm, Stage
from bpfree.algorithms.cascaded_forward import CascadedForward
from bpfree.algorithms.deep_supervision import DeepSupervision
from bpfree.algorithms.forward_forward import ForwardForward
from bpfree.algorithms.mono_forward import MonoForward

ALGORITHMS: dict[str, type[Algorithm]] = {
    algorithm.name: algorithm for algorithm in (Backprop, ForwardForward, CascadedForward, MonoForward, DeepSupervision)
}


def find(name: str) -> type[Algorithm]:
    """The algorithm of that name.

    Raises
    ------
    RequestError
        There is none; the message suggests the nearest.
    """
    return errors.find("algorithm", name, ALGORITHMS)


__all__ = ["ALGORITHMS", "Algorithm", "LocalAlgorithm", "Stage", "find"]
