"""Execution levels: how a step is launched. What it computes is the algorithm's, up to rounding, at every level.

    eager        operator by operator
    cuda_graph   the kernels of one step are recorded once a stage, and launched as one from then on
    compiled     torch.compile fuses all of a step but the optimizers' updates, whose kernels are fused already

All algorithms of a study run at the same level: to compare an eager loop with a fused one would measure Python.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import get_args

import torch
from torch import Tensor

from bpfree import errors
from bpfree.algorithms import Algorithm
from bpfree.errors import RequestError
from bpfree.records import Execution

Step = Callable[[Tensor, Tensor], Tensor]
"""`step(inputs, targets)` is one update and gives the loss, which the next step may overwrite."""

EAGER_STEPS = 3
"""Steps of a stage before its graph: they make what the optimizers keep, and let libraries choose their kernels."""
RECOMPILE_LIMIT = 1_000
"""Each stage of each setting is compiled; beyond 8 torch would go on uncompiled, silently."""


def level_of(wanted: str | None, device: str) -> Execution:
    """The level that is wanted, else the device's default.

    Raises
    ------
    RequestError
        An unknown name, or CUDA graphs without CUDA.
    """
    default: Execution = "eager" if device == "cpu" else "cuda_graph"
    if wanted == "cuda_graph" and device == "cpu":
        raise RequestError("execution = 'cuda_graph' needs a CUDA device, not the CPU: choose eager or compiled")
    return errors.find("execution", wanted, {level: level for level in get_args(Execution)}) if wanted else default


def step_of(algorithm: Algorithm, level: Execution) -> Step:
    """The step of the stage that has begun, at a level."""
    if level == "cuda_graph":
        return GraphedStep(algorithm)
    if level == "compiled":
        return CompiledStep(algorithm)
    return algorithm.step


def mode_of(algorithm: Algorithm, level: Execution) -> AbstractContextManager[None]:
    """Gradients off for a stretch of steps and all between them.

    Where autograd has no part in an eager step this is inference mode, in which torch does no bookkeeping for it: a
    twelfth of a small network's step. What is made in that mode can be changed in it alone, so a run stays in it from
    its first step to its last.
    """
    closed_form = algorithm.closed_form and all(block.closed_form for block in algorithm.blocks)
    return torch.inference_mode() if closed_form and level == "eager" else torch.no_grad()


class GraphedStep:
    """The steps of a stage as replays of one CUDA graph; its first few are eager ones.

    A graph replays kernels, not Python: inputs are copied to where its kernels read them, learning rates become
    tensors on the device, and the algorithm's generator is made known to it.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.taken = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        for optimizer in algorithm.optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
                group["lr"] = torch.tensor(group["lr"], dtype=torch.float64, device=algorithm.device)

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """One update."""
        if self.graph is None and self.taken < EAGER_STEPS:
            self.taken += 1
            return self.eager(inputs, targets)
        if self.graph is None:
            self.graph = self.capture(inputs, targets)
        self.inputs.copy_(inputs)
        self.targets.copy_(targets)
        self.graph.replay()
        return self.loss

    def eager(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """One step on a stream of its own, as capture wants it of what comes before."""
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            loss = self.algorithm.step(inputs, targets)
        current.wait_stream(self.stream)
        return loss

    def capture(self, inputs: Tensor, targets: Tensor) -> torch.cuda.CUDAGraph:
        """Record one step; nothing is computed."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.algorithm.generator)
        self.inputs, self.targets = inputs.clone(), targets.clone()
        with torch.cuda.graph(graph):
            self.loss = self.algorithm.step(self.inputs, self.targets)
        return graph


class CompiledStep:
    """A step as one compiled graph; the optimizers' updates follow it.

    A step ends with the updates, so that all before them is one graph. The first step is an eager one: it makes the
    memory of the gradients, without which torch would compile for both, that it is there and is not.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
        torch._dynamo.config.accumulated_recompile_limit = RECOMPILE_LIMIT
        torch._dynamo.config.trace_autograd_ops = True  # else the graph ends where autograd differentiates a block
        self.algorithm = algorithm
        self.told = [key for key, optimizer in algorithm.optimizers.items() if hasattr(optimizer, "loss")]
        self.losses: dict[int, Tensor] = {}
        self.launch: Step = algorithm.step
        self.compiled: Step = torch.compile(algorithm.step, dynamic=False)

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """One update."""
        self.algorithm.advance = self.wait  # type: ignore[method-assign]
        loss = self.launch(inputs, targets)
        del self.algorithm.advance  # the class's own again
        self.algorithm.advance(self.losses.__getitem__)
        self.launch = self.compiled
        return loss

    def wait(self, loss: Callable[[int], Tensor]) -> None:
        """Stands in for `advance` within a step, and is compiled with it."""
        self.losses = {key: loss(key) for key in self.told}
