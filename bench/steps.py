"""Each algorithm's step beside backprop's, beside the exact FLOP ratio, beside the device's arithmetic limit.

784→3×1000→10, an epoch of steps with shuffling, batching and AdamW. The peak is a large matrix product's in the same
rounds; the ceiling is the share of it that a step's own products and its update reach with nothing beside them
(`ceiling.py`); the optimizer's share is its own steps' time with gradients in place. On a CUDA device all of it again
with each step as one CUDA graph: what remains there of a ratio is the kernels', not Python's.
"""

from collections.abc import Mapping

from bench.alternation import Action, Figure, Values, alternated, peak_action
from bench.ceiling import arithmetic
from bench.networks import METHODS, autograd_epoch, epoch, flops_of_step, method, split
from bpfree.algorithms import Algorithm
from bpfree.records import Execution

STEPS = {128: 12, 512: 6}
HELD = ("mono_forward", "forward_forward", "forward_forward, read-out")
RATIO = 1.10
"""Of those at batch 512 on a CPU."""
SHARES = {
    128: {"backprop": 0.75, "mono_forward": 0.70, "forward_forward": 0.70},
    512: dict.fromkeys(("backprop", *HELD), 0.85),
}
"""At least, on a CPU."""
UPDATED = ("backprop", "mono_forward")


def figures(device: str) -> list[Figure]:
    """At batch 128 and 512, at every execution level of the device that is no compiler's."""
    levels: tuple[Execution, ...] = ("eager",) if device == "cpu" else ("eager", "cuda_graph")
    return [figure for level in levels for batch in STEPS for figure in at_batch(batch, device, level)]


def at_batch(batch: int, device: str, level: Execution) -> list[Figure]:
    """Ratios, shares of the peak, optimizers' shares, and a plain autograd loop beside."""
    steps = STEPS[batch]
    data = split(steps * batch, device)
    built = {name: method(name, device) for name in METHODS}
    flops = {name: flops_of_step(algorithm, data, batch) for name, algorithm in built.items()}
    product, product_flops = peak_action(device)
    actions: dict[str, Action] = {name: epoch(algorithm, data, batch, level) for name, algorithm in built.items()}
    if level == "eager":
        actions |= {f"optimizer of {name}": updates(built[name], steps) for name in UPDATED}
        first = data.inputs[:batch], data.targets[:batch]
        actions |= {f"ceiling of {name}": arithmetic(built[name], *first, steps) for name in SHARES[batch]}
    seconds = alternated({**actions, "autograd": autograd_epoch(data, batch), "peak": product}, device)
    title = f"batch {batch}" if level == "eager" else f"batch {batch}, {level}"
    held = batch if device == "cpu" else None
    return [
        *ratios(title, seconds, flops, held),
        *shares(title, seconds, {name: steps * each for name, each in flops.items()}, product_flops, held),
        *loops(title, seconds),
    ]


def updates(algorithm: Algorithm, steps: int) -> Action:
    """The optimizers' part of some steps."""

    def run() -> None:
        for _ in range(steps):
            for optimizer in algorithm.optimizers.values():
                optimizer.step()

    return run


def ratios(title: str, seconds: Mapping[str, Values], flops: Mapping[str, int], held: int | None) -> list[Figure]:
    """Time over backprop's, over the ratio of their FLOPs; held to its bar at batch 512 on a CPU."""
    found = []
    for name in METHODS:
        theory = flops[name] / flops["backprop"]
        bar = RATIO if held == 512 and name in HELD else None
        if name != "backprop":
            values = seconds[name] / seconds["backprop"] / theory
            group = f"{title}: time over backprop's, over the ratio of their FLOPs (in brackets)"
            found.append(Figure(group, f"{name} ({theory:.2f})", values, theory=1.0, at_most=bar))
    return found


def shares(
    title: str, seconds: Mapping[str, Values], flops: Mapping[str, int], peak_flops: float, held: int | None
) -> list[Figure]:
    """FLOP/s over the peak's."""
    group, peak = f"{title}: share of the arithmetic peak", peak_flops / seconds["peak"]
    bars = SHARES[held] if held else {}
    reached = [
        Figure(group, name, flops[name] / seconds[name] / peak, theory=1.0, at_least=bars.get(name)) for name in METHODS
    ]
    ceilings = [
        Figure(f"{title}: ceiling of that share, its products and update alone", name, flops[name] / taken / peak)
        for name in METHODS
        if (taken := seconds.get(f"ceiling of {name}")) is not None
    ]
    return reached + ceilings


def loops(title: str, seconds: Mapping[str, Values]) -> list[Figure]:
    """What the optimizer takes of it, and what a tutorial's loop takes."""
    optimizers = [
        Figure(f"{title}: share of the step's time", f"{name}, its optimizer", seconds[key] / seconds[name])
        for name in UPDATED
        if (key := f"optimizer of {name}") in seconds
    ]
    plain = seconds["autograd"] / seconds["backprop"]
    return [*optimizers, Figure(f"{title}: time over backprop's here", "a plain autograd loop", plain)]
