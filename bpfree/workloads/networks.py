"""Networks as a list of blocks and a head.

A block is one trainable stage. Beside `forward` it offers `vjp`, its vector-Jacobian product: the output, and a
function that turns the gradient of a loss with respect to that output into the `.grad` of the block's own parameters.
Both are called with gradients off, as steps are. Only with `through` does it give the gradient of the inputs too. Local
algorithms do without, so no gradient can cross from one block into another; those that train the whole network go
through all blocks but the first. All these gradients are flattened, (B, N), whatever the shape of the activities.

Dense activities have the shape (B, N) but lie in memory feature by feature. The matrix products then have the weight's
rows, of which there are more than samples in a batch, to divide among threads: up to a tenth faster on CPUs, the
products with few classes twice as fast. A module looks each of its parameters up in a microsecond or two, several times
a step, so the small ones keep theirs in a tuple, `weights`.

Shape letters: B batch, D inputs, N outputs of a dense block, C channels, H height, W width.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pullback = Callable[[Tensor], Any]
"""From da to the block's gradients, and to da of the block before where the product went `through`, else None."""

threshold_backward = torch.ops.aten.threshold_backward.grad_input
"""da ⊙ [a > 0] in one pass, into memory that is given."""


class DenseBlock(nn.Module):
    """A fully connected layer with ReLU: z = x Wᵀ + b, a = max(z, 0)."""

    closed_form = True

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(width, inputs))
        self.bias = nn.Parameter(torch.zeros(width))
        initialise(self.weight)
        self.weights = self.weight, self.bias

    def forward(self, x_BD: Tensor) -> Tensor:
        """Activities, shape (B, N)."""
        return torch.relu(affine(x_BD, *self.weights))

    def vjp(self, x_BD: Tensor, *, through: bool = False) -> tuple[Tensor, Pullback]:
        """Activities (B, N), and the function that sets dW = dzᵀ x and db = Σ dz, with dz = da ⊙ [a > 0].

        With `through` it returns dx = dz W. It overwrites da: memory that is at hand is faster than new.
        """
        W, b = self.weights
        a_BN = torch.relu_(affine(x_BD, W, b))

        def pullback(da_BN: Tensor) -> Tensor | None:
            dz_BN = threshold_backward(da_BN, a_BN, 0, grad_input=da_BN)
            torch.mm(dz_BN.T, x_BD, out=buffer(W))
            torch.sum(dz_BN, 0, out=buffer(b))
            return product(dz_BN, W.T) if through else None

        return a_BN, pullback


class AutogradBlock(nn.Module):
    """A block that autograd differentiates; subclasses set `width` and say what `forward` computes."""

    closed_form = False

    width: int

    def vjp(self, x: Tensor, *, through: bool = False) -> tuple[Tensor, Pullback]:
        """Outputs, and the function that pulls their gradient back through autograd, to the inputs if `through`."""
        parameters = list(self.parameters())
        with torch.enable_grad():
            x = x.detach().requires_grad_(through)
            a = self(x.view_as(x))  # torch's FLOP counter hooks what modules are given, and fails where that is a leaf

        def pullback(da: Tensor) -> Tensor | None:
            gradients = torch.autograd.grad(a, [*parameters, x] if through else parameters, da.view_as(a))
            for parameter, gradient in zip(parameters, gradients, strict=False):
                parameter.grad = gradient
            return gradients[-1].flatten(1) if through else None

        return a.detach(), pullback


class ConvBlock(AutogradBlock):
    """Convolution 3×3, ReLU, max-pooling 2×2, batch normalisation: the block of Cascaded-Forward (arXiv 2303.09728).

    The convolution has no bias, since batch normalisation follows; ε = 1e-4 as in the paper's code.
    """

    def __init__(self, channels: int, width: int, height: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, channels, 3, 3))
        self.norm = nn.BatchNorm2d(width, eps=1e-4)
        self.width = width * (height // 2) ** 2
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Activities, shape (B, N, H/2, W/2); batch statistics in training mode, running ones in evaluation mode."""
        z = F.conv2d(x_BCHW, self.weight, padding=1)
        normalised: Tensor = self.norm(F.max_pool2d(torch.relu(z), 2))
        return normalised


class Head(nn.Linear):
    """The linear read-out of the last block: o = V a + c, a flattened. Its bias begins at zero."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        nn.init.zeros_(self.bias)
        self.weights = self.weight, self.bias

    def forward(self, a: Tensor) -> Tensor:
        """Scores, shape (B, C)."""
        return affine(a.flatten(1), *self.weights)

    def vjp(self, a: Tensor) -> tuple[Tensor, Pullback]:
        """Scores, and the function that sets dV = eᵀ a and dc = Σ e and returns da = e V."""

        V, c = self.weights
        a_BN = a.flatten(1)

        def pullback(e_BC: Tensor) -> Tensor:
            torch.mm(e_BC.T, a_BN, out=buffer(V))
            torch.sum(e_BC, 0, out=buffer(c))
            return product(e_BC, V.T)

        return affine(a_BN, V, c), pullback


Block = DenseBlock | AutogradBlock


@dataclass
class Network:
    """The blocks, each with its flattened output size `width`, and the head that backprop reads."""

    blocks: list[Block]
    head: Head


def affine(x_BD: Tensor, weight_ND: Tensor, bias_N: Tensor) -> Tensor:
    """x Wᵀ + b, shape (B, N), feature by feature in memory."""
    return product(x_BD, weight_ND).add_(bias_N)  # addmm would copy b into place first, which takes longer


def product(x_BD: Tensor, weight_ND: Tensor) -> Tensor:
    """x Wᵀ, shape (B, N), feature by feature in memory."""
    return torch.mm(weight_ND, x_BD.T).T


def buffer(parameter: Tensor) -> Tensor:
    """The gradient's memory, kept from step to step: to allocate megabytes anew costs as much as to fill them."""
    gradient = parameter.grad
    if gradient is None:
        gradient = parameter.grad = torch.empty_like(parameter)
    return gradient


def initialise(weight: Tensor) -> None:
    """Kaiming-uniform with a = √5, i.e. U(−1/√D, 1/√D): PyTorch's default for linear layers."""
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))


def mlp(inputs: int, widths: tuple[int, ...], classes: int) -> Network:
    """A multilayer perceptron."""
    sizes = (inputs, *widths)
    blocks: list[Block] = [DenseBlock(d, n) for d, n in zip(sizes, widths, strict=False)]
    return Network(blocks, Head(widths[-1], classes))


def cnn(channels: int, height: int, widths: tuple[int, ...], classes: int) -> Network:
    """Convolutional blocks, each halving height and width, with a linear head on the flattened last one."""
    blocks: list[Block] = []
    for width in widths:
        blocks.append(ConvBlock(channels, width, height))
        channels, height = width, height // 2
    return Network(blocks, Head(blocks[-1].width, classes))
