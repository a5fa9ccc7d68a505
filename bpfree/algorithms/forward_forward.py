"""Forward-Forward (Hinton, arXiv 2212.13345), supervised, with the label in the input.

A sample is positive with its own label written over its first C pixels (one-hot, 1.0), negative with a wrong label.
Each block is to have a high goodness for positive and a low one for negative samples.

    input       a₀ = x with a label in it
    block       aᵢ = φ(Wᵢ n(aᵢ₋₁) + bᵢ),  n(a) = a / (√(mean a²) + ε):  length-normalised, so that
                a block cannot read the goodness of the one before off the length
    goodness    `sum`:  G = Σⱼ aⱼ²,  θ = t N      `mean`:  G = Σⱼ aⱼ² / N,  θ = t      (t is `threshold`; N units)
    loss        ℓᵢ = mean over the batch of  softplus(θ − G⁺) + softplus(G⁻ − θ)
    update      p = σ(G − θ),  da⁺ = −2 g (1 − p⁺) a⁺ / B,  da⁻ = 2 g p⁻ a⁻ / B,  g = 1 (sum) or 1/N (mean)
    peers       with `peer_normalisation` c > 0:  ℓᵢ += c mean_j (mean_k m_k − m_j)²,  m ← 0.9 m + 0.1 mean_B a⁺,
                m = 0.5 at first;  the gradient flows through the batch's own tenth alone
    negatives   `random`: uniform over the wrong labels;  `hard`: drawn from the read-out's probabilities for the
                neutral image (all C pixels 1/C), the true label's removed
    prediction  `goodness`: argmax over labels of Σᵢ G with that label in the input, the first block left out where
                others have been trained;  `readout`: argmax V h, h the normalised activities of all blocks but the
                first for the neutral image, V trained alongside by cross-entropy:  dV = (softmax(V h) − Y)ᵀ h / B

Defaults: `sum`, whose θ = N is that of Hinton's own code and all close ports; random negatives and prediction by
goodness, which need no further pass in training; no peer term, since MLPs of this size reach the published accuracy
without it. All blocks learn in one pass (*simultaneous*), as in the paper; *greedy* trains one to its end after
another. Fully connected networks only.
"""

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from bpfree.algorithms.base import LocalAlgorithm, Projection, Schedule, Stage, softmax_error
from bpfree.hyperparameters import HyperparameterSet, LogUniform

EPSILON = 1e-8
PEER_MEMORY = 0.9
READOUT = -1
"""Key of the read-out's optimizer beside those of the blocks."""


