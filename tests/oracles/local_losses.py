"""The stated losses, written as slowly and plainly as possible, for autograd to differentiate."""

import torch
from torch import Tensor


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    total = torch.zeros((), dtype=scores.dtype)
    for row, label in zip(scores, labels, strict=True):
        total = total - (row[label] - torch.log(torch.exp(row - row.max()).sum()) - row.max())
    return total / len(labels)


def forward_forward(positive: Tensor, negative: Tensor, threshold: float) -> Tensor:
    total = torch.zeros((), dtype=positive.dtype)
    for p, n in zip(positive, negative, strict=True):
        theta = threshold * len(p)
        total = total + torch.log1p(torch.exp(theta - (p**2).sum())) + torch.log1p(torch.exp((n**2).sum() - theta))
    return total / len(positive)


def overlay(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    written = images.clone()
    for i, label in enumerate(labels):
        for c in range(classes):
            written[i, c] = 1.0 if c == label else 0.0
    return written


def length_normalised(a: Tensor) -> Tensor:
    return torch.stack([row / (torch.sqrt((row**2).sum() / len(row)) + 1e-8) for row in a])


def hybrids(images: Tensor, channels: int, side: int, generator: torch.Generator) -> Tensor:
    """Each image, outside a mask of its own replaced by the image k places on; the draws in the algorithm's order."""
    B = len(images)
    k = int(torch.randint(1, B, (1,), generator=generator))
    bits = torch.randint(2, (B, 1, side, side), generator=generator)
    mixed = torch.zeros_like(images)
    for b in range(B):
        mask = bits[b, 0].tolist()
        for _ in range(6):
            mask = blurred(list(zip(*blurred(list(zip(*mask, strict=True))), strict=True)))
        for pixel in range(channels * side**2):
            row, column = divmod(pixel % side**2, side)
            mixed[b, pixel] = images[b if mask[row][column] > 0.5 else (b + k) % B, pixel]
    return mixed


def blurred(rows: list[list[float]]) -> list[list[float]]:
    padded = [[0.5, *row, 0.5] for row in rows]
    return [[p / 4 + q / 2 + r / 4 for p, q, r in zip(row, row[1:], row[2:], strict=False)] for row in padded]
