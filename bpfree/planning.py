"""The plan of a study: which cells are tuned and which runs are made.

It knows the algorithms and their hyperparameters, and so needs torch, which reading a study file does not.
"""

import random
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from bpfree import assembly, execution, workloads
from bpfree.errors import RequestError
from bpfree.meters.carbon import factor_of
from bpfree.records import Execution, RunSpec, TrainingSettings, TunedCell, cell_name
from bpfree.study import Device, Study, Training
from bpfree.targets import FILE, TARGETS, target_key


@dataclass(frozen=True)
class Cell:
    """What is tuned once: a workload, an algorithm with its fixed hyperparameters, an optimizer; and how it trains."""

    workload: str
    algorithm: str
    optimizer: str
    fixed: dict[str, Any]
    training: Training
    label: str | None = None

    @property
    def name(self) -> str:
        """As in file names and tables."""
        return cell_name(self.workload, self.label or self.algorithm, self.optimizer)


@dataclass(frozen=True)
class Plan:
    """What a study means on a device."""

    study: Study
    device: Device
    cells: list[Cell]

    @property
    def level(self) -> Execution:
        """How the steps of all its runs are launched."""
        return execution.level_of(self.study.training.execution, self.device)

    def final_blocks(self, tuned: dict[str, TunedCell]) -> list[list[RunSpec]]:
        """The final runs: one block a seed, in it every cell of a workload once, in shuffled order."""
        blocks = []
        for workload, seed in product([entry.name for entry in self.study.workloads], self.study.seeds):
            specs = [self.final(cell, tuned[cell.name], seed) for cell in self.cells if cell.workload == workload]
            random.Random(f"{self.study.name}/{workload}/{seed}").shuffle(specs)
            blocks.append(specs)
        return blocks

    def final(self, cell: Cell, tuned: TunedCell, seed: int) -> RunSpec:
        """A final run of a cell."""
        replaced: dict[str, Any] = {}
        if tuned.matched_passes is not None:  # no early stop
            passes = tuned.matched_passes
            replaced = {"max_epochs": passes, "patience": passes, "epochs_per_stage": None}
        if cell.training.stop_at_target:
            replaced["target"] = target_of(cell.workload, cell.training.max_steps)
        return self.spec(cell, tuned.hyperparameters, seed, "final", cell.training.settings(**replaced))

    def trial(self, cell: Cell, hyperparameters: dict[str, Any], seed: int) -> RunSpec:
        """A trial of a cell: as a final run, with the epochs of the tuning."""
        limit = self.study.tuning.max_epochs if self.study.tuning else None
        replaced = {"max_epochs": limit, "epochs_per_stage": None} if limit else {}
        return self.spec(cell, hyperparameters, seed, "trial", cell.training.settings(**replaced))

    def spec(
        self,
        cell: Cell,
        hyperparameters: dict[str, Any],
        seed: int,
        role: Literal["trial", "final"],
        training: TrainingSettings,
    ) -> RunSpec:
        """One run of a cell."""
        return RunSpec(
            workload=cell.workload,
            algorithm=cell.algorithm,
            optimizer=cell.optimizer,
            hyperparameters=hyperparameters,
            seed=seed,
            training=training.model_copy(update={"execution": self.level}),
            measurement=self.study.measurement.settings(),
            device=self.device,
            role=role,
            label=cell.label,
        )


def plan(study: Study, device: Device) -> Plan:
    """The plan of a study, with every name and fixed value checked.

    Raises
    ------
    RequestError
        An unknown name, a value out of bounds, an execution level that the device lacks, an algorithm that a
        workload's network does not suit, a workload without the target that it is to reach, or a pruner with an
        algorithm of several stages.
    """
    factor_of(study.measurement.settings())
    execution.level_of(study.training.execution, device)
    if device == "cpu" and "gpu" in (study.measurement.boundary or []):
        raise RequestError("boundary names gpu, but the study runs on the CPU: leave it out or choose --device cuda")
    cells = []
    for workload, entry, optimizer in study.cells:
        training, fixed = study.training_of(workload, entry.method), study.hyperparameters_of(workload, entry)
        assembly.check_compatible(entry.name, workloads.find(workload), training.batch_size)
        try:
            resolved = assembly.resolve(entry.name, optimizer, fixed)
        except RequestError as error:
            raise RequestError(f"{workload}, {entry.method}: {error}") from None
        if training.stop_at_target:
            target_of(workload, training.max_steps)
        if study.tuning and study.tuning.pruner != "none" and stages(workload, entry.name, optimizer, resolved) > 1:
            raise RequestError(
                f"pruner = '{study.tuning.pruner}' is unfair to {entry.name}, which trains in several stages: "
                "leave the pruner out or give it schedule = 'simultaneous'"
            )
        cells.append(Cell(workload, entry.name, optimizer, fixed, training, entry.label))
    return Plan(study, device, cells)


def target_of(workload: str, max_steps: int | None) -> float:
    """The target of a workload.

    Raises
    ------
    RequestError
        It has none.
    """
    key = target_key(workload, max_steps)
    target = TARGETS.get(key)
    if target is None:
        raise RequestError(
            f"{key} has no target: derive one from a tuned study with `bpfree targets RESULTS_FOLDER --output {FILE}`, "
            "or leave out stop_at_target"
        )
    return target.value


def stages(workload: str, algorithm: str, optimizer: str, hyperparameters: dict[str, Any]) -> int:
    """How many stages an algorithm trains a workload's network in."""
    built = assembly.build(workloads.find(workload), algorithm, optimizer, hyperparameters, seed=0, device="cpu")
    return len(built.stages())
