"""Commands that read or take over records: report, watch, export, targets, import; and the lists of what there is."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bpfree.cli.options import (
    REPORTS,
    RESULTS,
    AsJson,
    Results,
    StudyFile,
    out,
    print_json,
)
from bpfree.errors import RequestError


def report(
    source: Annotated[Path, typer.Argument(help="A study file or a results folder.")],
    results: Results = RESULTS,
    output: Annotated[Path | None, typer.Option(help="Folder of the report; default reports/<study>.")] = None,
) -> None:
    """Write the report of a study from its records."""
    from bpfree.report import build_report

    folder = source
    if not source.is_dir():
        from bpfree.calibration import load_either

        folder = results / load_either(source).name
    out.print(f"report: {build_report(folder, output or REPORTS / folder.resolve().name)}")


def watch(
    file: StudyFile,
    results: Results = RESULTS,
    interval: Annotated[int, typer.Option(min=1, max=3600, help="Seconds between two looks.")] = 5,
    once: Annotated[
        bool, typer.Option("--once", help="Print one picture and end, as where stdout is no terminal.")
    ] = False,
) -> None:
    """Watch a study that runs elsewhere, from its results folder alone, until its final runs have ended."""
    from bpfree import watching
    from bpfree.results import ResultsFolder
    from bpfree.study import load

    loaded = load(file)
    folder = ResultsFolder(results / loaded.name)
    if once or not out.is_terminal:
        out.print(watching.draw(watching.look(loaded, folder)))
    else:
        watching.watch(loaded, folder, out, interval)


def export(
    file: StudyFile,
    format: Annotated[str, typer.Option("--format", help="csv, json, or codecarbon: final runs alone.")] = "csv",
    results: Results = RESULTS,
) -> None:
    """Print all records of a study: a JSON list, or CSV with one row a run; or its final runs as CodeCarbon's CSV."""
    from bpfree.calibration import load_either
    from bpfree.export import to_codecarbon, to_csv
    from bpfree.results import ResultsFolder
    from bpfree.study import Study

    if format not in ("codecarbon", "json", "csv"):
        raise RequestError(f"unknown format '{format}': choose codecarbon, json or csv")
    loaded = load_either(file)
    folder = ResultsFolder(results / loaded.name)
    records = list(folder.records())
    if not records:
        command = "study" if isinstance(loaded, Study) else "calibrate"
        raise RequestError(f"no records in {folder.path}: run `bpfree {command} {file}` first, or name --results")
    if format == "json":
        print_json([record.model_dump(mode="json") for record in records])
    elif format == "codecarbon":
        sys.stdout.write(to_codecarbon([record for record in records if record.spec.role == "final"], loaded.name))
    else:
        sys.stdout.write(to_csv(records))


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
