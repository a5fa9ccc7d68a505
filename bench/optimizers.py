"""What each optimizer's step takes beside torch's fused AdamW, and what each keeps beside the parameters.

Parameters of 784→3×536→10 and 784→3×2048→10: 1 and 10 million, of which the former fit a large cache and the latter
none. All optimizers update copies of the same parameters by the same gradients. A fused kernel reads and writes every
value once; the operators of the others go through memory several times. What is kept is counted exactly: bytes of all
tensors in state and groups, those of an inner optimizer included, over the parameters' bytes. Theory there is what the
optimizer's docstring says.
"""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from bench.alternation import Action, Figure, alternated
from bpfree.optimizers import OPTIMIZERS
from bpfree.workloads.networks import mlp

SIZES = {"1e6": (536, 10), "1e7": (2048, 1)}
"""Width of the network, and steps in a measurement."""
REFERENCE = "torch's fused AdamW"
COPIES = {
    "sgd": 1, "adam": 2, "adamw": 2, "nadamw": 2, "schedule_free_adamw": 2, "dadapt_adamw": 3, "prodigy": 4,
    "mechanic": 3, "dog": 1, "ldog": 1, "dowg": 1, "momo": 1, "momo_adam": 2, "cocob": 5,
}  # fmt: skip


def figures(device: str) -> list[Figure]:
    """Of every optimizer in the table: time at both sizes, then memory."""
    found = []
    for size, (width, steps) in SIZES.items():
        built = fresh(width, device)
        found += times(size, built, steps, device)
    return found + kept(built)


def fresh(width: int, device: str) -> dict[str, Optimizer]:
    """torch's fused AdamW and every optimizer of the table at its defaults, each on its own copy of the parameters."""
    torch.manual_seed(0)
    network = mlp(784, (width,) * 3, 10)
    first = [p.detach().to(device) for module in (*network.blocks, network.head) for p in module.parameters()]
    gradients = [torch.randn_like(p) / 1000 for p in first]

    def parameters() -> list[Tensor]:
        copies = [p.clone().requires_grad_() for p in first]
        for copy, gradient in zip(copies, gradients, strict=True):
            copy.grad = gradient
        return copies

    own = {name: entry.build(parameters(), entry.hyperparameters()) for name, entry in OPTIMIZERS.items()}
    return {REFERENCE: torch.optim.AdamW(parameters(), fused=True), **own}


def times(size: str, built: Mapping[str, Optimizer], steps: int, device: str) -> list[Figure]:
    """A step's time over that of torch's fused AdamW."""
    loss = torch.ones((), device=device)
    seconds = alternated({name: steps_of(optimizer, loss, steps) for name, optimizer in built.items()}, device)
    group = f"{size} parameters: a step's time over that of {REFERENCE}"
    return [Figure(group, name, seconds[name] / seconds[REFERENCE], form="{:.2f}") for name in OPTIMIZERS]


def steps_of(optimizer: Optimizer, loss: Tensor, steps: int) -> Action:
    """Some steps, each told the loss where the optimizer adapts to it, as `Algorithm.advance` does."""

    def run() -> None:
        for _ in range(steps):
            if hasattr(optimizer, "loss"):
                optimizer.loss = loss
            optimizer.step()

    return run


def kept(built: Mapping[str, Optimizer]) -> list[Figure]:
    """What each keeps once it has stepped, in copies of the parameters."""
    found = []
    for name in OPTIMIZERS:
        parameters = [p for group in built[name].param_groups for p in group["params"]]
        own = {id(p) for p in parameters}
        beside = {id(t): t for t in tensors_of(built[name]) if id(t) not in own}
        copies = bytes_of(beside.values()) / bytes_of(parameters)
        found.append(Figure("memory beside the parameters, in copies of them", name, [copies], theory=COPIES[name]))
    return found


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Of their elements."""
    return sum(tensor.nbytes for tensor in tensors)


def tensors_of(optimizer: Optimizer) -> Iterator[Tensor]:
    """All in an optimizer's state and groups, and in those of one that it holds."""
    yield from tensors_in([*optimizer.state.values(), *optimizer.param_groups])
    if isinstance(inner := getattr(optimizer, "base", None), Optimizer):
        yield from tensors_of(inner)


def tensors_in(value: object) -> Iterator[Tensor]:
    """All within lists and tables."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(item)
