"""The driver of a calibration: the table of all points, the best of them, and their runs with fresh seeds.

Whatever is finished is kept at once and stands: a second call goes on from there. A run that diverges is a result.
"""

import hashlib
import math
import statistics
from collections.abc import Iterable
from concurrent.futures import as_completed
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from bpfree import assembly, calibration, execution, optimizers, outcomes, scoring, workloads
from bpfree.calibration import SCHEDULE_KNOBS, Calibration, SuiteEntry
from bpfree.driver import Places, fetch_data, is_final, warm
from bpfree.errors import RequestError, WorldError
from bpfree.executors import LocalExecutor, outcome
from bpfree.hyperparameters import Choice, SearchRange
from bpfree.meters.carbon import factor_of
from bpfree.optimizers import OptimizerEntry
from bpfree.outcomes import CALIBRATED, NAIVE, Arm, Budget, MethodOutcome, Outcome, Schedule
from bpfree.records import Execution, Record, RunSpec, TrainingSettings
from bpfree.results import ResultsFolder
from bpfree.targets import FILE, TARGETS, target_key
from bpfree.tuning import without_shared_joules

ALGORITHM = "backprop"


class Listener(Protocol):
    """Who watches a calibration."""

    def planned(self, plan: "Plan", forecast: "Forecast") -> None:
        """The plan stands; what is still to do follows."""

    def phase(self, title: str, runs: int, done: int) -> None:
        """The table, or the final runs, begin."""

    def run(self, method: str, arm: str, record: Record) -> None:
        """A run ended."""


@dataclass(frozen=True)
class Forecast:
    """What a calibration takes at most: as if no run reached its target before its steps are spent."""

    runs: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What a calibration file means on a device: every arm of every method, with every name checked."""

    calibration: Calibration
    device: str
    level: Execution
    budgets: list[Budget]
    arms: dict[str, list[Arm]]
    """By method; their runs are yet empty."""

    def spec(self, method: str, arm: Arm, entry: SuiteEntry, seed: int, *, final: bool) -> RunSpec:
        """One run of an arm."""
        shape = arm.schedule
        evaluations = max(1, round(shape.horizon * entry.max_steps / entry.evaluate_every))
        budget = next(b for b in self.budgets if b.name == entry.name)
        training = TrainingSettings(
            max_epochs=1, max_steps=evaluations * entry.evaluate_every, evaluate_every=entry.evaluate_every,
            batch_size=entry.batch_size, patience=evaluations, min_delta=0.0, restore="last", schedule=shape.shape,
            warmup=shape.warmup, target=budget.target, threads=self.calibration.threads, execution=self.level,
        )  # fmt: skip
        return RunSpec(
            workload=entry.name, algorithm=ALGORITHM, optimizer=method, hyperparameters=arm.hyperparameters, seed=seed,
            training=training, measurement=self.calibration.measurement.settings(),
            device="cpu" if self.device == "cpu" else "cuda", role="final" if final else "trial",
        )  # fmt: skip


def plan(wanted: Calibration, device: str) -> Plan:
    """The plan of a calibration.

    Raises
    ------
    RequestError
        An unknown name, a workload without a target for its budget, or a batch larger than a training set.
    """
    factor_of(wanted.measurement.settings())
    for entry in wanted.workloads:
        assembly.check_compatible(ALGORITHM, workloads.find(entry.name), entry.batch_size)
    level = execution.level_of(wanted.execution, device)
    arms = {name: [naive(optimizers.find(name)), *points(wanted, optimizers.find(name))] for name in wanted.optimizers}
    return Plan(wanted, device, level, [budget(entry) for entry in wanted.workloads], arms)


def budget(entry: SuiteEntry) -> Budget:
    """A workload's row of the suite.

    Raises
    ------
    RequestError
        It has no target for so many steps.
    """
    metric, key = workloads.find(entry.name).metric, target_key(entry.name, entry.max_steps)
    target = TARGETS.get(key)
    if target is None:
        raise RequestError(
            f"there is no target for {key}: derive one from a tuned study with that max_steps by "
            f"`bpfree targets RESULTS_FOLDER --output {FILE}`"
        )
    return Budget(
        name=entry.name, metric=metric.name, higher_is_better=metric.higher_is_better, target=target.value,
        target_from=f"{target.study}: {target.baseline} with {target.optimizer}, {len(target.seeds)} seeds",
        max_steps=entry.max_steps, evaluate_every=entry.evaluate_every, batch_size=entry.batch_size,
        reference_steps=None,
    )  # fmt: skip


def naive(entry: OptimizerEntry) -> Arm:
    """A method's defaults, at a constant learning rate."""
    values = assembly.resolve(ALGORITHM, entry.name, {})
    return Arm(name=NAIVE, hyperparameters=values, schedule=Schedule(), runs={})


