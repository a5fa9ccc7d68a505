"""What every algorithm is: a few methods that the trainer calls. The trainer owns loops, clocks, stopping and meters.

Shape letters in all algorithm files: B batch, C classes, D inputs of a block, N outputs of a block.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from bpfree.gradients import without_gradients
from bpfree.hyperparameters import HyperparameterSet
from bpfree.workloads.networks import Block, Head, Pullback, buffer, product

MakeOptimizer = Callable[..., Optimizer]
Loss = Callable[[Tensor, Tensor], Tensor]
Schedule = Annotated[
    Literal["simultaneous", "greedy"], "all blocks in every step, or one block to its end after another"
]


Cache = Annotated[bool, "keep the outputs of finished blocks instead of computing them anew in every step"]


@dataclass(frozen=True)
class Stage:
    """A part of a training that has its own parameters and stopping."""

    name: str
    blocks: range
    """Indices of the blocks that are trained in it."""
    modules: list[nn.Module]
    """What it trains: the trainer saves and restores these."""
    max_epochs: int | None = None
    """Its own limit, if its paper sets one."""
    stops_early: bool = True
    """Whether patience may end it before its limit."""
    predicts: bool = True
    """Whether what it predicts meanwhile is the algorithm's own prediction, and so may reach a target."""


class Algorithm(ABC):
    """How a network's parameters are trained.

    Parameters
    ----------
    blocks, head
        The network, on its device. A local algorithm leaves the head alone.
    hyperparameters
        An instance of the class's own `Hyperparameters`.
    make_optimizer
        `make_optimizer(parameters, **overrides)` builds the run's optimizer.
    generator
        The run's own source of randomness, on the network's device: initial projections, negatives.
    loss
        The workload's. Local algorithms have losses of their own, and take the targets for labels.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    architectures: ClassVar[tuple[str, ...]] = ("mlp", "cnn")
    closed_form: bool = False
    """Whether autograd has no part in what its steps do beside its blocks: say so only where it is so."""
    Hyperparameters: ClassVar[type[HyperparameterSet]]

    def __init__(
        self,
        blocks: Sequence[Block],
        head: Head,
        hyperparameters: Any,
        make_optimizer: MakeOptimizer,
        generator: torch.Generator,
        loss: Loss = F.cross_entropy,
    ) -> None:
        self.blocks = blocks
        self.head = head
        self.h = hyperparameters
        self.make_optimizer = make_optimizer
        self.generator = generator
        self.loss = loss
        self.classes = head.out_features
        self.device = head.weight.device
        self.stage: Stage
        self.optimizers: dict[int, Optimizer] = {}
        self.entry = 0
        """The block that the inputs of a step enter: beyond the first where outputs of finished blocks are kept."""
        self.build()

    def build(self) -> None:  # noqa: B027 (not every algorithm has any)
        """Make the modules that the algorithm has beside the network."""

    @abstractmethod
    def stages(self) -> list[Stage]:
        """The stages, in order."""

    def begin(self, stage: Stage) -> None:
        """Make that stage's optimizers; those of the stage before are freed, and so are all gradients."""
        self.stage = stage
        for module in (module for every in self.stages() for module in every.modules):
            module.zero_grad(set_to_none=True)
        self.optimizers = self.fresh_optimizers()
        self.training_mode()

    def fresh_optimizers(self) -> dict[int, Optimizer]:
        """The optimizers of the stage in training: here one for all its parameters."""
        return {0: self.make_optimizer([p for module in self.stage.modules for p in module.parameters()])}

    def advance(self, loss: Callable[[int], Tensor]) -> None:
        """End a step: update all that is in training by the gradients that are there.

        An optimizer that adapts to its loss is told `loss(key)` first, by its key in `optimizers`.
        """
        for key, optimizer in self.optimizers.items():
            if hasattr(optimizer, "loss"):  # MoMo; for the others the loss need not even be computed
                optimizer.loss = loss(key)
            optimizer.step()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """For a while the weights are those that are evaluated and kept: of an optimizer that averages, the average."""
        averaging: list[Any] = [optimizer for optimizer in self.optimizers.values() if hasattr(optimizer, "eval")]
        for optimizer in averaging:
            optimizer.eval()
        yield
        for optimizer in averaging:
            optimizer.train()

    def end(self, weights: Sequence[dict[str, Tensor]] | None) -> None:
        """End the stage with these weights, or with its last; its optimizers are freed."""
        for optimizer in self.optimizers.values():
            if hasattr(optimizer, "eval"):
                optimizer.eval()
        if weights is not None:
            for module, kept in zip(self.stage.modules, weights, strict=True):
                module.load_state_dict(kept)
        self.optimizers = {}

    def log_probability_gradient(self, labels_B: Tensor) -> Tensor:
        """T = −Yᵀ / B, shape (C, B): the mean cross-entropy's gradient with respect to log p, whatever the scores."""
        B, dtype = len(labels_B), self.head.weights[0].dtype
        return labels_B.new_zeros(self.classes, B, dtype=dtype).scatter_(0, labels_B[None], -1 / B)

    @abstractmethod
    def step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One update. Returns the mean loss of the batch as a scalar on the device."""

    @abstractmethod
    def predict(self, inputs: Tensor) -> Tensor:
        """Scores (B, C), with the blocks trained so far; the highest is the prediction."""

    def block_scores(self, inputs: Tensor) -> Iterator[Tensor]:  # noqa: ARG002 (for subclasses)
        """Scores (B, C) by each block's own prediction, of the blocks trained so far; none where blocks make none."""
        return iter(())

    @property
    def caches(self) -> bool:
        """Whether the stage in training wants the outputs of finished blocks kept."""
        return False

    def prefix(self, inputs: Tensor) -> Tensor:
        """What the first block in training sees of the inputs."""
        return inputs

    def training_mode(self) -> None:
        """Batch statistics for the blocks in training, running ones for finished blocks."""
        self.evaluation_mode()
        for module in self.stage.modules:
            module.train()

    def evaluation_mode(self) -> None:
        """No batch statistics: a prediction never depends on the other samples of its batch."""
        for block in self.blocks:
            block.eval()


