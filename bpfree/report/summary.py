"""From records to the figures of a report: one summary a workload, one row a method, comparisons with the baseline."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bpfree.errors import WorldError
from bpfree.records import Evaluation, Record, TrainingSettings, TunedCell, cell_name
from bpfree.report import kept_study
from bpfree.report.metric import ACCURACY, Metric, metric_of
from bpfree.report.quantities import (
    arrival,
    climb,
    co2e_grams_of,
    flops_of,
    joules_of,
    joules_to_best,
    seconds_of,
    seconds_per_step,
    steps_of,
    watts_of,
)
from bpfree.results import ResultsFolder
from bpfree.statistics import (
    Comparison,
    Equivalence,
    Interval,
    by_seed,
    difference,
    equivalence,
    holm_levels,
    mean_interval,
    ratio,
    welch_difference,
    welch_ratio,
)
from bpfree.targets import TARGETS, Target


@dataclass
class Method:
    """An algorithm with an optimizer on one workload: its final runs, its tuning, its figures."""

    name: str
    label: str
    """The study's name for the algorithm in this form."""
    optimizer: str
    records: list[Record]
    """Of all final runs, whatever their status."""
    tuned: TunedCell | None
    metric: Metric = ACCURACY
    """The workload's."""
    reference: "Method | None" = None
    """The baseline algorithm with the same optimizer; None for itself."""
    test_metric: Interval | None = None
    joules: Interval | None = None
    seconds: Interval | None = None
    epochs: Interval | None = None
    joules_net: Interval | None = None
    """Above idle; of measured energy alone."""
    joules_to_best: Interval | None = None
    """Up to each stage's best epoch: without the patience epochs."""
    host_bytes: Interval | None = None
    device_bytes: Interval | None = None
    co2e_grams: Interval | None = None
    patience_share: float | None = None
    """Share of epochs after each stage's best one."""
    metric_difference: Comparison | None = None
    energy_ratio: Comparison | None = None
    censored: str = ""
    """Why its energy is not compared, if it is not."""
    factors: dict[str, Comparison | None] = field(default_factory=dict)
    """Ratios to the baseline whose product is the energy ratio: steps, time per step, power."""

    @property
    def completed(self) -> list[Record]:
        """The runs that the figures are of."""
        return [record for record in self.records if record.status == "completed" and record.cost]

    @cached_property
    def climbs(self) -> list[tuple[Record, list[Evaluation]]]:
        """The completed runs, each with the evaluations that were better than all before: looked up for many levels."""
        return [(record, climb(record, self.metric.sign)) for record in self.completed]

    @property
    def accuracy(self) -> Interval | None:
        """The test metric, where that is accuracy."""
        return self.test_metric if self.metric.is_accuracy else None

    @property
    def accuracy_difference(self) -> Comparison | None:
        """The difference of the metric, where that is accuracy."""
        return self.metric_difference if self.metric.is_accuracy else None

    def equivalence(self, margin: float | None) -> Equivalence | None:
        """Whether its metric is the baseline's within a margin: of accuracy, or else a share of the baseline's mean."""
        if margin is None or self.reference is None or self.reference.test_metric is None:
            return None
        unit = 1.0 if self.metric.is_accuracy else abs(self.reference.test_metric.estimate)
        return equivalence(self.metric_difference, margin * unit)

    @property
    def tests(self) -> tuple[Callable[..., Comparison | None], Callable[..., Comparison | None]]:
        """How differences and ratios to the baseline are judged: the seeds of imported runs are not the baseline's."""
        return (welch_difference, welch_ratio) if self.unpaired else (difference, ratio)

    @property
    def unpaired(self) -> bool:
        """Whether its runs or its reference's were made elsewhere, with seeds of their own."""
        return imported(self.records) or (self.reference is not None and imported(self.reference.records))

    def values(self, figure: Callable[[Record], float | None]) -> dict[int, float]:
        """A figure of the completed runs, by seed; runs without it are left out."""
        pairs = [(record.spec.seed, figure(record)) for record in self.completed]
        return by_seed([(seed, value) for seed, value in pairs if value is not None])


@dataclass
class Workload:
    """All methods on one workload."""

    name: str
    methods: list[Method]
    baseline: Method | None
    quality: str
    """Of the energy figures: measured, modelled, mixed or absent."""
    metric: Metric = ACCURACY
    note: str = ""
    """Why energies are not compared, if they are not."""
    target: Target | None = None


