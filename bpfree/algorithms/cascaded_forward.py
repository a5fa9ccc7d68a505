"""Cascaded-Forward (Zhao et al., arXiv 2303.09728).

On each block's flattened output hᵢ a linear predictor Wᵢ (C×Nᵢ, no bias) learns, blind to the others.

    prediction of block i   oᵢ = hᵢ Wᵢᵀ
    loss    `cross_entropy`   ℓᵢ = CE(softmax(oᵢ), y)          S = (softmax(oᵢ) − Y) / B    dWᵢ = Sᵀ hᵢ
            `sparsemax`       ℓᵢ = Fenchel-Young of sparsemax  S = (sparsemax(oᵢ) − Y) / B  dWᵢ = Sᵀ hᵢ
            `squared_error`   ℓᵢ = ‖oᵢ − Y‖² / B  has a solution:  Wᵢᵀ = (HᵀH + λ N I)⁻¹ HᵀY, H all N samples' hᵢ;
                              HᵀH and HᵀY are added up over the stage, one epoch, in float64
    prediction  `probabilities`: argmax Σᵢ softmax(oᵢ)   (Σᵢ sparsemax(oᵢ) under that loss; the paper)
                `logits`: argmax Σᵢ oᵢ   (the study of arXiv 2511.01061)      `last`: argmax o_L
    blocks  `random`: as they were drawn   (the released code)
            `feedback`: first trained by direct feedback alignment.  With o = V h_L + c on the last block and
                e = (softmax(o) − Y) / B:  dhᵢ = e Bᵢ, Bᵢ (C×Nᵢ) Gaussian and fixed, rows of unit length, pulled back
                through block i alone;  dh_L = e V, exact.  V and c then go unused

As in the paper predictors are trained one after another (*greedy*); *simultaneous* updates all of them in one pass over
the data. Batch normalisation of a block in training uses the batch and gathers running statistics; finished blocks and
all predictions use the running ones, so no prediction depends on the other samples of its batch (the released code
normalises the test set by the test set). Defaults are the paper's main form: random blocks, cross-entropy, summed
probabilities. The paper's blocks are convolutional; on a
multilayer perceptron the dense blocks take their place. Scores are the logarithm of the mean probability where
probabilities are summed.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from bpfree.algorithms.base import (
    Cache,
    LocalAlgorithm,
    Projection,
    Schedule,
    Stage,
    cross_entropy,
    mean_probability,
    one_hot,
    scores_by_block,
    softmax_error,
)
from bpfree.gradients import without_gradients
from bpfree.hyperparameters import HyperparameterSet
from bpfree.workloads.networks import product

FEEDBACK = "feedback"


class CascadedForward(LocalAlgorithm):
    """Linear predictors on a cascade of blocks that are random, or trained by direct feedback alignment."""

    name = "cascaded_forward"
    paper = "arXiv 2303.09728"
    closed_form = True

    class Hyperparameters(HyperparameterSet):
        """Learning rate and weight decay are the optimizer's; for the blocks under feedback, unless set here."""

        blocks: Literal["random", "feedback"] = "random"
        loss: Literal["cross_entropy", "squared_error", "sparsemax"] = "cross_entropy"
        prediction: Literal["probabilities", "logits", "last"] = "probabilities"
        ridge: Annotated[float, Field(gt=0, le=1e6)] = 1e-3
        feedback_epochs: Annotated[int, Field(ge=1)] = 10
        feedback_stops_early: bool = True
        feedback_learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None
        feedback_weight_decay: Annotated[float, Field(ge=0, le=1)] | None = None
        schedule: Schedule = "greedy"
        cache: Cache = False

    def build(self) -> None:
        """Wᵢ, and under feedback Bᵢ."""
        self.predictors = [Projection(block.width, self.classes, self.generator) for block in self.blocks]
        self.grams: dict[int, list[Tensor]] = {}
        self.solved = False
        self.B = []
        if self.h.blocks == "feedback":
            for block in self.blocks[:-1]:
                B = torch.randn(self.classes, block.width, generator=self.generator, device=self.device)
                self.B.append(F.normalize(B, dim=1))

    def stages(self) -> list[Stage]:
        """Under feedback the blocks first; then the predictors, one epoch each where they have a solution."""
        limit = 1 if self.h.loss == "squared_error" else None
        predictors = [Stage(s.name, s.blocks, s.modules, limit) for s in super().stages()]
        if self.h.blocks == "random":
            return predictors
        every = range(len(self.blocks))
        limit, stops = self.h.feedback_epochs, self.h.feedback_stops_early
        feedback = Stage(FEEDBACK, every, [*self.blocks, self.head], limit, stops, predicts=False)
        return [feedback, *predictors]

    def auxiliary(self, i: int) -> list[nn.Module]:
        """Wᵢ."""
        return [self.predictors[i]]

    def parameters(self, i: int) -> Iterable[Tensor]:
        """Wᵢ alone: the block stays as it is."""
        return self.predictors[i].parameters()

    def begin(self, stage: Stage) -> None:
        """The sums that the stage before has left are freed too."""
        super().begin(stage)
        self.grams.clear()

    def end(self, weights: Sequence[dict[str, Tensor]] | None) -> None:
        """The sums are freed: a prediction solves for nothing in the place of these weights."""
        super().end(weights)
        self.grams.clear()

    def fresh_optimizers(self) -> dict[int, Optimizer]:
        """Those of the predictors, none where they are solved for; while feedback trains the blocks one for all."""
        if self.stage.name == FEEDBACK:
            own = {"learning_rate": self.h.feedback_learning_rate, "weight_decay": self.h.feedback_weight_decay}
            given = {name: value for name, value in own.items() if value is not None}
            return {0: self.make_optimizer([p for m in self.stage.modules for p in m.parameters()], **given)}
        return {} if self.h.loss == "squared_error" else super().fresh_optimizers()

    def training_mode(self) -> None:
        """Blocks that feedback has trained keep their statistics. After further steps there is a new solution."""
        super().training_mode()
        self.solved = False
        if self.h.blocks == "feedback" and self.stage.name != FEEDBACK:
            self.evaluation_mode()

    @without_gradients
    def step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One update of what is in training. Returns the mean of the losses."""
        if self.stage.name == FEEDBACK:
            return self.feedback_step(inputs, labels_B)
        h, losses = self.prefix(inputs), {}
        for i in self.stage.blocks:
            h = self.blocks[i](h)
            losses[i] = self.learn(i, h.flatten(1), labels_B)
        self.advance(losses.__getitem__)
        return torch.stack(list(losses.values())).mean()

    def learn(self, i: int, h_BN: Tensor, labels_B: Tensor) -> Tensor:
        """The gradient of predictor i, or its part of the sums. Returns its loss."""
        W = self.predictors[i]
        o_BC, pullback = W.vjp(h_BN)
        if self.h.loss == "cross_entropy":
            log_p_CB, S_BC = softmax_error(o_BC, self.log_probability_gradient(labels_B))
            pullback(S_BC)
            return cross_entropy(log_p_CB, labels_B)
        Y_BC = one_hot(labels_B, self.classes)
        if self.h.loss == "squared_error":
            self.gather(i, h_BN, Y_BC)
            squared_error: Tensor = (o_BC - Y_BC).square().sum(1).mean()
            return squared_error
        p_BC, tau_B = sparsemax(o_BC)
        pullback((p_BC - Y_BC) / len(labels_B))
        return sparsemax_loss(o_BC, tau_B, labels_B)

    def gather(self, i: int, h_BN: Tensor, Y_BC: Tensor) -> None:
        """Add a batch to HᵀH, HᵀY and N, in float64 and in place."""
        H, Y = h_BN.double(), Y_BC.double()
        if i not in self.grams:
            sums = [H.new_zeros(H.shape[1], size) for size in (H.shape[1], Y.shape[1])]
            self.grams[i] = [*sums, H.new_zeros(1)]  # torch.compile loses what is added to a scalar of float64
        gram, moment, n = self.grams[i]
        gram += H.T @ H
        moment += H.T @ Y
        n += len(H)

    def solve(self) -> None:
        """Wᵢᵀ = (HᵀH + λ N I)⁻¹ HᵀY for the predictors that have sums, once after the steps so far."""
        if self.solved:
            return
        for i, (gram, moment, n) in self.grams.items():
            ridge = self.h.ridge * n * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
            W = self.predictors[i].weight
            W.copy_(torch.linalg.solve(gram + ridge, moment).T)
        self.solved = True

    def feedback_step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One update of all blocks by direct feedback alignment; no gradient crosses from block to block."""
        a, pullbacks = inputs, []
        for block in self.blocks:
            a, pullback = block.vjp(a)
            pullbacks.append(pullback)
        o_BC, through_head = self.head.vjp(a)
        log_p_CB, e_BC = softmax_error(o_BC, self.log_probability_gradient(labels_B))
        *hidden, last = pullbacks
        for B, pullback in zip(self.B, hidden, strict=True):
            pullback(product(e_BC, B.T))
        last(through_head(e_BC))
        loss = cross_entropy(log_p_CB, labels_B)
        self.advance(lambda _: loss)
        return loss

    @without_gradients
    def predict(self, inputs: Tensor) -> Tensor:
        """By the predictors trained so far; while feedback trains the blocks, by its own head."""
        if self.stage.name == FEEDBACK:
            scores: Tensor = self.head(self.output(inputs))
            return scores
        if self.h.prediction != "last":
            return self.combine(list(self.block_scores(inputs)))
        self.solve()
        return self.combine([self.predictors[self.stage.blocks.stop - 1](self.output(inputs))])

    def block_scores(self, inputs: Tensor) -> Iterator[Tensor]:
        """oᵢ = Wᵢ hᵢ; none before the predictors' stages."""
        if self.stage.name == FEEDBACK:
            return iter(())
        self.solve()
        return scores_by_block(self.blocks[: self.stage.blocks.stop], self.predictors, inputs)

    def combine(self, outputs: list[Tensor]) -> Tensor:
        """One score a class from the outputs of the predictors that are read."""
        if self.h.prediction != "probabilities":
            return torch.stack(outputs).sum(0)
        if self.h.loss == "sparsemax":
            return torch.stack([sparsemax(o)[0] for o in outputs]).mean(0)
        return mean_probability(outputs)


def sparsemax(o_BC: Tensor) -> tuple[Tensor, Tensor]:
    """p = max(o − τ, 0) on the simplex, and τ: the support is the largest k with 1 + k o₍ₖ₎ > Σ_{j≤k} o₍ⱼ₎."""
    ordered = o_BC.sort(1, descending=True).values
    sums = ordered.cumsum(1)
    count = torch.arange(1, o_BC.shape[1] + 1, device=o_BC.device, dtype=o_BC.dtype)
    k_B = (1 + count * ordered > sums).sum(1, keepdim=True)
    tau_B = (sums.gather(1, k_B - 1) - 1) / k_B
    return (o_BC - tau_B).clamp(min=0), tau_B


def sparsemax_loss(o_BC: Tensor, tau_B: Tensor, labels_B: Tensor) -> Tensor:
    """Mean of −o_y + ½ Σ_{j in support} (oⱼ² − τ²) + ½ (Martins and Astudillo, arXiv 1602.02068)."""
    support = o_BC > tau_B
    half = 0.5 * ((o_BC.square() - tau_B.square()) * support).sum(1) + 0.5
    loss: Tensor = (half - o_BC.gather(1, labels_B[:, None])[:, 0]).mean()
    return loss
