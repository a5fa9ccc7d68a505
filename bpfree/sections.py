"""What the files of studies and calibrations share: checked sections, names, seeds, measurement, and how they are read.

No torch here, so that a mistake in a file is told at once.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from bpfree.errors import RequestError
from bpfree.records import MOST, MeasurementSettings
from bpfree.toml import line_of

LONGEST_NAME = 80
"""Bytes."""
TRIAL_SEED = 1_000_000
"""The k-th trial of every cell trains with seed TRIAL_SEED + k; final runs have smaller seeds."""


def short(name: str) -> str:
    """The name, if it is not too long.

    Raises
    ------
    ValueError
        It is.
    """
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"must be at most {LONGEST_NAME} bytes long: it becomes part of file names")
    return name


def seed_range(value: Any) -> Any:
    """The seeds 0 to n − 1, where a count n is given.

    Raises
    ------
    ValueError
        The count is out of bounds.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("must be at least 1")
        if value > TRIAL_SEED:
            raise ValueError(f"must be at most {TRIAL_SEED}")
        return list(range(value))
    return value


def distinct_seeds(value: list[int]) -> list[int]:
    """The seeds, if they may be those of final runs.

    Raises
    ------
    ValueError
        One occurs twice, or is among those of trials.
    """
    if not value or len(set(value)) < len(value):
        raise ValueError("must be a count or a list of distinct seeds: a repeated seed is not a replication")
    if not all(0 <= seed < TRIAL_SEED for seed in value):
        raise ValueError(f"each seed must be from 0 to {TRIAL_SEED - 1}: larger ones are the trials'")
    return value


Name = Annotated[str, Field(pattern=r"^[\w][\w.-]*$"), AfterValidator(short)]
"""Names become parts of file names."""


Kind = TypeVar("Kind", bound="Section")


class Section(BaseModel):
    """Base of the tables of a study file: no unknown fields, finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Measurement(Section):
    """`[measurement]`: what is measured and on which assumptions."""

    boundary: Annotated[list[Literal["gpu", "cpu", "dram"]], Field(min_length=1)] | None = None
    idle_seconds: Annotated[float, Field(ge=0, le=3600)] = 10.0
    warmup_steps: Annotated[int, Field(ge=0, le=100_000)] = 10
    cpu_watts: Annotated[float, Field(gt=0, le=MOST["cpu_watts"])] | None = None
    country: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    region: str | None = None
    carbon_intensity: Annotated[float, Field(ge=0, le=MOST["carbon_intensity"])] | None = None
    pue: Annotated[float, Field(ge=1, le=MOST["pue"])] = 1.0

    @field_validator("boundary")
    @classmethod
    def _components_are_distinct(cls, value: list[str] | None) -> list[str] | None:
        if value and len(set(value)) < len(value):
            raise ValueError("must not name a component twice: its joules would count twice")
        return value

    def settings(self) -> MeasurementSettings:
        """As a run holds them; the plan adds the execution level, which depends on the device."""
        return MeasurementSettings(**self.model_dump())


def read_as(kind: type[Kind], path: Path) -> Kind:
    """A file as a study or a calibration.

    Raises
    ------
    RequestError
        As `load`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RequestError(f"cannot read study file {path}: {reason}") from None
    try:
        return kind.model_validate(tomllib.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        message = first["msg"].removeprefix("Value error, ")
        if not place:  # of the whole study: the message begins with the field
            field, _, message = message.partition(": ")
            place = [field]
        raise RequestError(f"{path}, line {line_of(text, place)}: {'.'.join(place)}: {message}") from None
    except (ValueError, RecursionError) as error:  # TOML's own error is a ValueError; so is a number of 5,000 digits
        raise RequestError(f"{path} is not valid TOML: {error}") from None
