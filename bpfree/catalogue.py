"""What there is: algorithms, optimizers, workloads and study files, as plain dictionaries."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bpfree import algorithms, optimizers, workloads
from bpfree.calibration import load_either
from bpfree.errors import BpfreeError
from bpfree.hyperparameters import HyperparameterSet
from bpfree.study import Study

KINDS = ("algorithms", "optimizers", "workloads", "studies")


def knobs(owner: type[HyperparameterSet]) -> dict[str, dict[str, Any]]:
    """Default and search range of each hyperparameter; null where a knob is never tuned."""
    space = owner.search_space()
    return {
        name: {"default": field.default, "range": space[name].describe() if name in space else None}
        for name, field in owner.model_fields.items()
    }


def entries(kind: str) -> list[dict[str, Any]]:
    """The entries of one kind, JSON-able."""
    if kind == "algorithms":
        return [
            {"name": a.name, "paper": a.paper, "architectures": list(a.architectures),
             "hyperparameters": knobs(a.Hyperparameters)}
            for a in algorithms.ALGORITHMS.values()
        ]  # fmt: skip
    if kind == "optimizers":
        return [
            {"name": o.name, "paper": o.paper, "hyperparameters": knobs(o.hyperparameters)}
            for o in optimizers.OPTIMIZERS.values()
        ]
    if kind == "workloads":
        return [workload_entry(w) for w in workloads.WORKLOADS.values()]
    return study_entries(Path("studies"))


def workload_entry(w: workloads.Workload) -> dict[str, Any]:
    """A workload's sizes, metric and target."""
    train, validation, test = w.source.samples
    return {
        "name": w.name, "description": w.description, "architecture": w.architecture, "widths": list(w.widths),
        "samples": {"train": train, "validation": validation, "test": test}, "classes": w.source.classes,
        "metric": w.metric.name, "target": asdict(w.target) if w.target else None,
    }  # fmt: skip


def study_entries(folder: Path) -> list[dict[str, Any]]:
    """The study files of a folder; one that is wrong says so."""
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            study = load_either(path)
        except BpfreeError as error:
            found.append({"name": str(path), "description": f"not usable: {error}"})
            continue
        methods = [entry.method for entry in study.algorithms] if isinstance(study, Study) else ["backprop"]
        found.append(
            {
                "name": str(path),
                "description": study.description,
                "workloads": [entry.name for entry in study.workloads],
                "algorithms": methods,
                "optimizers": study.optimizers,
            }
        )
    return found
