"""Deep supervision (Lee et al., arXiv 1409.5185): the rungs between backprop and Mono-Forward.

Mono-Forward's projections Mᵢ on every block, but one loss whose gradient crosses all blocks.

    goodness    Gᵢ = aᵢ Mᵢᵀ
    loss        `head`:  ℓ = CE(softmax(o), y) + w Σᵢ CE(softmax(Gᵢ), y),  o = V a_L + c
                `last`:  ℓ = CE(softmax(G_L), y) + w Σ_{i<L} CE(softmax(Gᵢ), y)
    update      Sᵢ = wᵢ (softmax(Gᵢ) − Y) / B,  wᵢ its weight above,  dMᵢ = Sᵢᵀ aᵢ
                from the last block to the first: daᵢ = Sᵢ Mᵢ + what comes through block i+1 or the head
    prediction  argmax o (`head`), argmax G_L (`last`)

`head` adds the auxiliary heads to backprop; `last` reads Mono-Forward's network by Mono-Forward's rule and, at w = 1,
has its losses: what remains to Mono-Forward is locality alone (its *simultaneous* form), and then the schedule
(*greedy*). The published ladder of arXiv 2511.01061 changes the last two in one step.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from bpfree.algorithms.base import Algorithm, Projection, Stage, cross_entropy, scores_by_block, softmax_error
from bpfree.gradients import without_gradients
from bpfree.hyperparameters import HyperparameterSet, LogUniform


class DeepSupervision(Algorithm):
    """One stage, one global loss with a term for every block."""

    name = "deep_supervision"
    paper = "arXiv 1409.5185"
    closed_form = True

    class Hyperparameters(HyperparameterSet):
        """w, and which output is read; learning rate and weight decay are the optimizer's."""

        auxiliary_weight: Annotated[float, Field(ge=0, le=1000), LogUniform(0.1, 10)] = 1.0
        readout: Literal["head", "last"] = "head"

    def build(self) -> None:
        """One Mᵢ a block."""
        self.projections = [Projection(block.width, self.classes, self.generator) for block in self.blocks]

    def stages(self) -> list[Stage]:
        """One, with the whole network; the head only if it is read."""
        head = [self.head] if self.h.readout == "head" else []
        return [Stage("network", range(len(self.blocks)), [*self.blocks, *self.projections, *head])]

    @without_gradients
    def step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One update of all parameters."""
        w, reads_head = self.h.auxiliary_weight, self.h.readout == "head"
        a, loss, da = inputs, torch.zeros((), device=self.device), None
        pullbacks, errors, T_CB = [], [], self.log_probability_gradient(labels_B)
        for block, M in zip(self.blocks, self.projections, strict=True):
            a, pullback = block.vjp(a, through=block is not self.blocks[0])
            weight = 1.0 if block is self.blocks[-1] and not reads_head else w
            G_BC, through_M = M.vjp(a, through=True)
            log_p_CB, S_BC = softmax_error(G_BC, T_CB)
            loss = loss + weight * cross_entropy(log_p_CB, labels_B)
            pullbacks.append(pullback)
            errors.append(through_M(weight * S_BC))
        if reads_head:
            o_BC, pullback = self.head.vjp(a)
            log_p_CB, e_BC = softmax_error(o_BC, T_CB)
            da = pullback(e_BC)
            loss = loss + cross_entropy(log_p_CB, labels_B)
        for pullback, error in zip(reversed(pullbacks), reversed(errors), strict=True):
            da = pullback(error if da is None else error.add_(da))
        self.advance(lambda _: loss)
        return loss

    @without_gradients
    def predict(self, inputs: Tensor) -> Tensor:
        """o or G_L."""
        a = inputs
        for block in self.blocks:
            a = block(a)
        scores: Tensor = self.head(a) if self.h.readout == "head" else self.projections[-1](a)
        return scores

    def block_scores(self, inputs: Tensor) -> Iterator[Tensor]:
        """Gᵢ."""
        return scores_by_block(self.blocks, self.projections, inputs)
