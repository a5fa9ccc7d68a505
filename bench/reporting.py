"""How long `bpfree report` takes of ten thousand records: the command in a fresh process, charts and all.

The records are the kept ones of the Fashion-MNIST study many times over, each with an accuracy, seconds and joules of
its own and every trial with two knobs of its own; every fifth is a final run.
"""

import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from bench.alternation import FEWEST, Figure
from bpfree.records import KnobRange, Record
from bpfree.results import ResultsFolder
from bpfree.sections import TRIAL_SEED
from bpfree.study import Study, Tuning, to_toml

KEPT = ResultsFolder(Path(__file__).parent.parent / "studies" / "records" / "fashion")
RECORDS, AT_MOST = 10_000, 10.0
"""And the seconds that their report may take."""
WORKLOADS = ("digits-mlp", "mnist-mlp", "fashion-mlp", "mnist-cnn", "fashion-cnn")
SHAPES = (1, 2, 5)
"""Workloads of a study; four methods on each."""
KNOBS = ("learning_rate", "weight_decay")
LOW, HIGH = 1e-5, 1e-1


def figures(_: str) -> list[Figure]:
    """Of a few rounds, all shapes in turn; a report is of records alone, whatever the device."""
    with TemporaryDirectory() as name:
        folders = [write(Path(name) / f"{shape}", WORKLOADS[:shape]) for shape in SHAPES]
        rounds = [[seconds(folder, Path(name) / "report") for folder in folders] for _ in range(FEWEST)]
    group = f"bpfree report, {RECORDS:,} records, {FEWEST} rounds"
    return [
        Figure(group, f"workloads × methods: {shape} × 4, s", values, form="{:.2f}", at_most=AT_MOST)
        for shape, values in zip(SHAPES, zip(*rounds, strict=True), strict=True)
    ]


def seconds(folder: Path, output: Path) -> float:
    """Of one report, from the command to its end."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "bpfree", "report", str(folder), "--output", str(output)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return time.perf_counter() - begin


def write(path: Path, workloads: Sequence[str]) -> Path:
    """A results folder with that many records, shared evenly among its cells."""
    folder, draw = ResultsFolder(path), random.Random(0)
    kept, cells = list(KEPT.records()), KEPT.tuned_cells()
    a_cell = RECORDS // (len(workloads) * len(cells))
    seeds, trials = a_cell // 5, a_cell - a_cell // 5
    names = [cell.algorithm for cell in cells]
    study = Study(name="many", workloads=list(workloads), algorithms=names, seeds=seeds, tuning=Tuning(trials=trials))
    finals = []
    for workload, cell in product(workloads, cells):
        ours = [record for record in kept if record.spec.cell == cell.cell]
        models = {role: [record for record in ours if record.spec.role == role] for role in ("final", "trial")}
        for seed in range(seeds):
            record = varied(models["final"][seed % len(models["final"])], workload, draw, seed)
            folder.write(record)
            finals.append(record.id)
        for trial in range(trials):
            knobs = {name: math.exp(draw.uniform(*map(math.log, (LOW, HIGH)))) for name in KNOBS}
            record = varied(models["trial"][trial % len(models["trial"])], workload, draw, TRIAL_SEED, knobs)
            folder.write(record.model_copy(update={"trial": trial}))
        searched = dict.fromkeys(KNOBS, KnobRange(low=LOW, high=HIGH, log=True))
        found = {"cell": record.spec.cell, "workload": workload, "trials": trials, "search_space": searched}
        folder.write_tuned(cell.model_copy(update=found))
    folder.write_text("study.toml", to_toml(study))
    folder.write_text("plan.json", json.dumps({"digest": study.digest, "device": "cpu", "final_runs": finals}))
    return path


def varied(
    model: Record, workload: str, draw: random.Random, seed: int, knobs: Mapping[str, float] = MappingProxyType({})
) -> Record:
    """A run like another one, up to a few per cent."""
    knobs = {**model.spec.hyperparameters, **knobs}
    spec = model.spec.model_copy(update={"workload": workload, "seed": seed, "hyperparameters": knobs})
    better, dearer = draw.uniform(0.97, 1.0), draw.uniform(0.95, 1.05)
    values = model.model_dump()
    for name in ("test_metric", "test_accuracy", "validation_metric", "validation_accuracy"):
        values["metrics"][name] *= better
    for evaluation in values["history"]:
        evaluation["validation_metric"] *= better
        evaluation["seconds"] *= dearer
        evaluation["joules"] *= dearer
    for name in ("train_seconds", "train_joules"):
        values["cost"][name] *= dearer
    return Record(**{**values, "id": spec.id, "spec": spec})
