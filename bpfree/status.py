"""What of a study is done, from its results folder alone."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from bpfree.records import Record, cell_name
from bpfree.results import ResultsFolder
from bpfree.study import Study


def current(records: Iterable[Record], folder: ResultsFolder) -> list[Record]:
    """Trials, and the final runs that the plan names; all where there is no plan."""
    plan = folder.plan()
    planned = set(plan["final_runs"]) if plan else None
    return [r for r in records if r.spec.role == "trial" or planned is None or r.id in planned]


def status_of(study: Study, folder: ResultsFolder, records: Iterable[Record] | None = None) -> dict[str, Any]:
    """Trials and final runs by cell, done and planned; JSON-able. Records that are read already may be given."""
    runs: dict[str, Counter[str]] = {}
    everything = list(folder.records() if records is None else records)
    imported = any(record.spec.role == "imported" for record in everything)
    for record in current(everything, folder):
        kind = "trial" if record.spec.role == "trial" else "final"  # imported runs too are final ones
        runs.setdefault(record.spec.cell, Counter())[f"{kind} {record.status}"] += 1
    cells = []
    for workload, entry, optimizer in study.cells:
        name = cell_name(workload, entry.method, optimizer)
        found = runs.get(name, Counter())
        cells.append(
            {
                "cell": name,
                "trials_done": sum(n for key, n in found.items() if key.startswith("trial")),
                "trials_planned": study.tuning.trials if study.tuning else 0,
                "tuned": folder.tuned(name) is not None,
                "final_done": found["final completed"] + found["final diverged"],
                "final_planned": found["final completed"] if imported else len(study.seeds),
                "final_diverged": found["final diverged"],
                "final_failed": found["final failed"] + found["final out_of_memory"],
            }
        )
    return {"study": study.name, "folder": str(folder.path), "cells": cells}
