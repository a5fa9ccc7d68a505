"""Deep supervision (Lee et al., arXiv 1409.5185): the rungs between backprop and Mono-Forward.

Mono-Forward's projections Mᵢ on every block, but one loss whose gradient crosses all blocks.

    goodness    Gᵢ = aᵢ Mᵢᵀ
    loss        `head`:  ℓ = CE(softmax(o), y) + w Σᵢ CE(softmax(Gᵢ), y),  o = V a_L + c
                `last`:  ℓ = CE(softmax(G_L), y) + w Σ_{i<L} CE(softmax(Gᵢ), y)
    update      ∇ℓ with respect to all parameters, by the chain rule through all blocks
    prediction  argmax o (`head`), argmax G_L (`last`)

`head` adds the auxiliary heads to backprop; `last` reads Mono-Forward's network by Mono-Forward's rule and, at w = 1,
has its losses: what remains to Mono-Forward is locality alone (its *simultaneous* form), and then the schedule
(*greedy*). The published ladder of arXiv 2511.01061 changes the last two in one step.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from bpfree.algorithms.base import Algorithm, Projection, Stage
from bpfree.hyperparameters import HyperparameterSet, LogUniform


class DeepSupervision(Algorithm):
    """One stage, one global loss with a term for every block."""

    name = "deep_supervision"
    paper = "arXiv 1409.5185"

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

    def step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One update of all parameters."""
        self.optimizers[0].zero_grad(set_to_none=True)
        *auxiliary, read = [F.cross_entropy(scores, labels_B) for scores in self.outputs(inputs)]
        loss = read + self.h.auxiliary_weight * torch.stack(auxiliary).sum() if auxiliary else read
        torch.autograd.backward(loss)
        self.advance(0, loss.detach)
        return loss.detach()

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """o or G_L."""
        a = inputs
        for block in self.blocks:
            a = block(a)
        scores: Tensor = self.head(a.flatten(1)) if self.h.readout == "head" else self.projections[-1](a)
        return scores

    def outputs(self, inputs: Tensor) -> list[Tensor]:
        """G₁ to G_L, and o where it is read: the last one is the prediction."""
        a, outputs = inputs, []
        for block, M in zip(self.blocks, self.projections, strict=True):
            a = block(a)
            outputs.append(M(a))
        return [*outputs, self.head(a.flatten(1))] if self.h.readout == "head" else outputs
