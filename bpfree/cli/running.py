"""Commands that make runs: train, tune, study; and how far a study is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpfree.cli.options import (
    REPORTS,
    RESULTS,
    AsJson,
    CodeCarbonCsv,
    Country,
    CpuWatts,
    DataDir,
    Device,
    Execution,
    Optimizer,
    Region,
    Results,
    Set,
    StudyFile,
    Workers,
    Workload,
    err,
    out,
    parse_settings,
    print_json,
)
from bpfree.errors import RequestError

if TYPE_CHECKING:
    from bpfree.driver import Places
    from bpfree.records import Record
    from bpfree.results import ResultsFolder
    from bpfree.study import Study


def train(
    algorithm: Annotated[str, typer.Argument(help="A name from `bpfree list algorithms`.")],
    workload: Workload,
    optimizer: Optimizer = "adamw",
    seed: Annotated[int, typer.Option(min=0, max=999_999, help="Of initialisation, data order and the algorithm.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, max=1_000_000, help="Passes over the training set at most.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a step.")] = 128,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without improvement that end a stage.")] = 5,
    settings: Set = None,
    country: Country = None,
    region: Region = None,
    cpu_watts: CpuWatts = None,
    codecarbon_csv: CodeCarbonCsv = None,
    device: Device = "auto",
    execution: Execution = None,
    data_dir: DataDir = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Train one network with one algorithm and print its record."""
    from bpfree import assembly, trainer, workloads
    from bpfree.execution import level_of
    from bpfree.export import emission
    from bpfree.measuring import checked_settings
    from bpfree.meters import codecarbon_csv as codecarbon
    from bpfree.progress import evaluation_line, result_line
    from bpfree.records import RunSpec, TrainingSettings
    from bpfree.results import ResultsFolder

    task = workloads.find(workload)
    assembly.check_compatible(algorithm, task, batch_size)
    hyperparameters = assembly.resolve(algorithm, optimizer, parse_settings(settings))
    measurement = checked_settings(country=country, region=region, cpu_watts=cpu_watts)
    if codecarbon_csv:
        codecarbon.check(codecarbon_csv)
    torch_device = assembly.find_device(device)
    spec = RunSpec(
        workload=workload, algorithm=algorithm, optimizer=optimizer, hyperparameters=hyperparameters, seed=seed,
        training=TrainingSettings(
            max_epochs=epochs, batch_size=batch_size, patience=patience, min_delta=0.0,
            execution=level_of(execution, torch_device),
        ),
        measurement=measurement,
        device="cpu" if torch_device == "cpu" else "cuda",
    )  # fmt: skip
    folder = ResultsFolder(results / "train")
    folder.check_writable()
    record = trainer.run(
        spec, torch_device, data_dir, fresh_process=True,
        on_evaluation=lambda evaluation: err.print(evaluation_line(evaluation, task.metric), soft_wrap=True),
    )  # fmt: skip
    path = folder.write(record)
    if codecarbon_csv and (row := emission(record, "bpfree train")):
        codecarbon.append(codecarbon_csv, row)
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        out.print(result_line(record))
        out.print(f"record: {path}")
    if record.status != "completed":
        err.print(f"bpfree: {record.status}: {record.error}", style="red", soft_wrap=True)
        raise typer.Exit(1)


def tune(
    algorithm: Annotated[str, typer.Argument(help="A name from `bpfree list algorithms`.")],
    workload: Workload,
    trials: Annotated[int, typer.Option(min=1, max=100_000, help="Trainings to try.")],
    optimizer: Optimizer = "adamw",
    sampler: Annotated[str, typer.Option(help="tpe, gp, random or qmc.")] = "tpe",
    epochs: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Passes over the training set of a trial at most.")
    ] = 10,
    settings: Set = None,
    device: Device = "auto",
    workers: Workers = None,
    data_dir: DataDir = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Tune one algorithm's hyperparameters with Optuna and print the best."""
    from bpfree import assembly, driver, workloads
    from bpfree.progress import StudyProgress
    from bpfree.study import SAMPLERS, Study

    if sampler not in SAMPLERS:
        raise RequestError(f"unknown sampler '{sampler}': choose from {', '.join(SAMPLERS)}")
    fixed = parse_settings(settings)
    metric = workloads.find(workload).metric
    assembly.resolve(algorithm, optimizer, fixed)
    study = Study.model_validate(
        {
            "name": f"tune-{workload}-{algorithm}-{optimizer}-{sampler}",
            "workloads": [workload],
            "algorithms": [{"name": algorithm, **fixed}],
            "optimizers": [optimizer],
            "baseline": algorithm,
            "training": {"max_epochs": epochs},
            "tuning": {"trials": trials, "sampler": sampler},
        }
    )
    places = places_of(study.name, results, device, data_dir, workers)
    with StudyProgress(err) as progress:
        tuned = driver.tune_only(study, places, progress)
    if as_json:
        print_json(tuned.model_dump(mode="json"))
        return
    best = "no trial completed" if tuned.best_value is None else f"best validation {metric.text(tuned.best_value)}"
    out.print(f"{tuned.cell}: {best} after {tuned.trials} trials, {tuned.epochs} epochs")
    for name, value in tuned.hyperparameters.items():
        out.print(f"  {name} = {value:.4g}" if isinstance(value, float) else f"  {name} = {value}")
    for warning in tuned.warnings:
        out.print(f"  warning: {warning}")


