"""The driver of a study: plan, tune, make the final runs, report. It alone writes to the results folder.

Whatever is finished is kept at once, and a second call goes on from there: tuned cells stand, final records stand,
failed runs are tried again.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bpfree.errors import RequestError, WorldError
from bpfree.records import MeasurementSettings, Record, RunSpec, TunedCell
from bpfree.results import ResultsFolder
from bpfree.sections import TRIAL_SEED
from bpfree.study import Device, Study, to_toml

if TYPE_CHECKING:
    from bpfree.estimate import Estimate
    from bpfree.executors import LocalExecutor
    from bpfree.planning import Cell, Plan


@dataclass(frozen=True)
class Forecast:
    """What a plan will take at most: as if no run stopped early. Energy and carbon over the study's boundary."""

    trials: int
    runs: int
    tuning_seconds: float
    final_seconds: float
    watt_hours: float | None
    quality: str
    co2e_grams: float | None

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.tuning_seconds + self.final_seconds


class Listener(Protocol):
    """Who watches a study: the command line's progress display, or nobody."""

    def planned(self, plan: "Plan", forecast: Forecast | None) -> None:
        """The plan stands; what is still to do follows."""

    def tuning(self, cell: str, trials: int, done: int) -> None:
        """The tuning of a cell begins."""

    def trial(self, record: Record, best: float | None) -> None:
        """A trial ended."""

    def finals(self, runs: int, done: int) -> None:
        """The final runs begin."""

    def running(self, spec: RunSpec) -> None:
        """A final run begins."""

    def final(self, record: Record) -> None:
        """A final run ended."""


@dataclass(frozen=True)
class Places:
    """Where a study is kept and on what it runs."""

    folder: ResultsFolder
    device: str
    data_dir: Path | None
    workers: int

    @property
    def kind(self) -> Device:
        """cpu or cuda."""
        return "cuda" if self.device.startswith("cuda") else "cpu"


def nothing_left(study: Study, folder: ResultsFolder, kind: Device | None) -> int | None:
    """The number of finished final runs if a study is complete, else None. Needs no torch, so it answers at once.

    `kind` None means whatever device the study was run on.
    """
    kept = kept_plan(folder)
    if not kept or kept.get("digest") != study.digest or (kind and kept.get("device") != kind):
        return None
    return len(folder.finals()) or None


def forecast(planned: "Plan", tuned: dict[str, TunedCell], places: Places, executor: "LocalExecutor") -> Forecast:
    """Time a few steps of every cell, in warm processes, and add up what is still to do.

    A cell that cannot be timed (out of memory, say) adds no time, and makes the energy unknown.
    """
    folder, study = places.folder, planned.study
    futures = [executor.estimate(default_trial(planned, cell)) for cell in planned.cells]
    tuning_seconds = final_seconds = joules = 0.0
    trials = runs = 0
    qualities = set()
    for cell, future in zip(planned.cells, futures, strict=True):
        missing = [s for s in final_specs(planned, tuned, cell) if not is_final(folder, s)]
        count = len(missing) if cell.name in tuned else len(study.seeds)
        to_tune = study.tuning.trials if study.tuning and cell.name not in tuned else 0
        trials, runs = trials + to_tune, runs + count
        timing = estimated(future)
        qualities.add(timing.quality if timing else "absent")
        if timing:
            trial_seconds = to_tune * timing.run_seconds(default_trial(planned, cell).training)
            training = missing[0].training if missing else cell.training.settings()
            run_seconds = count * timing.run_seconds(training)
            tuning_seconds += trial_seconds / places.workers
            idle = study.measurement.idle_seconds if timing.quality == "measured" else 0
            final_seconds += run_seconds + count * (PROCESS_SECONDS + idle)
            joules += (trial_seconds + run_seconds) * (timing.watts or 0)
    quality = qualities.pop() if len(qualities) == 1 else "absent"
    known = quality in ("measured", "modelled")
    return Forecast(
        trials, runs, tuning_seconds, final_seconds, joules / 3600 if known else None,
        quality, grams(joules, study.measurement.settings()) if known else None,
    )  # fmt: skip


PROCESS_SECONDS = 3.0
"""A fresh process and its imports, roughly."""


def estimated(future: "Future[Estimate]") -> "Estimate | None":
    """A timing, or None where its process died or the device had no room for it."""
    from pebble import ProcessExpired

    try:
        return future.result()
    except (ProcessExpired, RuntimeError):
        return None


def grams(joules: float, settings: MeasurementSettings) -> float | None:
    """CO2e of some joules, if the study says how to count it."""
    from bpfree.meters import carbon_of

    carbon = carbon_of(joules, settings)
    return carbon.co2e_kg * 1000 if carbon else None


def default_trial(planned: "Plan", cell: "Cell") -> RunSpec:
    """A trial of a cell at its defaults."""
    from bpfree import assembly

    return planned.trial(cell, assembly.resolve(cell.algorithm, cell.optimizer, cell.fixed), TRIAL_SEED)


def known_cells(planned: "Plan", places: Places) -> dict[str, TunedCell]:
    """The cells whose tuning has ended under the settings that the study has now, or is taken over from another."""
    from bpfree.following import take_over
    from bpfree.tuning import digest

    found, passes, follows = {}, {}, planned.study.follows
    stored = {cell.name: places.folder.tuned(cell.name) for cell in planned.cells}
    for cell in planned.cells:
        tuned = stored[cell.name]
        if tuned and tuned.digest == digest(planned, cell):
            found[cell.name] = tuned
            passes[cell.workload] = tuned.matched_passes
    for cell in planned.cells if follows else []:
        if cell.name not in found:
            other = ResultsFolder(places.folder.path.parent / str(follows))
            taken = found[cell.name] = take_over(planned, cell, other, passes.get(cell.workload))
            passes[cell.workload] = taken.matched_passes
    return found


