"""What a step's matrix products and its optimizer's kernel take by themselves: its arithmetic, with nothing beside it.

The operators of a step are seen as torch dispatches them; those that have FLOPs, and the fused update, are done again
with the same operands, in the same order. What a share of the peak lacks to this is the implementation's; what this
lacks to the peak is the shapes' of the products, and the memory's that the update goes through.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bpfree.algorithms import Algorithm

UPDATES = {torch.ops.aten._fused_adamw_}


class Arithmetic(TorchDispatchMode):
    """Keeps the calls of operators that compute."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], object]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def call() -> Any:
            return function(*args, **(kwargs or {}))

        if function.overloadpacket in flop_registry or function.overloadpacket in UPDATES:
            self.calls.append(call)
        return call()


def arithmetic(algorithm: Algorithm, inputs: Tensor, targets: Tensor, steps: int) -> Callable[[], None]:
    """That of so many steps like this one, which is the algorithm's second at the earliest: its memory is there."""
    with torch.no_grad(), Arithmetic() as recorded:
        algorithm.step(inputs, targets)

    @torch.inference_mode()
    def run() -> None:
        for _ in range(steps):
            for call in recorded.calls:
                call()

    return run
