"""Forward-Forward (Hinton, arXiv 2212.13345): supervised, with the label in the input, or unsupervised, without.

Supervised, a sample is positive with its own label written over its first C pixels (one-hot, 1.0), negative with a
wrong label. Unsupervised, an image is positive as it is, negative mixed with another: right in the small, wrong in the
large. Each block is to have a high goodness for positive and a low one for negative samples.

    input       a₀ = x with a label in it;  unsupervised  a₀ = x
    block       aᵢ = φ(Wᵢ n(aᵢ₋₁) + bᵢ),  n(a) = a / (√(mean a²) + ε):  length-normalised, so that
                a block cannot read the goodness of the one before off the length
    goodness    `sum`:  G = Σⱼ aⱼ²,  θ = t N      `mean`:  G = Σⱼ aⱼ² / N,  θ = t      (t is `threshold`; N units)
    loss        ℓᵢ = mean over the batch of  softplus(θ − G⁺) + softplus(G⁻ − θ)
    update      p = σ(G − θ),  da⁺ = −2 g (1 − p⁺) a⁺ / B,  da⁻ = 2 g p⁻ a⁻ / B,  g = 1 (sum) or 1/N (mean)
    peers       with `peer_normalisation` c > 0:  ℓᵢ += c mean_j (mean_k m_k − m_j)²,  m ← 0.9 m + 0.1 mean_B a⁺,
                m = 0.5 at first;  the gradient flows through the batch's own tenth alone
    negatives   `random`: uniform over the wrong labels;  `hard`: drawn from the read-out's probabilities for the
                neutral image (all C pixels 1/C), the true label's removed;  `hybrid`, which is the unsupervised form:
                x⁻ = M ⊙ x + (1 − M) ⊙ x′,  x′ the image k places on in the batch, k uniform over 1 … B − 1;
                mask of large blobs  M = [blur⁶(R) > ½],  R random bits, blur with [¼ ½ ¼] in both directions, ½ beyond
                the border;  one mask a sample, the same for all channels
    prediction  `goodness`: argmax over labels of Σᵢ G with that label in the input, the first block left out where
                others have been trained;  `readout`: argmax V h, h the normalised activities of all blocks but the
                first for the neutral image, V trained alongside by cross-entropy:  dV = (softmax(V h) − Y)ᵀ h / B;
                unsupervised by the read-out alone, h being that for x itself, known from the positives: no further pass

Defaults: the supervised form, which all ports and the studies compare; `sum`, whose θ = N is that of Hinton's own code
and all close ports; random negatives and prediction by goodness, which need no further pass in training; no peer term,
since MLPs of this size reach the published accuracy without it. All blocks learn in one pass (*simultaneous*), as in
the paper; *greedy* trains one to its end after another. Unsupervised, 6 blurs are a public reimplementation's number,
where the paper blurs "repeatedly"; the paper trains V when the blocks are done, on the last three of four, here V
learns alongside, as in the supervised form, and changes nothing in the blocks. Fully connected networks only.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from bpfree.algorithms.base import LocalAlgorithm, Projection, Schedule, Stage, cross_entropy, softmax_error
from bpfree.errors import RequestError
from bpfree.gradients import without_gradients
from bpfree.hyperparameters import HyperparameterSet, LogUniform

EPSILON = 1e-8
PEER_MEMORY = 0.9
BLURS = 6
READOUT = -1
"""Key of the read-out's optimizer beside those of the blocks."""