@dataclass
class Summary:
    """A study as its report tells it."""

    study: dict[str, Any]
    folder: Path
    workloads: list[Workload]
    confidence: float
    planned: int
    records: list[Record]
    """Final runs."""
    trials: dict[str, list[Record]]
    """By cell."""

    @property
    def margin(self) -> float | None:
        """The study's equivalence margin."""
        margin: float | None = self.study.get("statistics", {}).get("equivalence_margin")
        return margin

    @property
    def warnings(self) -> list[str]:
        """What a reader must know: failed and diverged runs, tuned values at an edge, unequal budgets."""
        methods = [method for workload in self.workloads for method in workload.methods]
        found = [f"{m.name}: {text}" for m in methods for text in (m.tuned.warnings if m.tuned else [])]
        for record in self.records:
            if record.status != "completed":
                reason = (record.error or "").strip().splitlines()
                found.append(f"{record.spec.cell}, seed {record.spec.seed}: {record.status}. {''.join(reason[-1:])}")
            found += [f"{record.spec.cell}, seed {record.spec.seed}: {text}" for text in record.warnings]
        return found + self.unequal_budgets() + self.unlike_environments()

    def unequal_budgets(self) -> list[str]:
        """Where the methods of a workload were not given the same."""
        found = []
        for workload in self.workloads:
            budgets = {m.tuned.trials for m in workload.methods if m.tuned}
            if len(budgets) > 1:
                found.append(
                    f"{workload.name}: the methods were not given the same number of trials: {sorted(budgets)}"
                )
            for kind, cells in (("final runs", {r.id: [r] for r in self.records}), ("trials", self.trials)):
                here = [settings(cell) for cell in cells.values() if cell[0].spec.workload == workload.name]
                unlike = [name.replace("_", " ") for name in TrainingSettings.model_fields if not alike(here, name)]
                if unlike:
                    found.append(f"{workload.name}: the {kind} differ in {', '.join(unlike)}")
        return found

    def unlike_environments(self) -> list[str]:
        """Where the runs were not made on one machine with one version of everything."""
        found = []
        for keys, text in (
            (("cpu", "gpu"), "on different machines"),
            (("bpfree", "packages"), "with different versions"),
        ):
            if len({str([record.environment.get(key) for key in keys]) for record in self.records}) > 1:
                found.append(f"the runs were made {text}")
        if any(str(record.environment.get("commit")).endswith("+changes") for record in self.records):
            found.append(
                "the code had changes that are in no commit, so the commit alone does not reproduce these runs"
            )
        return found


def imported(records: Sequence[Record]) -> bool:
    """Whether runs were made elsewhere."""
    return any(record.spec.role == "imported" for record in records)


