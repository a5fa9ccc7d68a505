"""Each algorithm's step beside backprop's, beside the exact FLOP ratio, beside the device's arithmetic limit.

784→3×1000→10, an epoch of steps with shuffling, batching and AdamW. The peak is a large matrix product's in the same
rounds; the optimizer's share is its own steps' time with gradients in place.
"""

from bench.alternation import Figure, alternated, peak_action
from bench.networks import METHODS, autograd_epoch, epoch, flops_of_step, method, split

STEPS = {128: 20, 512: 10}
WIDTHS = (1000,) * 3
RATIO = 1.10
SHARES = {128: {"backprop": 0.75, "mono_forward": 0.70, "forward_forward": 0.70}, 512: dict.fromkeys(METHODS, 0.85)}
HELD = ("mono_forward", "forward_forward", "forward_forward, read-out")


def figures(device: str) -> list[Figure]:
    """At batch 128 and 512."""
    return [figure for batch in STEPS for figure in at_batch(batch, device)]


def at_batch(batch: int, device: str) -> list[Figure]:
    """Ratios, shares of the peak, optimizers' shares, and a plain autograd loop beside."""
    steps = STEPS[batch]
    data = split(steps * batch, device)
    built = {name: method(name, device, WIDTHS) for name in METHODS}
    flops = {name: flops_of_step(algorithm, data, batch) for name, algorithm in built.items()}
    product, product_flops = peak_action(device)

    def update(name: str) -> None:
        for _ in range(steps):
            for optimizer in built[name].optimizers.values():
                optimizer.step()

    actions = {name: epoch(algorithm, data, batch) for name, algorithm in built.items()}
    actions |= {f"optimizer of {name}": (lambda name=name: update(name)) for name in ("backprop", "mono_forward")}
    seconds = alternated({**actions, "autograd": autograd_epoch(data, batch, WIDTHS), "peak": product}, device)
    peak, baseline, found = product_flops / seconds["peak"], seconds["backprop"], []
    for name in METHODS:
        theory = flops[name] / flops["backprop"]
        if name != "backprop":
            bar = RATIO if batch == 512 and name in HELD and device == "cpu" else None
            title = f"batch {batch}: {name} over backprop, over FLOP ratio {theory:.2f}"
            found.append(Figure(title, seconds[name] / baseline / theory, theory=1.0, at_most=bar))
        share = SHARES[batch].get(name) if name in ("backprop", *HELD) and device == "cpu" else None
        rate = flops[name] * steps / seconds[name]
        found.append(Figure(f"batch {batch}: {name}, share of the peak", rate / peak, theory=1.0, at_least=share))
    for name in ("backprop", "mono_forward"):
        share_of_time = seconds[f"optimizer of {name}"] / seconds[name]
        found.append(Figure(f"batch {batch}: {name}, optimizer's share of the time", share_of_time))
    found.append(Figure(f"batch {batch}: plain autograd loop over backprop here", seconds["autograd"] / baseline))
    return found
