"""Backpropagation (Rumelhart, Hinton and Williams, Nature 323, 1986): the baseline.

    loss        ℓ(o, y), the workload's,  o = V a_L + c,  aᵢ = blockᵢ(aᵢ₋₁),  a₀ = x
    update      e = ∂ℓ/∂o,  dV = eᵀ a_L,  dc = Σ e,  da_L = e V
                from the last block to the first: from daᵢ the gradients of its parameters and daᵢ₋₁
    prediction  o; of a classifier argmax o, whose ℓ = CE(softmax(o), y) has e = (softmax(o) − Y) / B

The network is the others' exactly, with a linear head on the last block; nothing else is in its optimizer. The first
block needs no gradient of its input, and none is computed.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from bpfree.algorithms.base import Algorithm, Stage, cross_entropy, softmax_error
from bpfree.gradients import without_gradients
from bpfree.hyperparameters import HyperparameterSet


class Backprop(Algorithm):
    """One stage, one global loss."""

    name = "backprop"
    paper = "Rumelhart, Hinton, Williams 1986, Nature 323, 533-536"
    architectures = ("mlp", "cnn", "autoencoder", "transformer", "recurrent")

    class Hyperparameters(HyperparameterSet):
        """None of its own: learning rate and weight decay are the optimizer's."""

    def build(self) -> None:
        """Only the loss of classifiers has its gradient written out."""
        self.closed_form = self.loss is F.cross_entropy

    def stages(self) -> list[Stage]:
        """One, with the whole network."""
        return [Stage("network", range(len(self.blocks)), [*self.blocks, self.head])]

    @without_gradients
    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """One update of all parameters."""
        a, pullbacks = inputs, []
        for block in self.blocks:
            a, pullback = block.vjp(a, through=block is not self.blocks[0])
            pullbacks.append(pullback)
        o_BC, pullback = self.head.vjp(a)
        loss, e_BC = self.loss_and_error(o_BC, targets)
        da = pullback(e_BC)
        for pullback in reversed(pullbacks):
            da = pullback(da)
        self.advance(lambda _: loss)
        return loss

    def loss_and_error(self, o_BC: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """ℓ and e: by autograd where ℓ is not the loss of classifiers."""
        if self.closed_form:
            log_p_CB, e_BC = softmax_error(o_BC, self.log_probability_gradient(targets))
            return cross_entropy(log_p_CB, targets), e_BC
        with torch.enable_grad():
            o_BC = o_BC.detach().requires_grad_()
            loss = self.loss(o_BC, targets)
            (e_BC,) = torch.autograd.grad(loss, o_BC)
        return loss.detach(), e_BC

    @without_gradients
    def predict(self, inputs: Tensor) -> Tensor:
        """o = V a_L + c."""
        a = inputs
        for block in self.blocks:
            a = block(a)
        o_BC: Tensor = self.head(a)
        return o_BC
