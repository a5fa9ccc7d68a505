"""Networks for sequences: a transformer over characters, and a gated recurrent unit that reads rows.

All matrix products are plain ones, so that torch's FLOP counter counts them.

Shape letters as in networks.py, and: T positions of a sequence, N units at a position, H heads (not height), E = N / H
units of a head, G = 3 N the gates of a recurrent unit side by side.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bpfree.workloads.networks import AutogradBlock, Block, Head, Network, initialise

HEADS = 4
EXPANSION = 4
"""Hidden units of a transformer's dense part, over its width."""
EMBEDDING_DEVIATION = 0.02
"""Of GPT-2's embeddings."""


class Embedding(AutogradBlock):
    """A vector for each symbol and one for each position: a_t = W[x_t] + P[t]. No gradient goes through integers."""

    def __init__(self, symbols: int, positions: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(EMBEDDING_DEVIATION * torch.randn(symbols, width))
        self.position = nn.Parameter(EMBEDDING_DEVIATION * torch.randn(positions, width))
        self.width = positions * width

    def forward(self, x_BT: Tensor) -> Tensor:
        """Shape (B, T, N)."""
        return F.embedding(x_BT, self.weight) + self.position


class TransformerBlock(AutogradBlock):
    """A pre-norm transformer layer: h = x + Attention(norm x), a = h + V gelu(U norm h + b) + c.

        q, k, v     = K norm x + d, divided among the heads
        Attention   = O A v + e,  A = softmax over s ≤ t of q_t · k_s / √E

    A position sees itself and what is before it.
    """

    def __init__(self, positions: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.output = linear(width, 3 * width), linear(width, width)
        self.up, self.down = linear(width, EXPANSION * width), linear(EXPANSION * width, width)
        self.mask_TT: Tensor
        """0 for what a position may see, −∞ for what comes later."""
        self.register_buffer("mask_TT", torch.full((positions, positions), -math.inf).triu(1), persistent=False)
        self.width = positions * width

    def forward(self, x_BTN: Tensor) -> Tensor:
        """Shape (B, T, N)."""
        h_BTN: Tensor = x_BTN + self.attention(self.norm_attention(x_BTN))
        a_BTN: Tensor = h_BTN + self.down(F.gelu(self.up(self.norm_dense(h_BTN))))
        return a_BTN

    def attention(self, x_BTN: Tensor) -> Tensor:
        """O A v + e, shape (B, T, N)."""
        batch, positions, width = x_BTN.shape
        shape = (batch, positions, 3, self.heads, width // self.heads)
        q_BHTE, k_BHTE, v_BHTE = self.query_key_value(x_BTN).view(shape).permute(2, 0, 3, 1, 4)
        q_BHTE = q_BHTE / math.sqrt(width // self.heads)
        A_BHTT = (q_BHTE @ k_BHTE.transpose(2, 3) + self.mask_TT).softmax(3)
        mixed_BTN = (A_BHTT @ v_BHTE).transpose(1, 2).reshape(x_BTN.shape)
        attended: Tensor = self.output(mixed_BTN)
        return attended


class FinalNorm(AutogradBlock):
    """Layer normalisation, after which each position is a sample of its own: the head scores it like any other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.width = width

    def forward(self, x_BTN: Tensor) -> Tensor:
        """Shape (B·T, N)."""
        normalised: Tensor = self.norm(x_BTN)
        return normalised.flatten(0, 1)


class RecurrentBlock(AutogradBlock):
    """A gated recurrent unit (arXiv 1406.1078) in cuDNN's form: its last state h_T, from h_0 = 0.

        r  = σ(W_r x_t + b_r + U_r h)       z = σ(W_z x_t + b_z + U_z h)
        n  = tanh(W_n x_t + b_n + r ⊙ (U_n h + c))
        h ← (1 − z) ⊙ n + z ⊙ h

    W, b and U are those of r, z and n one below another.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3 * width, inputs))
        self.bias = nn.Parameter(torch.zeros(3 * width))
        self.recurrent = nn.Parameter(torch.empty(3 * width, width))
        self.candidate_bias = nn.Parameter(torch.zeros(width))
        self.width = width
        for weight in (self.weight, self.recurrent):
            nn.init.uniform_(weight, -(width**-0.5), width**-0.5)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """h_T, shape (B, N)."""
        batch, positions, inputs = x_BTD.shape
        x_BTG = torch.addmm(self.bias, x_BTD.reshape(-1, inputs), self.weight.T).view(batch, positions, -1)
        h_BN = x_BTD.new_zeros(batch, self.width)
        for x_BG in x_BTG.unbind(1):
            x_r, x_z, x_n = x_BG.chunk(3, 1)
            h_r, h_z, h_n = (h_BN @ self.recurrent.T).chunk(3, 1)
            r_BN, z_BN = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
            n_BN = torch.tanh(x_n + r_BN * (h_n + self.candidate_bias))
            h_BN = n_BN + z_BN * (h_BN - n_BN)
        return h_BN


def linear(inputs: int, width: int) -> nn.Linear:
    """A linear map, initialised as the dense blocks are; its bias begins at zero."""
    layer = nn.Linear(inputs, width)
    initialise(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def transformer(symbols: int, positions: int, widths: tuple[int, ...], heads: int = HEADS) -> Network:
    """A decoder over windows of symbols: the next one's scores after each position; a layer for each of the widths."""
    (width,) = set(widths)
    layers: list[Block] = [TransformerBlock(positions, width, heads) for _ in widths]
    return Network([Embedding(symbols, positions, width), *layers, FinalNorm(width)], Head(width, symbols))


def recurrent(inputs: int, widths: tuple[int, ...], classes: int) -> Network:
    """One gated recurrent unit, with a linear head on its last state."""
    (width,) = widths
    return Network([RecurrentBlock(inputs, width)], Head(width, classes))
