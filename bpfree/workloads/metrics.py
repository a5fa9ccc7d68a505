"""What decides when to stop and what is reported; and losses that are not torch's own."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Metric:
    """What decides when to stop and what is reported: the mean of `of(scores, targets)` over samples."""

    name: str
    higher_is_better: bool
    of: Callable[[Tensor, Tensor], Tensor]

    def better(self, new: float, old: float, by: float = 0.0) -> bool:
        """Whether `new` improves on `old` by more than `by`."""
        return new - old > by if self.higher_is_better else old - new > by

    @property
    def worst(self) -> float:
        """What any value improves on."""
        return float("-inf") if self.higher_is_better else float("inf")

    def text(self, value: float) -> str:
        """A value for people: an accuracy in per cent, another metric by its name, with four digits."""
        return f"{value:.2%}" if self.name == "accuracy" else f"{self.name.replace('_', ' ')} {value:#.4g}"


def accuracy(scores_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Share of samples whose highest score is that of their label."""
    return (scores_BC.argmax(1) == labels_B).float().mean()


def squared_error(scores_BD: Tensor, pixels_BD: Tensor) -> Tensor:
    """Mean over pixels of (σ(o) − x)²: the scores are a reconstruction before its sigmoid."""
    return F.mse_loss(scores_BD.sigmoid(), pixels_BD)


def next_character_loss(scores_SC: Tensor, characters_BT: Tensor) -> Tensor:
    """Mean cross-entropy over the S = B·T positions of a batch, in nats."""
    return F.cross_entropy(scores_SC, characters_BT.flatten())


def bits_per_character(scores_SC: Tensor, characters_BT: Tensor) -> Tensor:
    """The same in bits: what the model would take to compress the text."""
    return next_character_loss(scores_SC, characters_BT) / math.log(2)


ACCURACY = Metric("accuracy", higher_is_better=True, of=accuracy)
SQUARED_ERROR = Metric("squared_error", higher_is_better=False, of=squared_error)
BITS_PER_CHARACTER = Metric("bits_per_character", higher_is_better=False, of=bits_per_character)