def places_of(name: str, results: Path, device: str, data_dir: Path | None, workers: int | None) -> "Places":
    """Folder, device and workers of a study or calibration."""
    from bpfree import assembly
    from bpfree.driver import Places
    from bpfree.executors import usable_cores
    from bpfree.results import ResultsFolder
    from bpfree.study import TRIALS_AT_ONCE

    torch_device = assembly.find_device(device)
    default = min(usable_cores(), TRIALS_AT_ONCE) if torch_device == "cpu" else 1
    return Places(ResultsFolder(results / name), torch_device, data_dir, workers or default)


def study(
    file: StudyFile,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan with time, energy and CO2e; no run.")
    ] = False,
    workers: Workers = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    results: Results = RESULTS,
    output: Annotated[Path, typer.Option(help="Where reports are written.")] = REPORTS,
    as_json: AsJson = False,
) -> None:
    """Run a study: plan, tune, train, measure, report. Goes on where it was left."""
    from bpfree import driver
    from bpfree.results import ResultsFolder
    from bpfree.study import load

    loaded = load(file)
    folder = ResultsFolder(results / loaded.name)
    report_path = output / loaded.name / "index.html"
    kind: Any = {"auto": None, "cpu": "cpu"}.get(device, "cuda")
    finished = None if dry_run else driver.nothing_left(loaded, folder, kind)
    if finished:
        if not reports_on(report_path, folder):
            from bpfree.report import build_report

            build_report(folder.path, report_path.parent)
        if as_json:
            print_json({"study": loaded.name, "final_runs": finished, "to_do": 0, "report": str(report_path)})
        else:
            out.print(f"Nothing left to do: all {finished} final runs of {loaded.name} are finished.")
            out.print(f"report: {report_path}")
        return
    places = places_of(loaded.name, results, device, data_dir, workers)
    if not dry_run:
        ResultsFolder(report_path.parent, "--output").check_writable()
    try:
        if dry_run:
            show_plan(loaded, places, as_json)
            return
        records = run_with_progress(loaded, places)
    except RequestError as error:  # a name or a value that only the plan can check
        raise RequestError(f"{file}: {error}") from None
    from bpfree.report import build_report

    build_report(folder.path, output / loaded.name)
    failed = [record for record in records if not record.final]
    if as_json:
        document = {"study": loaded.name, "final_runs": len(records), "to_do": len(failed), "report": str(report_path)}
        print_json(document)
    else:
        out.print(f"report: {report_path}")
    if failed:
        err.print(f"bpfree: {len(failed)} final runs failed: call again to try them once more", style="red")
        raise typer.Exit(1)


def reports_on(report: Path, folder: "ResultsFolder") -> bool:
    """Whether there is a report, and no final run is newer: one may have ended and its report not been written."""
    if not report.exists():
        return False
    runs = [folder.record_path(run).stat().st_mtime_ns for run in folder.plan()["final_runs"]]
    return max(runs) <= report.stat().st_mtime_ns


def show_plan(loaded: "Study", places: "Places", as_json: bool) -> None:
    """The plan alone."""
    from dataclasses import asdict

    from bpfree import driver
    from bpfree.planning import plan
    from bpfree.progress import plan_table

    planned = plan(loaded, places.kind)
    driver.fetch_data([entry.name for entry in loaded.workloads], places.data_dir)
    with driver.warm(places) as executor:
        forecast = driver.forecast(planned, driver.known_cells(planned, places), places, executor)
    if as_json:
        print_json({"study": loaded.name, "cells": len(planned.cells), **asdict(forecast), "seconds": forecast.seconds})
    else:
        out.print(plan_table(planned, forecast))


def run_with_progress(loaded: "Study", places: "Places") -> "list[Record]":
    """A study with its bars."""
    from bpfree import driver
    from bpfree.progress import StudyProgress

    with StudyProgress(err) as progress:
        return driver.run_study(loaded, places, progress)


def calibrate(
    file: StudyFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan with its time; no run.")] = False,
    workers: Workers = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    results: Results = RESULTS,
    output: Annotated[Path, typer.Option(help="Where reports are written.")] = REPORTS,
    as_json: AsJson = False,
) -> None:
    """Find the one setting of each optimizer that is best over a suite of workloads. Goes on where it was left."""
    from dataclasses import asdict

    from bpfree import calibrating
    from bpfree.calibration import load
    from bpfree.driver import warm
    from bpfree.progress import CalibrationProgress, calibration_table
    from bpfree.report import build_report
    from bpfree.results import ResultsFolder

    loaded = load(file)
    places = places_of(loaded.name, results, device, data_dir, workers)
    report_path = output / loaded.name / "index.html"
    try:
        planned = calibrating.plan(loaded, places.device)
        if dry_run:
            with warm(places) as executor:
                forecast = calibrating.forecast(planned, places, executor)
            if as_json:
                print_json({"calibration": loaded.name, **asdict(forecast)})
            else:
                out.print(calibration_table(planned, forecast))
            return
        ResultsFolder(report_path.parent, "--output").check_writable()
        with CalibrationProgress(err) as progress:
            outcome = calibrating.run_calibration(planned, places, progress)
    except RequestError as error:
        raise RequestError(f"{file}: {error}") from None
    build_report(places.folder.path, report_path.parent)
    if as_json:
        selected = {method.name: method.selected for method in outcome.methods}
        print_json({"calibration": loaded.name, "selected": selected, "report": str(report_path)})
    else:
        out.print(f"report: {report_path}")


def status(file: StudyFile, results: Results = RESULTS, as_json: AsJson = False) -> None:
    """What of a study is done and what is left."""
    from bpfree.progress import status_table
    from bpfree.results import ResultsFolder
    from bpfree.status import status_of
    from bpfree.study import load

    loaded = load(file)
    state = status_of(loaded, ResultsFolder(results / loaded.name))
    if as_json:
        print_json(state)
    else:
        out.print(status_table(state))