def space(wanted: Calibration, entry: OptimizerEntry) -> dict[str, SearchRange]:
    """What a method's points vary: its knobs with a search range, and the schedule where it has one."""
    choices = wanted.schedule
    shapes = choices.shapes if entry.scheduled else ["constant"]
    horizons = choices.horizons if entry.scheduled else [1.0]
    spans = zip(SCHEDULE_KNOBS, (shapes, choices.warmups, horizons), strict=True)
    return {**entry.hyperparameters.search_space(), **{name: Choice(tuple(values)) for name, values in spans}}


def points(wanted: Calibration, entry: OptimizerEntry) -> list[Arm]:
    """The quasirandom points of a method."""
    spans = space(wanted, entry)
    seed = int.from_bytes(hashlib.sha256(entry.name.encode()).digest()[:4], "big")
    arms = []
    for number, u in enumerate(calibration.unit_points(wanted.points, len(spans), seed), 1):
        values = {name: calibration.mapped(x, span) for x, (name, span) in zip(u, spans.items(), strict=True)}
        shape, warmup, horizon = (values.pop(name) for name in SCHEDULE_KNOBS)
        resolved = assembly.resolve(ALGORITHM, entry.name, values)
        schedule = Schedule(shape=shape, warmup=warmup, horizon=horizon)
        arms.append(Arm(name=str(number), hyperparameters=resolved, schedule=schedule, runs={}))
    return arms


def copies(entry: OptimizerEntry, values: dict[str, Any]) -> float:
    """Memory of a method's state as copies of the parameters, after one step on a thousand of them."""
    parameter = torch.nn.Parameter(torch.zeros(1000))
    optimizer = entry.build([parameter], entry.hyperparameters(**values))
    parameter.grad = torch.ones_like(parameter)
    optimizer.step(lambda: torch.ones(()))  # type: ignore[arg-type, return-value]
    return round(sum(bytes_of(optimizer)) / parameter.nbytes, 2)


def bytes_of(optimizer: torch.optim.Optimizer) -> Iterable[int]:
    """Sizes of all tensors of the parameters' size that an optimizer keeps, those of its base included."""
    for state in optimizer.state.values():
        yield from (value.nbytes for value in state.values() if isinstance(value, torch.Tensor) and value.ndim)
    if hasattr(optimizer, "base"):
        yield from bytes_of(optimizer.base)


def forecast(planned: Plan, places: Places, executor: LocalExecutor) -> Forecast:
    """Time a few steps of every method's defaults on every workload, and add up all runs that are still to do."""
    wanted, seconds, runs = planned.calibration, 0.0, 0
    finals = 2 * len(wanted.seeds)  # the naive arm and the best one, if they differ
    timings = {
        (method, entry.name): executor.estimate(planned.spec(method, arms[0], entry, wanted.table[0], final=False))
        for method, arms in planned.arms.items()
        for entry in wanted.workloads
    }
    for method, arms in planned.arms.items():
        for entry in wanted.workloads:
            specs = [planned.spec(method, arm, entry, seed, final=False) for arm in arms for seed in wanted.table]
            todo = [spec for spec in specs if not places.folder.has(spec.id)]
            timing = timings[method, entry.name].result()
            share = statistics.mean(arm.schedule.horizon for arm in arms)
            each = timing.run_seconds(planned.spec(method, arms[0], entry, 0, final=True).training)
            seconds += each * share * (len(todo) + finals)
            runs += len(todo) + finals
    return Forecast(runs, seconds / places.workers)


def run_calibration(planned: Plan, places: Places, listener: Listener) -> Outcome:
    """Do what is left of a calibration.

    Raises
    ------
    DataError, WorldError
        Data cannot be had, the folder cannot be written, another driver works on it, or runs failed.
    """
    fetch_data([budget.name for budget in planned.budgets], places.data_dir)
    lock = places.folder.lock()
    try:
        with warm(places) as executor:
            listener.planned(planned, forecast(planned, places, executor))
            make("table of points", table_runs(planned), places, executor, listener)
            found = chosen(planned, places.folder)
            make("final runs", final_runs(planned, found), places, executor, listener)
        places.folder.write_text(outcomes.FILE, found.model_dump_json(indent=1) + "\n")
        return found
    finally:
        lock.release()


@dataclass(frozen=True)
class Planned:
    """A run, and whose it is."""

    method: str
    arm: str
    spec: RunSpec


def table_runs(planned: Plan) -> list[Planned]:
    """Every arm of every method on every workload; seed by seed and arm by arm, so that methods advance together."""
    wanted = planned.calibration
    return [
        Planned(method, arms[k].name, planned.spec(method, arms[k], entry, seed, final=False))
        for seed in wanted.table
        for k in range(wanted.points + 1)
        for entry in wanted.workloads
        for method, arms in planned.arms.items()
    ]


