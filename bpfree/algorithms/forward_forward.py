"""Forward-Forward (Hinton, arXiv 2212.13345), supervised, with the label in the input.

A sample is positive with its own label written over its first C pixels (one-hot, 1.0), negative with a wrong label
drawn uniformly. Each block is to have a high goodness for positive and a low one for negative samples.

    input       a₀ = x with a label in it
    block       aᵢ = φ(Wᵢ n(aᵢ₋₁) + bᵢ),  n(a) = a / (√(mean a²) + ε):  length-normalised, so that
                a block cannot read the goodness of the one before off the length
    goodness    G = Σⱼ aⱼ²,  θ = t N  (t is `threshold`, a mean square; N the block's units)
    loss        ℓᵢ = mean over the batch of  softplus(θ − G⁺) + softplus(G⁻ − θ)
    update      p = σ(G − θ),  da⁺ = −2 (1 − p⁺) a⁺ / B,  da⁻ = 2 p⁻ a⁻ / B,  then as any dense block
    prediction  argmax over labels of Σᵢ G with that label in the input; the first block is left out
                where others have been trained, as in the paper

Sum and mean goodness differ in scale by N: with the sum, θ must be of the order of N. All blocks learn in one pass
(*simultaneous*), as in the paper; *greedy* trains one to its end after another. Peer normalisation is not used: MLPs
of this size reach the published accuracy without it. Fully connected networks only.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from bpfree.algorithms.base import LocalAlgorithm, Schedule
from bpfree.hyperparameters import HyperparameterSet, LogUniform

EPSILON = 1e-8


class ForwardForward(LocalAlgorithm):
    """Goodness high for true, low for false pairs of image and label."""

    name = "forward_forward"
    paper = "arXiv 2212.13345"
    architectures = ("mlp",)

    class Hyperparameters(HyperparameterSet):
        """t, and the schedule; learning rate and weight decay are the optimizer's."""

        threshold: Annotated[float, Field(gt=0, le=100), LogUniform(0.01, 3.0)] = 1.0
        schedule: Schedule = "simultaneous"

    def build(self) -> None:
        """The labels 0 to C − 1, on the device."""
        self.labels_C = torch.arange(self.classes, device=self.device)

    @torch.no_grad()
    def step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One update of each block in training. Returns the mean of their losses."""
        B = len(labels_B)
        wrong_B = self.wrong_labels(labels_B)
        # Positives above, negatives below: one product serves both.
        x = self.prefix(torch.cat([self.embed(inputs, labels_B), self.embed(inputs, wrong_B)]))
        losses = []
        for i in self.stage.blocks:
            a, pullback = self.blocks[i].vjp(normalise(x))
            logit = goodness(a) - self.h.threshold * self.blocks[i].width  # G − θ
            p = torch.sigmoid(logit)
            slope = torch.cat([p[:B] - 1, p[B:]]) * (2 / B)
            pullback(slope[:, None] * a)
            self.optimizers[i].step()
            losses.append((F.softplus(-logit[:B]) + F.softplus(logit[B:])).mean())
            x = a
        return torch.stack(losses).mean()

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Accumulated goodness of every label; the C copies of the batch go through the network together."""
        labels = self.labels_C.repeat_interleave(len(inputs))
        x = self.embed(inputs.repeat(self.classes, 1), labels)
        trained = self.blocks[: self.stage.blocks.stop]
        total = torch.zeros(len(x), device=x.device, dtype=x.dtype)
        for i, block in enumerate(trained):
            x = block(normalise(x))
            if i > 0 or len(trained) == 1:
                total += goodness(x)
        return total.view(self.classes, -1).T

    @torch.no_grad()
    def prefix(self, inputs: Tensor) -> Tensor:
        """As in every local algorithm, with the normalisation between blocks."""
        for block in self.blocks[: self.stage.blocks.start]:
            inputs = block(normalise(inputs))
        return inputs

    def embed(self, inputs_BD: Tensor, labels_B: Tensor) -> Tensor:
        """The images with these labels written over their first C pixels."""
        x = inputs_BD.clone()
        x[:, : self.classes] = labels_B[:, None] == self.labels_C
        return x

    def wrong_labels(self, labels_B: Tensor) -> Tensor:
        """For each sample one of the C − 1 other labels, uniformly: y + k mod C with k from 1 to C − 1."""
        offsets = torch.randint(1, self.classes, (len(labels_B),), generator=self.generator, device=self.device)
        return (labels_B + offsets) % self.classes


def normalise(a: Tensor) -> Tensor:
    """n(a) = a / (√(mean a²) + ε), sample by sample."""
    return a / (a.square().mean(1, keepdim=True).sqrt() + EPSILON)


def goodness(a: Tensor) -> Tensor:
    """G = Σⱼ aⱼ², sample by sample."""
    return a.square().sum(1)
