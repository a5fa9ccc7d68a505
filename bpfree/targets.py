"""Targets: the validation metric that a workload is to reach, each with its provenance, from `targets.toml`.

The protocol: in a tuned study that ran to convergence, take the baseline's best validation metric of each seed; their
median, moved by the study's equivalence margin to the easier side, is the target; of a loss the margin is a share. So a
run that reaches it is as good as the tuned baseline within the margin. A study with a budget of steps gives targets for
that budget. `bpfree targets RESULTS_FOLDER` derives a study's targets again.
"""

import json
import os
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from bpfree.errors import RequestError, WorldError
from bpfree.toml import toml_value

FILE = Path(__file__).with_name("targets.toml")
HEADER = "# Targets of workloads. Derived by `bpfree targets`; the protocol is in targets.py beside this file."
PLACES, LOSS_PLACES = 4, 6
"""Decimals of a target, of an accuracy or of a loss."""


@dataclass(frozen=True)
class Target:
    """A target and where it comes from."""

    value: float
    metric: str
    higher_is_better: bool
    study: str
    """The study whose runs it was derived from."""
    baseline: str
    optimizer: str
    margin: float
    seeds: list[int]
    best: list[float]
    """The baseline's best validation metric for each of the seeds."""

    def reached(self, value: float) -> bool:
        """Whether a validation metric is as good."""
        return value >= self.value if self.higher_is_better else value <= self.value


def target_key(workload: str, max_steps: int | None = None) -> str:
    """What a target is kept under: the workload, and the budget where it is of steps."""
    return workload if max_steps is None else f"{workload}, {max_steps} steps"


def read(text: str) -> dict[str, Target]:
    """The targets by workload, from the text of a target file.

    Raises
    ------
    ValueError
        It is no target file.
    """
    try:
        return {name: Target(**row) for name, row in tomllib.loads(text).items()}
    except TypeError as error:
        raise ValueError(f"a row is no target ({error})") from None


def written(targets: dict[str, Target]) -> str:
    """The text of a target file."""
    parts = [HEADER]
    for name in sorted(targets):
        rows = asdict(targets[name]).items()
        parts += ["", f"[{json.dumps(name)}]", *(f"{key} = {toml_value(value)}" for key, value in rows)]
    return "\n".join(parts) + "\n"


def merge(path: Path, found: dict[str, Target]) -> None:
    """Put targets into a file; its other rows stay.

    Raises
    ------
    RequestError
        It holds something else.
    WorldError
        It cannot be written.
    """
    try:
        kept = read(path.read_text(encoding="utf-8")) if path.exists() else {}
        temporary = path.with_name(f".{path.name}.{os.getpid()}")  # so that a full disk leaves the old rows
        temporary.write_text(written({**kept, **found}), encoding="utf-8")
        temporary.replace(path)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path} is no file of targets ({error}): name another one with --output") from None
    except OSError as error:
        raise WorldError(f"{path} cannot be written ({error.strerror}): name another one with --output") from None


TARGETS = read(FILE.read_text(encoding="utf-8"))
