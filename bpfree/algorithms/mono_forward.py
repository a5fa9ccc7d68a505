"""Mono-Forward (Gong, Li and Abdulla, arXiv 2501.09238).

Each block i has a projection Mᵢ (C×Nᵢ, no bias) that turns its activities into a goodness for each class.

    goodness    Gᵢ = aᵢ Mᵢᵀ
    loss        ℓᵢ = CE(softmax(Gᵢ), y)
    update      Sᵢ = (softmax(Gᵢ) − Y) / B
                dMᵢ = Sᵢᵀ aᵢ
                daᵢ = Sᵢ Mᵢ,  then dzᵢ = daᵢ ⊙ φ′(zᵢ),  dWᵢ = dzᵢᵀ aᵢ₋₁,  dbᵢ = Σ dzᵢ
    prediction  `last`: argmax G_L, of the last block trained;  `sum`: argmax Σᵢ Gᵢ over the blocks trained;
                `average`: argmax Σᵢ softmax(Gᵢ)

aᵢ₋₁ is taken as given: no gradient reaches block i−1. No negatives, no label in the input, no normalisation between
blocks. By default all blocks learn in one pass (*simultaneous*), as data flow through them; *greedy* trains one block
to its end, freezes it and goes on, as the study of arXiv 2511.01061 did. That study predicts from the last block, which
takes one pass and is the default; its M₀ on the raw input is not built, since no prediction uses it.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from bpfree.algorithms.base import (
    Cache,
    LocalAlgorithm,
    Projection,
    Schedule,
    cross_entropy,
    mean_probability,
    scores_by_block,
    softmax_error,
)
from bpfree.gradients import without_gradients
from bpfree.hyperparameters import HyperparameterSet


class MonoForward(LocalAlgorithm):
    """Local cross-entropy at every block."""

    name = "mono_forward"
    paper = "arXiv 2501.09238"
    closed_form = True

    class Hyperparameters(HyperparameterSet):
        """The learning rate and weight decay of W, b and M are the optimizer's."""

        schedule: Schedule = "simultaneous"
        prediction: Literal["last", "sum", "average"] = "last"
        cache: Cache = False

    def build(self) -> None:
        """One Mᵢ a block."""
        self.projections = [Projection(block.width, self.classes, self.generator) for block in self.blocks]

    def auxiliary(self, i: int) -> list[nn.Module]:
        """Mᵢ."""
        return [self.projections[i]]

    @without_gradients
    def step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One update of each block in training. Returns the last one's loss."""
        a, T_CB, log_p_CB = self.prefix(inputs), self.log_probability_gradient(labels_B), {}
        for i in self.stage.blocks:
            a, pullback = self.blocks[i].vjp(a)
            G_BC, through_M = self.projections[i].vjp(a, through=True)
            log_p_CB[i], S_BC = softmax_error(G_BC, T_CB)
            pullback(through_M(S_BC))
        self.advance(lambda i: cross_entropy(log_p_CB[i], labels_B))
        return cross_entropy(log_p_CB[i], labels_B)

    @without_gradients
    def predict(self, inputs: Tensor) -> Tensor:
        """G of the last block trained, Σᵢ Gᵢ, or the logarithm of the mean softmax."""
        if self.h.prediction == "last":
            G_BC: Tensor = self.projections[self.stage.blocks.stop - 1](self.output(inputs))
            return G_BC
        scores = list(self.block_scores(inputs))
        return mean_probability(scores) if self.h.prediction == "average" else torch.stack(scores).sum(0)

    def block_scores(self, inputs: Tensor) -> Iterator[Tensor]:
        """Gᵢ."""
        return scores_by_block(self.blocks[: self.stage.blocks.stop], self.projections, inputs)