class ForwardForward(LocalAlgorithm):
    """Goodness high for true, low for false pairs of image and label, or for images and mixtures of two."""

    name = "forward_forward"
    paper = "arXiv 2212.13345"
    closed_form = True
    architectures = ("mlp",)

    class Hyperparameters(HyperparameterSet):
        """t and the variants; learning rate and weight decay of the blocks are the optimizer's."""

        threshold: Annotated[float, Field(gt=0, le=100), LogUniform(0.01, 3.0)] = 1.0
        goodness: Literal["sum", "mean"] = "sum"
        negatives: Literal["random", "hard", "hybrid"] = "random"
        prediction: Literal["goodness", "readout"] = "goodness"
        peer_normalisation: Annotated[float, Field(ge=0, le=10)] = 0.0
        readout_learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-2
        readout_weight_decay: Annotated[float, Field(ge=0, le=1)] = 3e-3
        schedule: Schedule = "simultaneous"

        @model_validator(mode="after")
        def _negatives_fit_schedule_and_prediction(self) -> Self:
            if self.negatives != "random" and self.schedule == "greedy":
                raise ValueError(
                    f"negatives = '{self.negatives}' needs schedule = 'simultaneous': the read-out learns last"
                )
            if self.negatives == "hybrid" and self.prediction != "readout":
                raise ValueError("negatives = 'hybrid' needs prediction = 'readout': no label enters the network")
            return self

    def build(self) -> None:
        """The labels 0 to C − 1, the units' mean activities m, the read-out V where it is used, the blur of masks."""
        self.labels_C = torch.arange(self.classes, device=self.device)
        self.m = [torch.full((block.width,), 0.5, device=self.device) for block in self.blocks]
        widths = [block.width for block in self.blocks[1:]] or [self.blocks[0].width]
        reads = self.h.prediction == "readout" or self.h.negatives == "hard"
        self.V = Projection(sum(widths), self.classes, self.generator) if reads else None
        if self.h.negatives == "hybrid":
            weight, _ = self.blocks[0].parameters()
            self.channels, self.side = image_shape(weight.shape[1])
            quarters = torch.tensor([0.25, 0.5, 0.25], device=self.device)
            self.blur = torch.outer(quarters, quarters).view(1, 1, 3, 3)

    def stages(self) -> list[Stage]:
        """As every local algorithm; the read-out learns in the last stage, when all blocks are there."""
        stages = super().stages()
        if self.V is not None:
            stages[-1].modules.append(self.V)
        return stages

    @property
    def readout(self) -> Projection | None:
        """V in the stage in which it learns, the last."""
        return self.V if self.V in self.stage.modules else None

    def fresh_optimizers(self) -> dict[int, Optimizer]:
        """Those of the blocks, and one for the read-out in the last stage."""
        optimizers = super().fresh_optimizers()
        if self.readout is not None:
            rate, decay = self.h.readout_learning_rate, self.h.readout_weight_decay
            optimizers[READOUT] = self.make_optimizer(self.readout.parameters(), learning_rate=rate, weight_decay=decay)
        return optimizers

    @without_gradients
    def step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """One update of each block in training, and of the read-out. Returns the mean of the blocks' losses."""
        if self.h.negatives == "hybrid":
            return self.unsupervised_step(inputs, labels_B)
        V = self.readout
        log_p_CB = None if V is None else self.read(V, self.activities(inputs), labels_B)
        if self.h.negatives == "hard" and log_p_CB is not None:
            wrong_B = self.hard_labels(log_p_CB.T, labels_B)
        else:
            wrong_B = self.wrong_labels(labels_B)
        # Positives above, negatives below: one product serves both.
        a = self.prefix(self.embed_(inputs.repeat(2, 1), torch.cat([labels_B, wrong_B])))
        G, losses = goodness(a), {}
        for i in self.stage.blocks:
            a, G, losses[i] = self.learn(i, normalise(a, G))
        return self.update(losses, log_p_CB, labels_B)

    def unsupervised_step(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        """The blocks see no label; the read-out takes what they made of the positives."""
        a = torch.cat([inputs, self.hybrids(inputs)])
        x, losses, positives = normalise(a, goodness(a)), {}, []
        for i in self.stage.blocks:
            a, G, losses[i] = self.learn(i, x)
            x = normalise(a, G)
            positives.append(x[: len(inputs)])
        assert self.V is not None
        log_p_CB = self.read(self.V, torch.cat(positives[1:] or positives, 1), labels_B)
        return self.update(losses, log_p_CB, labels_B)

    def update(self, losses: dict[int, Tensor], log_p_CB: Tensor | None, labels_B: Tensor) -> Tensor:
        """Update blocks and read-out by their gradients. Returns the mean of the blocks' losses."""
        if log_p_CB is None:
            self.advance(losses.__getitem__)
        else:
            self.advance(lambda i: cross_entropy(log_p_CB, labels_B) if i == READOUT else losses[i])
        return torch.stack(list(losses.values())).mean()

    def learn(self, i: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of block i on normalised positives above negatives; its output, Σ a² and loss."""
        B = len(x) // 2
        a, pullback = self.blocks[i].vjp(x)
        g = self.scale(i)
        G = goodness(a)
        logit = g * (G - self.h.threshold * self.blocks[i].width)  # G − θ
        p = torch.sigmoid(logit)
        slope = torch.cat([p[:B] - 1, p[B:]]) * (2 * g / B)
        da = slope[:, None] * a
        loss = (F.softplus(-logit[:B]) + F.softplus(logit[B:])).mean()
        if self.h.peer_normalisation:
            loss = loss + self.peers(i, a[:B], da[:B])
        pullback(da)
        return a, G, loss

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

    def read(self, V: Projection, h: Tensor, labels_B: Tensor) -> Tensor:
        """Set V's gradient of the cross-entropy. Returns log p."""
        scores_BC, pullback = V.vjp(h)
        log_p_CB, e_BC = softmax_error(scores_BC, self.log_probability_gradient(labels_B))
        pullback(e_BC)
        return log_p_CB

    def activities(self, inputs: Tensor) -> Tensor:
        """h: normalised activities of all blocks but the first, for the neutral image, unsupervised for the image."""
        a = inputs if self.h.negatives == "hybrid" else self.neutral(inputs)
        x, activities = normalise(a, goodness(a)), []
        for block in self.blocks:
            a = block(x)
            x = normalise(a, goodness(a))
            activities.append(x)
        return torch.cat(activities[1:] or activities, 1)

    @without_gradients
    def predict(self, inputs: Tensor) -> Tensor:
        """Accumulated goodness of every label, or the read-out's scores once it is there."""
        if self.h.prediction == "readout" and self.readout is not None:
            scores: Tensor = self.readout(self.activities(inputs))
            return scores
        return self.accumulated_goodness(inputs)

    def accumulated_goodness(self, inputs: Tensor) -> Tensor:
        """Σᵢ G for every label, the first block left out where others have been trained."""
        each = list(self.block_scores(inputs))
        return torch.stack(each[1:] or each).sum(0)

    def block_scores(self, inputs: Tensor) -> Iterator[Tensor]:
        """G for every label; the C copies of the batch go through the network together. None where it sees no label."""
        if self.h.negatives == "hybrid":
            return
        labels = self.labels_C.repeat_interleave(len(inputs))
        a = self.embed_(inputs.repeat(self.classes, 1), labels)
        squares = goodness(a)
        for i, block in enumerate(self.blocks[: self.stage.blocks.stop]):
            a = block(normalise(a, squares))
            squares = goodness(a)
            yield (self.scale(i) * squares).view(self.classes, -1).T

    @without_gradients
    def prefix(self, inputs: Tensor) -> Tensor:
        """As in every local algorithm, with the normalisation between blocks."""
        for block in self.blocks[: self.stage.blocks.start]:
            inputs = block(normalise(inputs, goodness(inputs)))
        return inputs

    def embed_(self, x_BD: Tensor, labels_B: Tensor) -> Tensor:
        """Write these labels over the images' first C pixels."""
        x_BD[:, : self.classes] = labels_B[:, None] == self.labels_C
        return x_BD

    def neutral(self, inputs_BD: Tensor) -> Tensor:
        """The images with all labels equally in their first C pixels."""
        x = inputs_BD.clone()
        x[:, : self.classes] = 1 / self.classes
        return x

    def wrong_labels(self, labels_B: Tensor) -> Tensor:
        """For each sample one of the C − 1 other labels, uniformly: y + k mod C with k from 1 to C − 1."""
        offsets = torch.randint(1, self.classes, (len(labels_B),), generator=self.generator, device=self.device)
        return (labels_B + offsets) % self.classes

    def hard_labels(self, log_p_BC: Tensor, labels_B: Tensor) -> Tensor:
        """A wrong label for each sample, drawn from the read-out's probabilities: the largest of log p + Gumbel."""
        uniform = torch.rand(log_p_BC.shape, generator=self.generator, device=self.device, dtype=log_p_BC.dtype)
        gumbel = -torch.log(-torch.log(uniform.clamp(EPSILON, 1 - EPSILON)))
        own = labels_B[:, None] == self.labels_C
        return (log_p_BC + gumbel).masked_fill(own, -torch.inf).argmax(1)

    def hybrids(self, inputs_BD: Tensor) -> Tensor:
        """Each image within its mask, and outside it the one k places on: never the same, as 0 < k < B."""
        B = len(inputs_BD)
        if B < 2:
            raise RequestError("negatives = 'hybrid' mixes the images of a batch: set batch_size to 2 or more")
        k = torch.randint(1, B, (1,), generator=self.generator, device=self.device)
        others_BD = inputs_BD[(torch.arange(B, device=self.device) + k) % B]
        return torch.where(self.masks(B), inputs_BD, others_BD)

    def masks(self, count: int) -> Tensor:
        """M (count, D): blurred random bits above ½. The bits are taken as ±½, so that padding with 0 stands for ½.

        Of 8×8 pixels one mask in 30 is full and as many are empty; of 28×28 none.
        """
        shape = (count, 1, self.side, self.side)
        bits = torch.randint(2, shape, generator=self.generator, device=self.device) - 0.5
        for _ in range(BLURS):
            bits = F.conv2d(bits, self.blur, padding=1)
        return (bits > 0).flatten(1).repeat(1, self.channels)


def image_shape(inputs: int) -> tuple[int, int]:
    """Channels and side of square images with that many values: one channel where this fits, else three."""
    for channels in (1, 3):
        side = math.isqrt(inputs // channels)
        if channels * side**2 == inputs:
            return channels, side
    raise RequestError(
        f"negatives = 'hybrid' needs square images of one or three channels, which {inputs} inputs are not: "
        "choose a workload with e.g. 784 (28×28) or 3072 (3×32×32)"
    )


def normalise(a_BN: Tensor, squares_B: Tensor) -> Tensor:
    """n(a) = a / (√(Σ a² / N) + ε), sample by sample; the sums of squares are at hand wherever there is a goodness."""
    return a_BN / ((squares_B / a_BN.shape[1]).sqrt() + EPSILON)[:, None]


def goodness(a: Tensor) -> Tensor:
    """Σⱼ aⱼ², sample by sample."""
    return a.square().sum(1)
