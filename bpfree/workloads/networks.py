"""Networks as a list of blocks and a head.

A block is one trainable stage. Beside `forward` it offers `vjp`, its vector-Jacobian product: the output, and a
function that turns the gradient of a loss with respect to that output into the `.grad` of the block's own parameters,
and into nothing else. Local algorithms train through `vjp`, so no gradient can cross from one block into another.

Shape letters: B batch, D inputs, N outputs of a dense block, C channels, H height, W width.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pullback = Callable[[Tensor], None]


class DenseBlock(nn.Module):
    """A fully connected layer with ReLU: z = x Wᵀ + b, a = max(z, 0)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(width, inputs))
        self.bias = nn.Parameter(torch.zeros(width))
        initialise(self.weight)

    def forward(self, x_BD: Tensor) -> Tensor:
        """Activities, shape (B, N)."""
        return torch.relu(F.linear(x_BD, self.weight, self.bias))

    def vjp(self, x_BD: Tensor) -> tuple[Tensor, Pullback]:
        """Activities (B, N), and the function that sets dW = dzᵀ x and db = Σ dz, with dz = da ⊙ [a > 0]."""
        with torch.no_grad():
            a_BN = torch.relu_(F.linear(x_BD, self.weight, self.bias))

        def pullback(da_BN: Tensor) -> None:
            with torch.no_grad():
                dz_BN = torch.ops.aten.threshold_backward(da_BN, a_BN, 0)  # da ⊙ [a > 0] in one pass
                torch.mm(dz_BN.T, x_BD, out=buffer(self.weight))
                torch.sum(dz_BN, 0, out=buffer(self.bias))

        return a_BN, pullback


class ConvBlock(nn.Module):
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

    def vjp(self, x_BCHW: Tensor) -> tuple[Tensor, Pullback]:
        """Activities, and the function that pulls their gradient back to this block's parameters through autograd."""
        parameters = list(self.parameters())
        with torch.enable_grad():
            a = self(x_BCHW.detach())

        def pullback(da: Tensor) -> None:
            for parameter, gradient in zip(parameters, torch.autograd.grad(a, parameters, da), strict=True):
                parameter.grad = gradient

        return a.detach(), pullback


Block = DenseBlock | ConvBlock


@dataclass
class Network:
    """The blocks, each with its flattened output size `width`, and the linear head that backprop reads."""

    blocks: list[Block]
    head: nn.Linear


def buffer(parameter: nn.Parameter) -> Tensor:
    """The gradient's memory, kept from step to step: to allocate megabytes anew costs as much as to fill them."""
    if parameter.grad is None:
        parameter.grad = torch.empty_like(parameter)
    return parameter.grad


def initialise(weight: Tensor) -> None:
    """Kaiming-uniform with a = √5, i.e. U(−1/√D, 1/√D): PyTorch's default for linear layers."""
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))


def linear_head(width: int, classes: int) -> nn.Linear:
    """The read-out of the last block, bias zero."""
    head = nn.Linear(width, classes)
    nn.init.zeros_(head.bias)
    return head


def mlp(inputs: int, widths: tuple[int, ...], classes: int) -> Network:
    """A multilayer perceptron."""
    sizes = (inputs, *widths)
    blocks: list[Block] = [DenseBlock(d, n) for d, n in zip(sizes, widths, strict=False)]
    return Network(blocks, linear_head(widths[-1], classes))


def cnn(channels: int, height: int, widths: tuple[int, ...], classes: int) -> Network:
    """Convolutional blocks, each halving height and width, with a linear head on the flattened last one."""
    blocks: list[Block] = []
    for width in widths:
        blocks.append(ConvBlock(channels, width, height))
        channels, height = width, height // 2
    return Network(blocks, linear_head(blocks[-1].width, classes))