def final_specs(planned: "Plan", tuned: dict[str, TunedCell], cell: "Cell") -> list[RunSpec]:
    """The final runs of one cell, if it is tuned."""
    if cell.name not in tuned:
        return []
    return [planned.final(cell, tuned[cell.name], seed) for seed in planned.study.seeds]


def is_final(folder: ResultsFolder, spec: RunSpec) -> bool:
    """Whether a run is done for good."""
    record = folder.record(spec.id)
    return record is not None and record.final


def fetch_data(names: Sequence[str], data_dir: Path | None) -> None:
    """Have the datasets of some workloads on this machine before anything starts.

    Raises
    ------
    DataError
        One is absent and cannot be downloaded, or is damaged.
    """
    from bpfree.workloads import data, find

    for dataset in sorted({find(name).dataset for name in names}):
        data.load(dataset, data_dir)


def warm(places: Places) -> "LocalExecutor":
    """Processes that stay, for timing and trials; none starts before it has work."""
    from bpfree.executors import LocalExecutor

    return LocalExecutor(places.device, places.workers, places.data_dir, fresh=False)


@contextmanager
def opened(study: Study, places: Places) -> "Iterator[tuple[Plan, dict[str, TunedCell]]]":
    """The plan of a study and the cells that are tuned already, with its data at hand and its folder locked.

    Nothing is written before the request has been checked.
    """
    from bpfree.planning import plan

    planned = plan(study, places.kind)
    if any(record.spec.role == "imported" for record in places.folder.records()):
        raise RequestError(f"{places.folder.path} holds imported runs: give the study another name, or --results")
    known_cells(planned, places)
    fetch_data([entry.name for entry in study.workloads], places.data_dir)
    lock = places.folder.lock()
    try:
        tuned = known_cells(planned, places)
        places.folder.write_text("study.toml", to_toml(study))
        for cell in tuned.values():
            if cell.taken_from:
                places.folder.write_tuned(cell)
        yield planned, tuned
    finally:
        lock.release()


def run_study(study: Study, places: Places, listener: Listener) -> list[Record]:
    """Do what is left of a study. Returns the records of all its final runs.

    Raises
    ------
    RequestError
        The study names what does not exist, or follows one that has not ended.
    DataError, WorldError
        Data cannot be had, the folder cannot be written, or another driver works on it.
    """
    with opened(study, places) as (planned, tuned):
        kept, every = kept_plan(places.folder), len(tuned) == len(planned.cells)
        if not every or kept.get("digest") != study.digest or kept.get("device") != places.kind:
            keep_plan(study, places, [])  # else runs of an earlier form of the study would count as this one's
        with warm(places) as executor:
            listener.planned(planned, forecast(planned, tuned, places, executor))
            tune_cells(planned, tuned, places, executor, listener)
        blocks = planned.final_blocks(tuned)
        keep_plan(study, places, [spec.id for block in blocks for spec in block])
        return make_final_runs(blocks, places, listener)


def kept_plan(folder: ResultsFolder) -> dict[str, Any]:
    """The plan in the folder; none where it is damaged, for it is written anew."""
    try:
        return folder.plan()
    except WorldError:
        return {}


def keep_plan(study: Study, places: Places, final_runs: list[str]) -> None:
    """Say in the folder which final runs are the study's: none, until it is tuned."""
    kept = {"digest": study.digest, "device": places.kind, "final_runs": final_runs}
    places.folder.write_text("plan.json", json.dumps(kept, indent=1) + "\n")


def tune_cells(
    planned: "Plan", tuned: dict[str, TunedCell], places: Places, executor: "LocalExecutor", listener: Listener
) -> None:
    """Tune the cells that have no outcome yet, one after another, and add theirs."""
    from bpfree.tuning import tune

    for cell in planned.cells:
        if cell.name not in tuned:
            if planned.study.tuning:
                listener.tuning(cell.name, planned.study.tuning.trials, 0)
            tuned[cell.name] = tune(planned, cell, places.folder, executor, places.workers, listener.trial)


def tune_only(study: Study, places: Places, listener: Listener) -> TunedCell:
    """Tune the single cell of a study.

    Raises
    ------
    RequestError, DataError, WorldError
        As in `run_study`.
    """
    with opened(study, places) as (planned, tuned), warm(places) as executor:
        tune_cells(planned, tuned, places, executor, listener)
    (cell,) = tuned.values()
    return cell


def make_final_runs(blocks: Sequence[Sequence[RunSpec]], places: Places, listener: Listener) -> list[Record]:
    """Block by block, one run at a time, each in a fresh process that has the device to itself."""
    from bpfree.executors import LocalExecutor, outcome

    folder = places.folder
    todo = [
        (b, p, spec) for b, block in enumerate(blocks) for p, spec in enumerate(block) if not is_final(folder, spec)
    ]
    total = sum(map(len, blocks))
    listener.finals(total, total - len(todo))
    with LocalExecutor(places.device, 1, places.data_dir, fresh=True) as executor:
        for b, p, spec in todo:
            listener.running(spec)
            future: Future[Record] = executor.submit(spec)
            record = outcome(future, spec).model_copy(update={"block": b, "position": p})
            folder.write(record)
            listener.final(record)
    records = [folder.record(spec.id) for block in blocks for spec in block]
    return [record for record in records if record is not None]