def final_runs(planned: Plan, found: Outcome) -> list[Planned]:
    """The naive and the best arm of every method with fresh seeds; one run where they are the same."""
    wanted = planned.calibration
    return [
        Planned(method.name, name, planned.spec(method.name, method.arm(name), entry, seed, final=True))
        for seed in wanted.seeds
        for entry in wanted.workloads
        for method in found.methods
        for name in dict.fromkeys((NAIVE, method.selected))
    ]


def make(title: str, runs: list[Planned], places: Places, executor: LocalExecutor, listener: Listener) -> None:
    """Make the runs that have no final record yet, several at a time, and keep each as it ends.

    Raises
    ------
    WorldError
        Some failed: all others are kept, and a second call tries these again.
    """
    folder = places.folder
    todo = [run for run in runs if not is_final(folder, run.spec)]
    listener.phase(title, len(runs), len(runs) - len(todo))
    queue = {executor.submit(run.spec): run for run in todo}
    failed = 0
    for future in as_completed(queue):
        run = queue[future]
        record = outcome(future, run.spec)
        if places.workers > 1:
            record = without_shared_joules(record)
        folder.write(record)
        failed += not record.final
        listener.run(run.method, run.arm, record)
    if failed:
        raise WorldError(f"{failed} runs of the {title} failed: see their records in {folder.path}, and call again")


def steps_to_target(record: Record | None, target: Budget) -> float:
    """The first step whose evaluation reached the target; ∞ where none did."""
    for evaluation in record.history if record else []:
        if target.reached(evaluation.validation_metric):
            return evaluation.step
    return math.inf


def gap(record: Record | None, target: Budget) -> float:
    """How far the best validation metric stayed from the target, as a share of it; 0 where it was reached."""
    values = [evaluation.validation_metric for evaluation in record.history] if record else []
    if not values:
        return math.inf
    best = max(values) if target.higher_is_better else min(values)
    return 0.0 if target.reached(best) else abs(best - target.target) / abs(target.target)


def chosen(planned: Plan, folder: ResultsFolder) -> Outcome:
    """The best arm of every method over all workloads, and over all but each, from the table."""
    wanted = planned.calibration
    table = {method: [tabled(planned, folder, method, arm) for arm in arms] for method, arms in planned.arms.items()}
    steps = {method: {arm.name: took for arm, took, _ in rows} for method, rows in table.items()}
    references = calibration.reference_steps([b.name for b in planned.budgets], steps, wanted.baseline)
    suite = [b.model_copy(update={"reference_steps": references[b.name]}) for b in planned.budgets]
    methods = []
    for name, rows in table.items():
        entry, gaps = optimizers.find(name), {arm.name: missed for arm, _, missed in rows}
        first, *others = calibration.ranking(steps[name], gaps, suite)
        arms = {arm.name: arm for arm, *_ in rows}
        method = MethodOutcome(
            name=name, paper=entry.paper, arms=list(arms.values()), selected=first,
            copies=copies(entry, arms[first].hyperparameters),
            finals={kind: final_ids(planned, name, arms[arm]) for kind, arm in ((NAIVE, NAIVE), (CALIBRATED, first))},
            knobs={knob: span.describe() for knob, span in space(wanted, entry).items()},
            runner_up=others[0] if others else None,
            left_out=calibration.left_out(steps[name], gaps, suite),
        )  # fmt: skip
        methods.append(method)
    return Outcome(
        name=wanted.name, description=wanted.description, baseline=wanted.baseline, device=planned.device,
        digest=wanted.digest, points=wanted.points, confidence=wanted.confidence, table_seeds=wanted.table,
        seeds=wanted.seeds, workloads=suite, methods=methods,
    )  # fmt: skip


Row = tuple[Arm, dict[str, float], dict[str, float]]
"""An arm with the ids of its runs; for each workload its steps to the target, and its gap; medians over seeds."""


def tabled(planned: Plan, folder: ResultsFolder, method: str, arm: Arm) -> Row:
    """An arm's row of the table."""
    wanted = planned.calibration
    runs, steps, gaps = {}, {}, {}
    for entry, target in zip(wanted.workloads, planned.budgets, strict=True):
        runs[entry.name] = [planned.spec(method, arm, entry, seed, final=False).id for seed in wanted.table]
        records = [folder.record(run) for run in runs[entry.name]]
        steps[entry.name] = scoring.median([steps_to_target(record, target) for record in records])
        gaps[entry.name] = statistics.median(gap(record, target) for record in records)
    return arm.model_copy(update={"runs": runs}), steps, gaps


def final_ids(planned: Plan, method: str, arm: Arm) -> dict[str, list[str]]:
    """The ids of an arm's final runs, by workload."""
    wanted = planned.calibration
    return {
        entry.name: [planned.spec(method, arm, entry, seed, final=True).id for seed in wanted.seeds]
        for entry in wanted.workloads
    }