class LocalAlgorithm(Algorithm):
    """An algorithm that trains each block on a loss of its own: all in every step, or one to its end after another.

    Subclasses say what a block trains beside itself (`auxiliary`) and which parameters its optimizer gets
    (`parameters`). No update of a block depends on another block.
    """

    def stages(self) -> list[Stage]:
        """One stage for all blocks, or one a block."""
        if self.h.schedule == "simultaneous":
            every = range(len(self.blocks))
            return [Stage("all blocks", every, [m for i in every for m in self.modules(i)])]
        return [Stage(f"block {i + 1}", range(i, i + 1), self.modules(i)) for i in range(len(self.blocks))]

    def modules(self, i: int) -> list[nn.Module]:
        """What the training of block i changes."""
        return [self.blocks[i], *self.auxiliary(i)]

    def auxiliary(self, i: int) -> list[nn.Module]:  # noqa: ARG002 (for subclasses)
        """Modules trained with block i that are not part of the network."""
        return []

    def parameters(self, i: int) -> Iterable[Tensor]:
        """Parameters that block i's optimizer updates."""
        return [p for module in self.modules(i) for p in module.parameters()]

    def fresh_optimizers(self) -> dict[int, Optimizer]:
        """One for each block in training, or one for all where that comes to the same in fewer kernels."""
        blocks = self.stage.blocks
        # The last block first: its gradients, the newest, are still in the cache when the update begins.
        shared = self.make_optimizer([p for i in reversed(blocks) for p in self.parameters(i)])
        if getattr(shared, "separable", False):
            return {blocks.start: shared}
        return {i: self.make_optimizer(self.parameters(i)) for i in blocks}

    @without_gradients
    def prefix(self, inputs: Tensor) -> Tensor:
        """Inputs of the first block in training: the finished blocks before it, applied."""
        for block in self.blocks[self.entry : self.stage.blocks.start]:
            inputs = block(inputs)
        return inputs

    def output(self, inputs: Tensor) -> Tensor:
        """Of the last block trained so far."""
        a = inputs
        for block in self.blocks[: self.stage.blocks.stop]:
            a = block(a)
        return a

    @property
    def caches(self) -> bool:
        """Whether the stage's first block can be fed what the trainer keeps."""
        return getattr(self.h, "cache", False) and self.stage.blocks.start > self.entry


class Projection(nn.Module):
    """A bias-free linear map from a block's flattened output (B, N) to class scores (B, C): `scores = a Mᵀ`."""

    def __init__(self, width: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        # U(−1/√N, 1/√N), as PyTorch's linear layers.
        unit = torch.rand(classes, width, generator=generator, device=generator.device)
        self.weight = nn.Parameter((2 * unit - 1) / width**0.5)
        self.weights = (self.weight,)

    def forward(self, a: Tensor) -> Tensor:
        """Class scores (B, C)."""
        return product(a.flatten(1), self.weight)

    def vjp(self, a: Tensor, *, through: bool = False) -> tuple[Tensor, Pullback]:
        """Scores, and the function that sets dM = Sᵀ a from their gradient S and returns da = S M if `through`."""
        (M,), a_BN = self.weights, a.flatten(1)

        def pullback(S_BC: Tensor) -> Tensor | None:
            torch.mm(S_BC.T, a_BN, out=buffer(M))
            return product(S_BC, M.T) if through else None

        return product(a_BN, M), pullback


def scores_by_block(blocks: Sequence[Block], readouts: Sequence[Projection], inputs: Tensor) -> Iterator[Tensor]:
    """Scores (B, C) that each block's own read-out makes of its output; a read-out without its block is left out."""
    a = inputs
    for block, readout in zip(blocks, readouts, strict=False):
        a = block(a)
        yield readout(a)


def one_hot(labels_B: Tensor, classes: int) -> Tensor:
    """Y (B, C)."""
    return (labels_B[:, None] == torch.arange(classes, device=labels_B.device)).float()


def softmax_error(scores_BC: Tensor, T_CB: Tensor) -> tuple[Tensor, Tensor]:
    """log p = log softmax(scores), shape (C, B), and S = (softmax(scores) − Y) / B, shape (B, C).

    S is the gradient of the mean cross-entropy with respect to the scores: T = −Yᵀ / B pulled back through log p, in
    one kernel. A class is a row here, as it is in the memory of scores: a softmax within rows would copy them first.
    """
    log_p_CB = scores_BC.T.log_softmax(0)
    return log_p_CB, torch._log_softmax_backward_data(T_CB, log_p_CB, 0, log_p_CB.dtype).T


def cross_entropy(log_p_CB: Tensor, labels_B: Tensor) -> Tensor:
    """The mean of −log p at the labels."""
    return F.nll_loss(log_p_CB.T, labels_B)


def mean_probability(scores: Sequence[Tensor]) -> Tensor:
    """log of the mean softmax: its argmax is that of the summed probabilities, its cross-entropy the mean's."""
    return torch.stack([s.log_softmax(1) for s in scores]).logsumexp(0) - math.log(len(scores))
