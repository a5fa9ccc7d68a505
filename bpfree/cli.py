"""The command line: parses, calls, prints. Results go to stdout, progress to stderr.

Nothing heavy is imported before a command needs it, so that `bpfree --help` answers at once.
"""

import io
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from bpfree import __version__
from bpfree.errors import BpfreeError, RequestError

if TYPE_CHECKING:
    from bpfree.driver import Places
    from bpfree.records import Record
    from bpfree.study import Study

app = typer.Typer(
    help="Does training without backpropagation really save energy? Train, tune, measure, compare, report.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
imports = typer.Typer(help="Take over runs that were made elsewhere, for reports of the same kind.")
app.add_typer(imports, name="import")
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)

Workload = Annotated[str, typer.Option("--workload", "-w", help="A name from `bpfree list workloads`.")]
Optimizer = Annotated[str, typer.Option("--optimizer", "-o", help="A name from `bpfree list optimizers`.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Where data files lie; else $BPFREE_DATA, the user cache, or a download.")
]
Results = Annotated[Path, typer.Option(help="Where records are kept.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="A hyperparameter, name=value; may be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Workers = Annotated[
    int | None, typer.Option(min=1, max=4, help="Trials at a time; default: cores on CPU, at most 4, else 1.")
]
Country = Annotated[str | None, typer.Option(help="ISO alpha-3 code for CO2e, e.g. FRA.")]
Region = Annotated[str | None, typer.Option(help="A part of the country with a factor of its own, e.g. california.")]
CpuWatts = Annotated[
    float | None, typer.Option(help="Of the whole CPU under load, where its energy is modelled; else a table's.")
]
CodeCarbonCsv = Annotated[
    Path | None, typer.Option("--codecarbon-csv", help="Append a row to this file, in the format of CodeCarbon's.")
]
StudyFile = Annotated[Path, typer.Argument(help="A study file, e.g. studies/quickstart.toml.")]
RESULTS = Path("results")
REPORTS = Path("reports")
INTERRUPTED = 130
"""Exit status that typer makes of Ctrl-C."""


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


def parse_settings(settings: list[str] | None) -> dict[str, Any]:
    """`name=value` pairs as a dictionary; values are read as JSON where they are, else as text."""
    values: dict[str, Any] = {}
    for setting in settings or []:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise RequestError(f"--set {setting} is not of the form name=value")
        try:
            values[name.strip()] = json.loads(text)
        except (ValueError, RecursionError):
            values[name.strip()] = text
    return values


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Does training without backpropagation really save energy? Train, tune, measure, compare, report."""
    if version:
        print(f"bpfree {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def train(
    algorithm: Annotated[str, typer.Argument(help="A name from `bpfree list algorithms`.")],
    workload: Workload,
    optimizer: Optimizer = "adamw",
    seed: Annotated[int, typer.Option(min=0, max=999_999, help="Of initialisation, data order and the algorithm.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training set at most.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a step.")] = 128,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without improvement that end a stage.")] = 5,
    settings: Set = None,
    country: Country = None,
    region: Region = None,
    cpu_watts: CpuWatts = None,
    codecarbon_csv: CodeCarbonCsv = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Train one network with one algorithm and print its record."""
    from bpfree import assembly, trainer, workloads
    from bpfree.export import emission
    from bpfree.measuring import checked_settings
    from bpfree.meters import codecarbon_csv as codecarbon
    from bpfree.progress import evaluation_line, result_line
    from bpfree.records import RunSpec, TrainingSettings
    from bpfree.results import ResultsFolder

    assembly.check_compatible(algorithm, workloads.find(workload), batch_size)
    hyperparameters = assembly.resolve(algorithm, optimizer, parse_settings(settings))
    measurement = checked_settings(country=country, region=region, cpu_watts=cpu_watts)
    if codecarbon_csv:
        codecarbon.check(codecarbon_csv)
    torch_device = assembly.find_device(device)
    spec = RunSpec(
        workload=workload, algorithm=algorithm, optimizer=optimizer, hyperparameters=hyperparameters, seed=seed,
        training=TrainingSettings(max_epochs=epochs, batch_size=batch_size, patience=patience, min_delta=0.0),
        measurement=measurement,
        device="cpu" if torch_device == "cpu" else "cuda",
    )  # fmt: skip
    folder = ResultsFolder(results / "train")
    folder.check_writable()
    record = trainer.run(
        spec, torch_device, data_dir, fresh_process=True,
        on_evaluation=lambda evaluation: err.print(evaluation_line(evaluation), soft_wrap=True),
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


@app.command()
def tune(
    algorithm: Annotated[str, typer.Argument(help="A name from `bpfree list algorithms`.")],
    workload: Workload,
    trials: Annotated[int, typer.Option(min=1, help="Trainings to try.")],
    optimizer: Optimizer = "adamw",
    sampler: Annotated[str, typer.Option(help="tpe, gp, random or qmc.")] = "tpe",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training set of a trial at most.")] = 10,
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
    workloads.find(workload)
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
    places = places_of(study, results, device, data_dir, workers)
    with StudyProgress(err) as progress:
        tuned = driver.tune_only(study, places, progress)
    if as_json:
        print_json(tuned.model_dump(mode="json"))
        return
    best = "no trial completed" if tuned.best_value is None else f"best validation {tuned.best_value:.2%}"
    out.print(f"{tuned.cell}: {best} after {tuned.trials} trials, {tuned.epochs} epochs")
    for name, value in tuned.hyperparameters.items():
        out.print(f"  {name} = {value:.4g}" if isinstance(value, float) else f"  {name} = {value}")
    for warning in tuned.warnings:
        out.print(f"  warning: {warning}")


def places_of(study: "Study", results: Path, device: str, data_dir: Path | None, workers: int | None) -> "Places":
    """Folder, device and workers of a study."""
    from bpfree import assembly
    from bpfree.driver import Places
    from bpfree.executors import usable_cores
    from bpfree.results import ResultsFolder
    from bpfree.study import TRIALS_AT_ONCE

    torch_device = assembly.find_device(device)
    default = min(usable_cores(), TRIALS_AT_ONCE) if torch_device == "cpu" else 1
    return Places(ResultsFolder(results / study.name), torch_device, data_dir, workers or default)


@app.command()
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
        if not report_path.exists():
            from bpfree.report import build_report

            build_report(folder.path, report_path.parent)
        if as_json:
            print_json({"study": loaded.name, "final_runs": finished, "to_do": 0, "report": str(report_path)})
        else:
            out.print(f"Nothing left to do: all {finished} final runs of {loaded.name} are finished.")
            out.print(f"report: {report_path}")
        return
    places = places_of(loaded, results, device, data_dir, workers)
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


def show_plan(loaded: "Study", places: "Places", as_json: bool) -> None:
    """The plan alone."""
    from dataclasses import asdict

    from bpfree import driver
    from bpfree.planning import plan
    from bpfree.progress import plan_table

    planned = plan(loaded, places.kind)
    driver.fetch_data(loaded, places.data_dir)
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


@app.command()
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


@app.command()
def report(
    source: Annotated[Path, typer.Argument(help="A study file or a results folder.")],
    results: Results = RESULTS,
    output: Annotated[Path | None, typer.Option(help="Folder of the report; default reports/<study>.")] = None,
) -> None:
    """Write the report of a study from its records."""
    from bpfree.report import build_report

    folder = source
    if not source.is_dir():
        from bpfree.study import load

        folder = results / load(source).name
    out.print(f"report: {build_report(folder, output or REPORTS / folder.resolve().name)}")


@app.command()
def export(
    file: StudyFile,
    format: Annotated[str, typer.Option("--format", help="csv, json, or codecarbon: final runs alone.")] = "csv",
    results: Results = RESULTS,
) -> None:
    """Print all records of a study: a JSON list, or CSV with one row a run; or its final runs as CodeCarbon's CSV."""
    from bpfree.export import to_codecarbon, to_csv
    from bpfree.results import ResultsFolder
    from bpfree.study import load

    if format not in ("codecarbon", "json", "csv"):
        raise RequestError(f"unknown format '{format}': choose codecarbon, json or csv")
    study = load(file)
    folder = ResultsFolder(results / study.name)
    records = list(folder.records())
    if not records:
        raise RequestError(f"no records in {folder.path}: run `bpfree study {file}` first, or name --results")
    if format == "json":
        print_json([record.model_dump(mode="json") for record in records])
    elif format == "codecarbon":
        sys.stdout.write(to_codecarbon([record for record in records if record.spec.role == "final"], study.name))
    else:
        sys.stdout.write(to_csv(records))


@app.command()
def targets(
    folder: Annotated[Path, typer.Argument(help="The results folder of a tuned study, e.g. results/quickstart.")],
    output: Annotated[Path | None, typer.Option(help="A target file to put them into; its other rows stay.")] = None,
    as_json: AsJson = False,
) -> None:
    """Derive the targets of a study's workloads from its tuned baseline."""
    from dataclasses import asdict

    from bpfree.deriving import derive
    from bpfree.results import ResultsFolder
    from bpfree.targets import merge, written

    found = derive(ResultsFolder(folder))
    if output:
        merge(output, found)
    if as_json:
        print_json({name: asdict(target) for name, target in found.items()})
    else:
        out.print(written(found), end="")


@imports.command()
def published(
    file: Annotated[Path, typer.Argument(help="The CSV file, e.g. studies/published/beyond_backprop_runs.csv.")],
    results: Results = RESULTS,
) -> None:
    """The published runs of arXiv 2509.19063 and 2511.01061, one line of a CSV file a run."""
    from bpfree.published import STUDY, import_runs

    records = import_runs(file, results)
    workloads = {record.spec.workload for record in records}
    folder = results / STUDY
    out.print(f"{len(records)} runs on {len(workloads)} workloads are in {folder}")
    out.print(f"next: bpfree report {folder}")


@app.command(context_settings={"allow_interspersed_args": False})
def measure(
    command: Annotated[list[str] | None, typer.Argument(metavar="COMMAND...", help="And its arguments.")] = None,
    country: Country = None,
    region: Region = None,
    carbon_intensity: Annotated[
        float | None, typer.Option(help="g CO2e per kWh, in the place of the country's.")
    ] = None,
    pue: Annotated[float, typer.Option(help="Facility energy over device energy.")] = 1.0,
    cpu_watts: CpuWatts = None,
    codecarbon_csv: CodeCarbonCsv = None,
    as_json: AsJson = False,
) -> None:
    """Run a command and tell what it took, on stderr; its output and its exit status are passed on.

    With --json one document goes to stdout, and the command's own output to stderr.
    """
    if not command:
        raise RequestError("there is no command to measure: bpfree measure -- COMMAND...")
    from bpfree.measuring import checked_settings, measure_command

    settings = checked_settings(
        country=country, region=region, carbon_intensity=carbon_intensity, pue=pue, cpu_watts=cpu_watts
    )
    stdout = sys.stderr if as_json else sys.stdout
    measurement, status = measure_command(command, settings, codecarbon_csv, stdout.fileno())
    if as_json:
        print_json({"command": command, "exit_status": status, **measurement.measured.document()})
    else:
        err.print(f"bpfree: `{shlex.join(command)}` ended with exit status {status}", soft_wrap=True)
        err.print(measurement.summary(), soft_wrap=True)
    measurement.write_csv()
    sys.stdout.flush()
    raise SystemExit(status)  # not typer.Exit, of which 130 would be read as our own interruption


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What this machine can and cannot measure, and why."""
    from bpfree.meters.doctor import diagnose, render

    diagnosis = diagnose()
    if as_json:
        print_json(diagnosis)
    else:
        out.print(render(diagnosis))


@app.command("list")
def list_(
    what: Annotated[
        str | None, typer.Argument(help="algorithms, optimizers, workloads or studies; default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what there is, with papers, hyperparameters and ranges."""
    from bpfree.catalogue import KINDS, entries
    from bpfree.progress import catalogue_table

    if what is not None and what not in KINDS:
        from bpfree.errors import unknown

        raise unknown("list", what, KINDS)
    if as_json:
        rows = [{"kind": kind, **entry} for kind in KINDS for entry in entries(kind)] if what is None else entries(what)
        print_json(rows)
        return
    for kind in [what] if what else KINDS:
        out.print(catalogue_table(kind, entries(kind)))


def main() -> None:
    """Run the command line; every error that a user can meet is one line on stderr."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")  # a narrow encoding is no reason to fail
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
    except BpfreeError as error:
        fail(str(error), error.exit_status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: end without noise
        raise SystemExit(1) from None
    except OSError as error:
        fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except typer.TyperException as error:
        fail(getattr(error, "format_message", error.__str__)(), 2)
    if status == INTERRUPTED:
        fail("stopped; every finished run is kept: call again to go on", INTERRUPTED)
    raise SystemExit(status if isinstance(status, int) else 0)


def fail(message: str, status: int) -> None:
    """One line on stderr, and the exit status."""
    err.print(f"bpfree: {message}", style="red", soft_wrap=True, markup=False)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
