"""Claims: what papers say of a method against the baseline, with a bound that figures can be held to."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

ClaimMetric = Literal["accuracy", "energy", "time", "steps", "co2e", "memory"]


class Claim(BaseModel):
    """A row of a study's `[[claims]]`.

    A ratio is the method's figure over the baseline's, a difference the method's less the baseline's: of accuracies in
    fractions, of energies in joules, times in seconds, emissions in kilograms, memory in bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sentence: Annotated[str, Field(min_length=1)]
    """What is claimed, in words."""
    workload: str
    algorithm: str
    """As the study calls it."""
    optimizer: str | None = None
    """Which of its optimizers, where the study gives it several."""
    metric: ClaimMetric
    statistic: Literal["ratio", "difference"]
    at_most: FiniteFloat | None = None
    at_least: FiniteFloat | None = None
    published: FiniteFloat | None = None
    """The figure that was published for it."""
    source: str = ""
    """Where it was published."""
    accuracy_margin: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    """Where the claim is one *at equal accuracy*: what the method may lose against the baseline, a fraction."""

    @model_validator(mode="after")
    def _has_one_bound(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("a claim needs a bound, at_most or at_least, and one only")
        bound = self.at_least if self.at_most is None else self.at_most
        if self.metric == "accuracy" and bound is not None and abs(bound) > 1 and self.statistic == "difference":
            raise ValueError("the bound of a difference of accuracies is a fraction, from -1 to 1")
        return self
