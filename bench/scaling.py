"""How a step's time follows its arithmetic when width, depth, batch or classes change.

Time per FLOP over that of the base case, 784→3×1000→10 at batch 128: 1 means that a step scales as its arithmetic,
more that something beside it weighs. Forward-Forward writes labels over the first pixels, of which there are fewer than
1,000, and is left out there. Each method is measured for itself, all its cases in turn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.alternation import Action, Figure, Values, alternated
from bench.networks import INPUTS, epoch, flops_of_step, method, split
from bpfree.execution import level_of

METHODS = ("backprop", "mono_forward", "forward_forward")
STEPS = 3
"""Of the base case in a measurement; of the others as many as have the same arithmetic, but two at least."""


@dataclass(frozen=True)
class Case:
    """A network and a batch."""

    width: int = 1000
    depth: int = 3
    batch: int = 128
    classes: int = 10


BASE = Case()
AXES: Mapping[str, tuple[int, ...]] = {
    "width": (250, 500, 1000, 2000),
    "depth": (1, 2, 4, 8),
    "batch": (32, 128, 512),
    "classes": (10, 100, 1000),
}
GROUP = "time per FLOP over that of width 1,000, depth 3, batch 128, 10 classes"


def figures(device: str) -> list[Figure]:
    """Every method along every axis, but for the base case itself."""
    measured = {name: per_flop(name, device) for name in METHODS}
    return [
        Figure(f"{axis}: {GROUP}", f"{name}, {axis} {value:,}", seconds[case] / seconds[BASE], theory=1.0)
        for axis, values in AXES.items()
        for name, seconds in measured.items()
        for value in values
        if (case := varied(axis, value)) != BASE and case in seconds
    ]


def varied(axis: str, value: int) -> Case:
    """The base case but for one thing."""
    return replace(BASE, **{axis: value})


def cases(name: str) -> list[Case]:
    """Those in which a method is measured."""
    every = dict.fromkeys([BASE, *(varied(axis, value) for axis, values in AXES.items() for value in values)])
    return [case for case in every if name != "forward_forward" or case.classes <= INPUTS]


def per_flop(name: str, device: str) -> dict[Case, Values]:
    """Seconds per FLOP of a step of each case, at the device's execution level."""
    actions: dict[str, Action] = {}
    flops: dict[Case, int] = {}
    base = 0
    for case in cases(name):
        algorithm = method(name, device, (case.width,) * case.depth, case.classes)
        step = flops_of_step(algorithm, split(case.batch, device, classes=case.classes), case.batch)
        base = base or step  # the base case comes first
        steps = max(2, round(STEPS * base / step))
        data = split(steps * case.batch, device, classes=case.classes)
        actions[str(case)] = epoch(algorithm, data, case.batch, level_of(None, device))
        flops[case] = steps * step
    seconds = alternated(actions, device)
    return {case: seconds[str(case)] / flops[case] for case in flops}