def by_cell(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each cell."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.spec.cell, []).append(record)
    return found


def settings(cell: Sequence[Record]) -> list[TrainingSettings]:
    """Those that a cell's runs were trained with, each once: a study that was changed left old trials."""
    return list({record.spec.training.model_dump_json(): record.spec.training for record in cell}.values())


def alike(cells: Iterable[Sequence[TrainingSettings]], name: str) -> bool:
    """Whether all cells were trained with the same values of a setting."""
    return len({frozenset(getattr(each, name) for each in cell) for cell in cells}) <= 1


def summarise(path: Path) -> Summary:
    """The summary of a results folder.

    Raises
    ------
    WorldError
        The folder is not a study's, or has no final run yet.
    """
    folder = ResultsFolder(path)
    study, plan = kept_study.study(path), folder.plan()
    everything = list(folder.records())
    ours = set(plan["final_runs"]) if plan else {r.id for r in everything if r.spec.role == "final"}
    finals = [record for record in everything if record.id in ours]
    if not finals:
        raise WorldError(f"no final run in {path} yet: run the study first")
    confidence = study.get("statistics", {}).get("confidence", 0.95)
    cells = {cell.cell: cell for cell in folder.tuned_cells()}
    workloads = [
        summarise_workload(name, study, finals, cells, confidence)
        for name in map(kept_study.name_of, study["workloads"])
    ]
    adjust([method for workload in workloads for method in workload.methods], confidence)
    trials = by_cell(record for record in everything if record.spec.role == "trial")
    return Summary(study, path, workloads, confidence, len(ours), finals, trials)


def summarise_workload(
    name: str, study: dict[str, Any], finals: Sequence[Record], cells: dict[str, TunedCell], confidence: float
) -> Workload:
    """The methods of one workload, in the study's order."""
    forms = kept_study.forms_of(study, name)
    metric = metric_of(record for record in finals if record.spec.workload == name)
    labels = [label for label, _ in forms]
    methods = []
    for label, optimizer in forms:
        cell = cell_name(name, label, optimizer)
        here = [record for record in finals if record.spec.cell == cell]
        title = label if labels.count(label) == 1 else f"{label}, {optimizer}"
        method = Method(title, label, optimizer, here, cells.get(cell), metric)
        fill(method, confidence)
        methods.append(method)
    workload = Workload(name, methods, None, energy_quality(methods), metric, target=TARGETS.get(name))
    if workload.quality == "mixed":
        workload.note = "some energies are measured and some modelled, and a ratio of the two would mean nothing"
    for method in methods:
        reference = find(methods, study["baseline"], method.optimizer)
        workload.baseline = workload.baseline or reference
        if method.label != study["baseline"]:
            method.reference = reference
            method.censored = censored(method, workload.target)
            compare(method, workload.quality, confidence)
    return workload


def find(methods: Sequence[Method], label: str, optimizer: str) -> Method | None:
    """The method of that label with that optimizer, or with its only one."""
    found = [m for m in methods if m.label == label]
    return next((m for m in found if m.optimizer == optimizer), found[0] if len(found) == 1 else None)


def fill(method: Method, confidence: float) -> None:
    """A method's own figures."""

    def interval(figure: Callable[[Record], float | None]) -> Interval | None:
        values = list(method.values(figure).values())
        return mean_interval(values, confidence) if values else None

    method.test_metric = interval(method.metric.of)
    method.joules = interval(joules_of) if energy_quality([method]) != "mixed" else None
    method.seconds = interval(seconds_of)
    method.epochs = interval(lambda r: r.cost.epochs if r.cost else None)
    if method.joules:
        method.joules_net = interval(lambda r: r.cost.train_joules_net if r.cost and joules_of(r) else None)
        method.joules_to_best = interval(joules_to_best)
        method.co2e_grams = interval(co2e_grams_of)
    method.host_bytes = interval(lambda r: r.cost.peak_host_bytes if r.cost else None)
    method.device_bytes = interval(lambda r: r.cost.peak_device_bytes if r.cost else None)
    stages = [stage for record in method.completed for stage in record.stages]
    epochs = sum(stage.epochs for stage in stages)
    patient = sum(stage.epochs - (stage.improved_epoch or stage.best_epoch) for stage in stages)
    method.patience_share = patient / epochs if epochs else None


def energy_quality(methods: Sequence[Method]) -> str:
    """The one quality of all energies, or mixed, or absent."""
    found = {r.cost.joules_quality for m in methods for r in m.completed if r.cost}
    usable = found & {"measured", "modelled"}
    return usable.pop() if len(usable) == 1 else "mixed" if usable else "absent"


def censored(method: Method, target: Target | None) -> str:
    """Why the costs of runs that were to end at a target cannot be compared: some of them missed it."""
    runs = [*method.records, *(method.reference.records if method.reference else [])]
    if target is None or not any(record.spec.training.target is not None for record in runs):
        return ""
    return "" if all(arrival(record, target) for record in runs) else "not every run reached the target"


def compare(method: Method, quality: str, confidence: float) -> None:
    """A method against its reference, at the study's own level; `adjust` sets Holm's."""
    if method.reference is None:
        return

    difference_of, ratio_of = method.tests

    def against(figure: Callable[[Record], float | None], kind: Callable[..., Comparison | None]) -> Comparison | None:
        assert method.reference is not None
        return kind(method.values(figure), method.reference.values(figure), confidence)

    method.metric_difference = against(method.metric.of, difference_of)
    if method.censored:
        return
    compared = quality in ("measured", "modelled")
    if compared:
        method.energy_ratio = against(joules_of, ratio_of)

    def factor(figure: Callable[[Record], float | None]) -> Comparison | None:
        # Of the runs that the energy ratio is of, so that the product is exact.
        return against(lambda r: None if compared and joules_of(r) is None else figure(r), ratio_of)

    method.factors = {
        "steps": factor(steps_of),
        "time per step": factor(seconds_per_step),
        "power": factor(watts_of) if compared else None,
        "FLOPs": factor(flops_of),
        "time": against(seconds_of, ratio_of),
    }


def adjust(methods: Sequence[Method], confidence: float) -> None:
    """Set the intervals of the family (methods against the baseline, in metric and energy) to Holm's levels."""
    family = [c for m in methods for c in (m.metric_difference, m.energy_ratio) if c]
    levels = iter(holm_levels([comparison.p for comparison in family], confidence))
    for method in methods:
        ours, theirs = method, method.reference
        difference_of, ratio_of = method.tests
        if theirs and method.metric_difference:
            level = next(levels)
            values = ours.values(method.metric.of), theirs.values(method.metric.of)
            method.metric_difference = difference_of(*values, level)
        if theirs and method.energy_ratio:
            level = next(levels)
            method.energy_ratio = ratio_of(ours.values(joules_of), theirs.values(joules_of), level)
