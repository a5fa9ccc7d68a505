"""Backpropagation (Rumelhart, Hinton and Williams, Nature 323, 1986): the baseline.

    loss        ℓ = CE(softmax(o), y),  o = V a_L + c,  aᵢ = blockᵢ(aᵢ₋₁),  a₀ = x
    update      ∇ℓ with respect to all parameters, by the chain rule through all blocks
    prediction  argmax o

The network is the others' exactly, with a linear head on the last block; nothing else is in its optimizer. The first
block needs no gradient of its input, and none is computed.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from bpfree.algorithms.base import Algorithm, Stage
from bpfree.hyperparameters import HyperparameterSet


class Backprop(Algorithm):
    """One stage, one global loss."""

    name = "backprop"
    paper = "Rumelhart, Hinton, Williams 1986, Nature 323, 533-536"

    class Hyperparameters(HyperparameterSet):
        """None of its own: learning rate and weight decay are the optimizer's."""

    def stages(self) -> list[Stage]:
        """One, with the whole network."""
        return [Stage("network", range(len(self.blocks)), [*self.blocks, self.head])]

    def step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One update of all parameters."""
        self.optimizers[0].zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.scores(inputs), labels_B)
        torch.autograd.backward(loss)
        self.advance(0, loss.detach)
        return loss.detach()

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """o = V a_L + c."""
        return self.scores(inputs)

    def scores(self, inputs: Tensor) -> Tensor:
        """Logits (B, C), differentiable."""
        a = inputs
        for block in self.blocks:
            a = block(a)
        logits: Tensor = self.head(a.flatten(1))
        return logits
