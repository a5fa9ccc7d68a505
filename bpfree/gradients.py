"""Autograd switched off, which costs nothing where it is off already."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def without_gradients(function: Callable[P, R]) -> Callable[P, R]:
    """As torch.no_grad(), but that its switch is left alone where it is off: twenty microseconds, twice in every step.

    The trainer switches it off once for all steps of a run.
    """

    @wraps(function)
    def switched_off(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.is_grad_enabled():
            with torch.no_grad():
                return function(*args, **kwargs)
        return function(*args, **kwargs)

    return switched_off
