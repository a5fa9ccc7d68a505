"""Tuning: Optuna asks, the executor runs, Optuna is told. The same budget for every cell.

Every cell has a sampler seed of its own; the k-th trial of every cell trains with the same seed, apart from those of
the final runs. The first trial is always the defaults. Trials are asked for in batches of the number of workers and
told in order, and each batch reseeds the sampler from the number of trials before it, so that a study that was killed
and resumed tunes as one that was not.
"""

import hashlib
import statistics
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from bpfree import algorithms, assembly, optimizers, workloads
from bpfree.errors import WorldError
from bpfree.executors import LocalExecutor, outcome
from bpfree.hyperparameters import Choice, LogUniform, SearchRange
from bpfree.meters import Session
from bpfree.planning import Cell, Plan
from bpfree.records import KnobRange, Reading, Record, TunedCell, fingerprint
from bpfree.results import ResultsFolder
from bpfree.sections import TRIAL_SEED
from bpfree.study import TRIALS_AT_ONCE, Tuning

PRUNING_STARTS = 5
"""Median pruning needs this many completed trials."""

OnTrial = Callable[[Record, float | None], None]


def tune(
    plan: Plan, cell: Cell, folder: ResultsFolder, executor: LocalExecutor, workers: int, on_trial: OnTrial
) -> TunedCell:
    """Tune one cell, or go on where its tuning was left, and fix the outcome.

    Parameters
    ----------
    on_trial
        Called with each trial's record and the best validation metric so far.
    """
    settings = plan.study.tuning
    if settings is None:
        return fix(folder, plan, cell, [], [], None)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(plan, cell, folder)
    with assembly.metering(executor.device, plan.study.measurement.cpu_watts) as meters:
        session = Session(meters)
        finish_interrupted(study, cell, folder)
        while len(counted(study, folder)) < settings.trials:
            begin = session.phase("tuning")
            size = min(TRIALS_AT_ONCE, settings.trials - len(counted(study, folder)))
            for record in run_batch(plan, cell, folder, executor, study, size, alone=workers == 1):
                on_trial(record, best_value(study))
            window = [reading.model_dump() for reading in session.window(begin, session.stop())]
            study.set_user_attr("windows", [*study.user_attrs.get("windows", []), window])
    records = [folder.record(trial.user_attrs["run"]) for trial in counted(study, folder)]
    kept = [record for record in records if record is not None]
    if all(record.status in ("failed", "out_of_memory") for record in kept):
        reason = (kept[-1].error or "no reason given").strip().splitlines()[-1]
        raise WorldError(f"every trial of {cell.name} failed, the last with: {reason}; mend that and call again")
    return fix(folder, plan, cell, kept, study.user_attrs.get("windows", []), best_trial(study))


def digest(plan: Plan, cell: Cell) -> str:
    """Changes with whatever a cell's tuning depends on: a changed study is tuned anew."""
    study = plan.study
    parts = [
        cell.name,
        cell.algorithm,
        cell.fixed,
        {name: span.describe() for name, span in search_space(cell).items()},
        study.tuning and study.tuning.model_dump(),
        study.follows and [study.follows, study.baseline],
        plan.device,
    ]
    return fingerprint(cell.training, *parts)


