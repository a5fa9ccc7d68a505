"""Hyperparameters: one line a knob, with its default, its bounds and its search range.

    class Hyperparameters(HyperparameterSet):
        learning_rate: Annotated[float, Field(gt=0, le=10), LogUniform(1e-4, 1e-1)] = 1e-3

`Field` bounds what is accepted; the search range says where tuning looks. Optuna, `--set`, `bpfree list` and the
documentation all read that line. A knob without a search range is never tuned.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from bpfree.errors import RequestError, unknown


@dataclass(frozen=True)
class Uniform:
    """A search range in which every value is equally likely."""

    low: float
    high: float

    def describe(self) -> str:
        """The range in words."""
        return f"{self.low:g} to {self.high:g}"

    def at_edge(self, value: float) -> bool:
        """Whether a tuned value lies within 2 % of the range's width from either end."""
        return min(value - self.low, self.high - value) < 0.02 * (self.high - self.low)


@dataclass(frozen=True)
class LogUniform:
    """A search range in which every order of magnitude is equally likely."""

    low: float
    high: float

    def describe(self) -> str:
        """The range in words."""
        return f"{self.low:g} to {self.high:g} (log)"

    def at_edge(self, value: float) -> bool:
        """Whether a tuned value lies within 2 % of the range's width, in orders of magnitude, from either end."""
        width = math.log(self.high / self.low)
        return min(math.log(value / self.low), math.log(self.high / value)) < 0.02 * width


@dataclass(frozen=True)
class Choice:
    """A search range that is a list of values."""

    values: tuple[Any, ...]

    def describe(self) -> str:
        """The values."""
        return " | ".join(str(value) for value in self.values)

    def at_edge(self, _: Any) -> bool:
        """A list of values has no edge."""
        return False


SearchRange = Uniform | LogUniform | Choice


class HyperparameterSet(BaseModel):
    """Base of every algorithm's and optimizer's hyperparameters: checked, immutable, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    @classmethod
    def search_space(cls) -> dict[str, SearchRange]:
        """The tunable knobs and their ranges."""
        return {
            name: mark
            for name, field in cls.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, Uniform | LogUniform | Choice)
        }

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """Checked hyperparameters from names and values.

        Raises
        ------
        RequestError
            A value is of the wrong type or out of bounds: the message names field, value and bounds.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            if not field:  # a rule between knobs, which says itself what it wants
                raise RequestError(message) from None
            raise RequestError(f"{field} = {first['input']!r} is not accepted: it must be {message}") from None


def split(
    values: Mapping[str, Any], *sets: type[HyperparameterSet], kind: str = "hyperparameter"
) -> Iterator[HyperparameterSet]:
    """Distribute flat names over the sets that own them (an algorithm's, then an optimizer's) and check them.

    Raises
    ------
    RequestError
        A name belongs to none of the sets, or a value is out of bounds.
    """
    known = [name for owner in sets for name in owner.model_fields]
    for name in values:
        if name not in known:
            raise unknown(kind, name, known)
    for owner in sets:
        yield owner.build({name: value for name, value in values.items() if name in owner.model_fields})