class ForwardForward(LocalAlgorithm):
    """Goodness high for true, low for false pairs of image and label."""

    name = "forward_forward"
    paper = "arXiv 2212.13345"
    architectures = ("mlp",)

    class Hyperparameters(HyperparameterSet):
        """t and the variants; learning rate and weight decay of the blocks are the optimizer's."""

        threshold: Annotated[float, Field(gt=0, le=100), LogUniform(0.01, 3.0)] = 1.0
        goodness: Literal["sum", "mean"] = "sum"
        negatives: Literal["random", "hard"] = "random"
        prediction: Literal["goodness", "readout"] = "goodness"
        peer_normalisation: Annotated[float, Field(ge=0, le=10)] = 0.0
        readout_learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-2
        readout_weight_decay: Annotated[float, Field(ge=0, le=1)] = 3e-3
        schedule: Schedule = "simultaneous"

        @model_validator(mode="after")
        def _hard_negatives_need_the_readout(self) -> Self:
            if self.negatives == "hard" and self.schedule == "greedy":
                raise ValueError("negatives = 'hard' needs schedule = 'simultaneous': the read-out learns last")
            return self

    def build(self) -> None:
        """The labels 0 to C − 1, the units' mean activities m, and the read-out V where it is used."""
        self.labels_C = torch.arange(self.classes, device=self.device)
        self.m = [torch.full((block.width,), 0.5, device=self.device) for block in self.blocks]
        widths = [block.width for block in self.blocks[1:]] or [self.blocks[0].width]
        reads = self.h.prediction == "readout" or self.h.negatives == "hard"
        self.V = Projection(sum(widths), self.classes, self.generator) if reads else None

    def stages(self) -> list[Stage]:
        """As every local algorithm; the read-out learns in the last stage, when all blocks are there."""
        stages = super().stages()
        if self.V is not None:
            stages[-1].modules.append(self.V)
        return stages

    def begin(self, stage: Stage) -> None:
        """One fresh optimizer for each block in training, and one for the read-out in the last stage."""
        super().begin(stage)
        self.readout = self.V if self.V in stage.modules else None
        if self.readout is not None:
            rate, decay = self.h.readout_learning_rate, self.h.readout_weight_decay
            self.optimizers[READOUT] = self.make_optimizer(
                self.readout.parameters(), learning_rate=rate, weight_decay=decay
            )

    @torch.no_grad()
    def step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One update of each block in training, and of the read-out. Returns the mean of the blocks' losses."""
        B = len(labels_B)
        scores_BC = None if self.readout is None else self.update_readout(self.readout, inputs, labels_B)
        if self.h.negatives == "hard" and scores_BC is not None:
            wrong_B = self.hard_labels(scores_BC, labels_B)
        else:
            wrong_B = self.wrong_labels(labels_B)
        # Positives above, negatives below: one product serves both.
        x = self.prefix(torch.cat([self.embed(inputs, labels_B), self.embed(inputs, wrong_B)]))
        losses = []
        for i in self.stage.blocks:
            a, pullback = self.blocks[i].vjp(normalise(x))
            g = self.scale(i)
            logit = g * (goodness(a) - self.h.threshold * self.blocks[i].width)  # G − θ
            p = torch.sigmoid(logit)
            slope = torch.cat([p[:B] - 1, p[B:]]) * (2 * g / B)
            da = slope[:, None] * a
            loss = (F.softplus(-logit[:B]) + F.softplus(logit[B:])).mean()
            if self.h.peer_normalisation:
                loss = loss + self.peers(i, a[:B], da[:B])
            pullback(da)
            self.optimizers[i].step()
            losses.append(loss)
            x = a
        return torch.stack(losses).mean()

    def scale(self, i: int) -> float:
        """g: 1 for the sum, 1/N for the mean of squares."""
        return 1.0 if self.h.goodness == "sum" else 1 / self.blocks[i].width

    def peers(self, i: int, positive_BN: Tensor, da_BN: Tensor) -> Tensor:
        """The peer term's loss; its gradient is added to da in place."""
        B, N = positive_BN.shape
        self.m[i].mul_(PEER_MEMORY).add_(positive_BN.mean(0), alpha=1 - PEER_MEMORY)
        d_N = self.m[i] - self.m[i].mean()  # Σ d = 0, so the mean's own gradient vanishes
        da_BN += self.h.peer_normalisation * (2 / N) * (1 - PEER_MEMORY) / B * d_N
        term: Tensor = self.h.peer_normalisation * d_N.square().mean()
        return term

    def update_readout(self, V: Projection, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One step of V by cross-entropy; returns the scores before it."""
        h = self.neutral(inputs)
        scores_BC: Tensor = V(h)
        V.weight.grad = softmax_error(scores_BC, labels_B).T @ h
        self.optimizers[READOUT].step()
        return scores_BC

    def neutral(self, inputs: Tensor) -> Tensor:
        """h: normalised activities of all blocks but the first, for the neutral image."""
        x = inputs.clone()
        x[:, : self.classes] = 1 / self.classes
        activities = []
        for block in self.blocks:
            x = normalise(block(normalise(x)))
            activities.append(x)
        return torch.cat(activities[1:] or activities, 1)

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Accumulated goodness of every label, or the read-out's scores once it is there."""
        if self.h.prediction == "readout" and self.readout is not None:
            scores: Tensor = self.readout(self.neutral(inputs))
            return scores
        return self.accumulated_goodness(inputs)

    def accumulated_goodness(self, inputs: Tensor) -> Tensor:
        """Σᵢ G for every label; the C copies of the batch go through the network together."""
        labels = self.labels_C.repeat_interleave(len(inputs))
        x = self.embed(inputs.repeat(self.classes, 1), labels)
        trained = self.blocks[: self.stage.blocks.stop]
        total = torch.zeros(len(x), device=x.device, dtype=x.dtype)
        for i, block in enumerate(trained):
            x = block(normalise(x))
            if i > 0 or len(trained) == 1:
                total += self.scale(i) * goodness(x)
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

    def hard_labels(self, scores_BC: Tensor, labels_B: Tensor) -> Tensor:
        """A wrong label for each sample, drawn from the read-out's probabilities: the largest of log p + Gumbel."""
        uniform = torch.rand(scores_BC.shape, generator=self.generator, device=self.device, dtype=scores_BC.dtype)
        gumbel = -torch.log(-torch.log(uniform.clamp(EPSILON, 1 - EPSILON)))
        own = labels_B[:, None] == self.labels_C
        return (scores_BC.log_softmax(1) + gumbel).masked_fill(own, -torch.inf).argmax(1)


def normalise(a: Tensor) -> Tensor:
    """n(a) = a / (√(mean a²) + ε), sample by sample."""
    return a / (a.square().mean(1, keepdim=True).sqrt() + EPSILON)


def goodness(a: Tensor) -> Tensor:
    """Σⱼ aⱼ², sample by sample."""
    return a.square().sum(1)