def open_study(plan: Plan, cell: Cell, folder: ResultsFolder) -> optuna.Study:
    """The cell's Optuna study in the folder's storage; new ones start with the defaults."""
    higher = workloads.find(cell.workload).metric.higher_is_better
    database = folder.path / "tuning.db"
    try:
        study = optuna.create_study(
            storage=URL.create("sqlite", database=str(database)).render_as_string(),
            study_name=f"{cell.name}.{digest(plan, cell)}",
            direction="maximize" if higher else "minimize",
            pruner=optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise WorldError(f"{database} cannot be used ({reason}): delete it and the tuning begins anew") from None
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(default_parameters(cell))
    return study


def default_parameters(cell: Cell) -> dict[str, Any]:
    """The defaults of the knobs that are tuned."""
    values = assembly.resolve(cell.algorithm, cell.optimizer, cell.fixed)
    return {name: values[name] for name in search_space(cell)}


def search_space(cell: Cell) -> dict[str, SearchRange]:
    """The knobs of the cell that are tuned: those with a range that the study does not fix."""
    sets = (algorithms.find(cell.algorithm).Hyperparameters, optimizers.find(cell.optimizer).hyperparameters)
    return {name: span for owner in sets for name, span in owner.search_space().items() if name not in cell.fixed}


def distribution(span: SearchRange) -> BaseDistribution:
    """A search range as Optuna has it."""
    if isinstance(span, Choice):
        return CategoricalDistribution(span.values)
    return FloatDistribution(span.low, span.high, log=isinstance(span, LogUniform))


def knob_range(span: SearchRange) -> KnobRange:
    """A search range as the tuned cell keeps it, so that a report knows it without the algorithms."""
    if isinstance(span, Choice):
        return KnobRange(values=list(span.values))
    return KnobRange(low=span.low, high=span.high, log=isinstance(span, LogUniform))


def sampler(settings: Tuning, cell: Cell, done: int) -> optuna.samplers.BaseSampler:
    """The sampler of the next batch."""
    text = f"{settings.seed}/{cell.name}"
    base = int.from_bytes(hashlib.sha256(text.encode()).digest()[:3], "big")
    seed = base + done
    startup = max(4, settings.trials // 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if settings.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
        if settings.sampler == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)
        if settings.sampler == "qmc":
            return optuna.samplers.QMCSampler(seed=base, scramble=True)  # it counts by itself
        return optuna.samplers.RandomSampler(seed=seed)


def counted(study: optuna.Study, folder: ResultsFolder) -> list[FrozenTrial]:
    """The trials that ended with a record of their own; those that a killed driver left behind do not count."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    return [trial for trial in ended if folder.has(trial.user_attrs.get("run", ""))]


def finish_interrupted(study: optuna.Study, cell: Cell, folder: ResultsFolder) -> None:
    """Trials left running by a killed driver: told if their record was kept, else failed (and so replaced)."""
    defaults = default_parameters(cell)
    for frozen in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        record = folder.record(frozen.user_attrs.get("run", ""))
        if record is not None:
            tell(study, frozen.number, record)
        else:
            study.tell(frozen.number, state=TrialState.FAIL)
            if frozen.params == defaults:
                study.enqueue_trial(defaults)


def run_batch(
    plan: Plan,
    cell: Cell,
    folder: ResultsFolder,
    executor: LocalExecutor,
    study: optuna.Study,
    size: int,
    *,
    alone: bool,
) -> list[Record]:
    """Ask for a batch, run it, keep the records, tell the results in the order of asking."""
    done = counted(study, folder)
    assert plan.study.tuning is not None
    study.sampler = sampler(plan.study.tuning, cell, len(done))
    space = {name: distribution(span) for name, span in search_space(cell).items()}
    below = median_by_epoch(folder, done) if plan.study.tuning.pruner == "median" else None
    queue = []
    for k in range(size):
        trial = study.ask(space)
        values = assembly.resolve(cell.algorithm, cell.optimizer, {**cell.fixed, **trial.params})
        spec = plan.trial(cell, values, TRIAL_SEED + len(done) + k)
        trial.set_user_attr("run", spec.id)
        queue.append((trial, spec, executor.submit(spec, below)))
    records = []
    for trial, spec, future in queue:
        record = outcome(future, spec).model_copy(update={"trial": trial.number})
        if not alone:
            record = without_shared_joules(record)
        folder.write(record)
        tell(study, trial.number, record)
        records.append(record)
    return records


def without_shared_joules(record: Record) -> Record:
    """A trial that ran beside others without the joules of meters that saw them too; modelled ones are its own."""
    note = "other trials ran at the same time: the driver meters the tuning as a whole"
    kept = record.model_copy(deep=True)
    for phase in kept.phases.values():
        phase.readings = [
            r.model_copy(update={"joules": None, "quality": "absent", "resolution": None, "reason": note})
            if r.quality in ("measured", "unresolved")
            else r
            for r in phase.readings
        ]
    if kept.cost and kept.cost.joules_quality in ("measured", "unresolved"):
        cost = kept.cost
        cost.train_joules = cost.train_joules_net = cost.idle_watts = cost.carbon = None
        cost.joules_quality = "absent"
        for evaluation in kept.history:
            evaluation.joules = None
    return kept


def tell(study: optuna.Study, number: int, record: Record) -> None:
    """Report a run to Optuna. A diverged trial counts as pruned, so that the sampler learns to keep away."""
    pruned = any(warning.startswith("pruned") for warning in record.warnings)
    if record.status == "completed" and not pruned:
        study.tell(number, record.metrics.validation_metric)
    elif pruned or record.status == "diverged":
        study.tell(number, state=TrialState.PRUNED)
    else:
        study.tell(number, state=TrialState.FAIL)


def median_by_epoch(folder: ResultsFolder, done: Sequence[FrozenTrial]) -> dict[int, float]:
    """For every epoch the median over completed trials of the best validation metric up to it."""
    histories = []
    for trial in done:
        record = folder.record(trial.user_attrs["run"]) if trial.state == TrialState.COMPLETE else None
        if record:
            values = [evaluation.validation_metric for evaluation in record.history]
            histories.append([max(values[: i + 1]) for i in range(len(values))])
    if len(histories) < PRUNING_STARTS:
        return {}
    longest = max(map(len, histories))
    return {e + 1: statistics.median(h[min(e, len(h) - 1)] for h in histories) for e in range(longest)}


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The best completed trial, if any completed."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return study.best_trial if complete else None


def best_value(study: optuna.Study) -> float | None:
    """The best validation metric so far."""
    best = best_trial(study)
    return best.value if best else None


def fix(
    folder: ResultsFolder,
    plan: Plan,
    cell: Cell,
    records: Sequence[Record],
    windows: Sequence[Sequence[dict[str, Any]]],
    best: FrozenTrial | None,
) -> TunedCell:
    """Write the outcome down; from here on it stands."""
    given = {**cell.fixed, **(best.params if best else {})}
    values = assembly.resolve(cell.algorithm, cell.optimizer, given)
    notes = [
        f"{name} = {values[name]:.3g} is at the edge of its range ({span.describe()})"
        for name, span in (search_space(cell) if best else {}).items()
        if span.at_edge(values[name])
    ]
    if records and best is None:
        notes.append("no trial completed: the defaults stand")
    tuned = TunedCell(
        cell=cell.name,
        workload=cell.workload,
        algorithm=cell.algorithm,
        label=cell.label,
        optimizer=cell.optimizer,
        digest=digest(plan, cell),
        hyperparameters=values,
        search_space={name: knob_range(span) for name, span in search_space(cell).items()},
        best_trial=best.number if best else None,
        best_value=best.value if best else None,
        trials=len(records),
        statuses=dict(Counter(record.status for record in records)),
        epochs=sum(record.cost.epochs for record in records if record.cost),
        seconds=sum(record.cost.train_seconds for record in records if record.cost),
        readings=tuning_readings(records, windows),
        warnings=notes,
    )
    folder.write_tuned(tuned)
    return tuned


def tuning_readings(records: Sequence[Record], windows: Sequence[Sequence[dict[str, Any]]]) -> list[Reading]:
    """Joules of a whole tuning: measured ones from the driver's windows, modelled ones summed over the trials."""
    total: dict[str, list[Reading]] = {}
    for window in windows:
        for reading in map(Reading.model_validate, window):
            if reading.quality in ("measured", "unresolved"):
                total.setdefault(reading.component, []).append(reading)
    measured = set(total)
    for record in records:
        for phase in record.phases.values():
            for reading in phase.readings:
                if reading.component not in measured:
                    total.setdefault(reading.component, []).append(reading)
    return [added(readings) for readings in total.values()]


def added(readings: Sequence[Reading]) -> Reading:
    """The sum of readings of one component; absent if any is, unresolved if any is."""
    worst = max(readings, key=lambda r: ("measured", "modelled", "unresolved", "absent").index(r.quality))
    known = [r.joules for r in readings if r.joules is not None]
    resolutions = [r.resolution for r in readings if r.resolution is not None]
    return worst.model_copy(
        update={
            "joules": sum(known) if len(known) == len(readings) else None,
            "resolution": max(resolutions) if resolutions else None,
        }
    )
