"""Cascaded-Forward (Zhao et al., arXiv 2303.09728), with random blocks.

The blocks stay as they were drawn. On each block's flattened output hᵢ a linear predictor Wᵢ (C×Nᵢ, no bias) learns.

    prediction of block i   oᵢ = hᵢ Wᵢᵀ
    loss                    ℓᵢ = CE(softmax(oᵢ), y)
    update                  S = (softmax(oᵢ) − Y) / B,  dWᵢ = Sᵀ hᵢ
    prediction              argmax Σᵢ softmax(oᵢ), over the predictors trained so far

The predictors do not see each other. As in the paper they are trained one after another (*greedy*); *simultaneous*
updates all of them in one pass over the data. Batch normalisation of the block in training uses the batch and gathers
running statistics; finished blocks and all predictions use the running ones, so that no prediction depends on the
other samples of its batch (the released code normalises the test set by the test set).

The score is log Σᵢ softmax(oᵢ)/k for k predictors: the same argmax, and its cross-entropy is that of the mean
probability.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bpfree.algorithms.base import LocalAlgorithm, Projection, Schedule, softmax_error
from bpfree.hyperparameters import HyperparameterSet


class CascadedForward(LocalAlgorithm):
    """Linear predictors on a cascade of random blocks."""

    name = "cascaded_forward"
    paper = "arXiv 2303.09728"

    class Hyperparameters(HyperparameterSet):
        """The learning rate and weight decay of the predictors are the optimizer's."""

        schedule: Schedule = "greedy"

    def build(self) -> None:
        """One Wᵢ a block."""
        self.predictors = [Projection(block.width, self.classes, self.generator) for block in self.blocks]

    def auxiliary(self, i: int) -> list[nn.Module]:
        """Wᵢ."""
        return [self.predictors[i]]

    def parameters(self, i: int) -> Iterable[Tensor]:
        """Wᵢ alone: the block is random and stays so."""
        return self.predictors[i].parameters()

    @torch.no_grad()
    def step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One update of each predictor in training. Returns the mean of their losses."""
        h = self.prefix(inputs)
        losses = []
        for i in self.stage.blocks:
            h = self.blocks[i](h)
            W = self.predictors[i]
            o_BC = W(h)
            W.weight.grad = softmax_error(o_BC, labels_B).T @ h.flatten(1)
            self.optimizers[i].step()
            losses.append(F.cross_entropy(o_BC, labels_B))
        return torch.stack(losses).mean()

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """log of the mean probability of the predictors trained so far."""
        h = inputs
        log_probabilities = []
        for block, W in zip(self.blocks[: self.stage.blocks.stop], self.predictors, strict=False):
            h = block(h)
            log_probabilities.append(W(h).log_softmax(1))
        return torch.stack(log_probabilities).logsumexp(0) - math.log(len(log_probabilities))
