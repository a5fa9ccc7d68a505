"""The study that a results folder keeps, as written: what a report needs of it, without what only runs need."""

import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bpfree.errors import WorldError


def study(path: Path) -> dict[str, Any]:
    """Of a results folder.

    Raises
    ------
    WorldError
        The folder is not a study's, or the file is damaged.
    """
    if not (path / "study.toml").is_file():
        raise WorldError(
            f"{path} is not the results folder of a study: it has no study.toml; run the study first, or name --results"
        )
    return parsed(path / "study.toml", tomllib.loads, ("name", "workloads", "algorithms", "baseline"))


def plan(path: Path) -> dict[str, Any] | None:
    """Of a results folder; None where there is none.

    Raises
    ------
    WorldError
        The file is damaged.
    """
    return parsed(path / "plan.json", plan_of, ("final_runs",)) if (path / "plan.json").is_file() else None


def plan_of(text: str) -> dict[str, Any]:
    """A plan from its file's text."""
    found: dict[str, Any] = json.loads(text)
    if not all(isinstance(run, str) for run in found["final_runs"]):
        raise ValueError("its final_runs are no ids")
    return found


def parsed(path: Path, parser: Callable[[str], dict[str, Any]], needed: Sequence[str]) -> dict[str, Any]:
    """A file of the folder that is no record.

    Raises
    ------
    WorldError
        It is damaged.
    """
    try:
        found = parser(path.read_text())
        return found | {name: found[name] for name in needed}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise WorldError(f"{path} cannot be read ({reason}): run the study again and it is written anew") from None


def name_of(entry: str | dict[str, Any]) -> str:
    """What a study calls a workload or an algorithm."""
    return entry if isinstance(entry, str) else str(entry.get("label", entry["name"]))


def forms_of(study: dict[str, Any], workload: str) -> list[tuple[str, str]]:
    """Label and optimizer of every method that takes part on a workload, in the study's order."""
    (entry,) = [entry for entry in study["workloads"] if name_of(entry) == workload]
    here = None if isinstance(entry, str) else entry.get("algorithms")
    forms = []
    for algorithm in study["algorithms"]:
        own = None if isinstance(algorithm, str) else algorithm.get("optimizer")
        if here is None or name_of(algorithm) in here:
            optimizers = [own] if own else study.get("optimizers", ["adamw"])
            forms += [(name_of(algorithm), optimizer) for optimizer in optimizers]
    return forms
