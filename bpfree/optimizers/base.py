"""What the table knows of an optimizer, and the knobs that all share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from bpfree.hyperparameters import HyperparameterSet, LogUniform

# A shared knob has the same search range for every optimizer that has it.
LearningRate = Annotated[float, Field(gt=0, le=10), LogUniform(1e-4, 1e-1)]
WeightDecay = Annotated[float, Field(ge=0, le=1), LogUniform(1e-6, 1e-2)]


@dataclass(frozen=True)
class OptimizerEntry:
    """A row of the table: `build(parameters, hyperparameters)` gives the optimizer."""

    name: str
    paper: str
    hyperparameters: type[HyperparameterSet]
    build: Callable[[Iterable[Tensor], Any], Optimizer]
