"""What a greedy schedule costs beside its arithmetic: an epoch of each stage of greedy Mono-Forward with kept inputs.

784→3×1000→10. A stage trains one layer on what the finished ones gave once, as the trainer keeps it, so that its step
is the products of one layer. It is held to the rate, FLOPs per second, at which backprop trains the whole network in
the same rounds: were a layer's step no dearer than its arithmetic, the ratio would be 1. Its optimizer weighs more than
backprop's: an update of its weights goes with two products, forward and dW, and in most of backprop with three.
"""

from bench.alternation import Action, Figure, alternated
from bench.networks import WIDTHS, build, epoch, flops_of_step, method, split
from bpfree.algorithms import Algorithm
from bpfree.execution import level_of
from bpfree.passes import carried
from bpfree.workloads import Data, Split

STEPS = {128: 12, 512: 6}
AT_MOST = 1.15


def figures(device: str) -> list[Figure]:
    """At batch 128 and 512, at the device's execution level."""
    return [figure for batch in STEPS for figure in at_batch(batch, device)]


def at_batch(batch: int, device: str) -> list[Figure]:
    """Time per FLOP of each stage over that of backprop."""
    data, level = split(STEPS[batch] * batch, device), level_of(None, device)
    baseline = method("backprop", device)
    flops = {"backprop": flops_of_step(baseline, data, batch)}
    actions: dict[str, Action] = {"backprop": epoch(baseline, data, batch, level)}
    for index in range(len(WIDTHS)):
        algorithm, kept = stage(index, data, device)
        name = f"layer {index + 1}, of {kept.inputs.shape[1]} inputs"
        flops[name] = flops_of_step(algorithm, kept, batch)
        actions[name] = epoch(algorithm, kept, batch, level)
    seconds = alternated(actions, device)
    rate = flops["backprop"] / seconds["backprop"]
    group = f"batch {batch}: time of a greedy stage's epoch over its FLOPs at backprop's rate"
    return [
        Figure(group, name, seconds[name] * rate / flops[name], theory=1.0, at_most=AT_MOST)
        for name in actions
        if name != "backprop"
    ]


def stage(index: int, data: Split, device: str) -> tuple[Algorithm, Split]:
    """Greedy Mono-Forward with one of its stages begun, and the data as this stage gets them from the trainer."""
    algorithm = build("mono_forward", {"schedule": "greedy", "cache": True}, device)
    algorithm.begin(algorithm.stages()[index])
    return algorithm, carried(algorithm, Data(data, data, data)).train if algorithm.caches else data
