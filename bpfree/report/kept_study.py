"""The study that a results folder keeps, as written: what a report needs of it, without what only runs need."""

import tomllib
from pathlib import Path
from typing import Any

from bpfree.errors import WorldError
from bpfree.results import parsed


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
