"""Commands that read or take over records: report, watch, export, targets, import; and the lists of what there is."""

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bpfree.cli.options import (
    REPORTS,
    RESULTS,
    AsJson,
    Results,
    StudyFile,
    as_text,
    out,
    print_json,
)
from bpfree.errors import RequestError, WorldError, unknown

if TYPE_CHECKING:
    from bpfree.records import Record
    from bpfree.results import ResultsFolder

FORMATS = ("csv", "json", "parquet", "codecarbon", "latex", "markdown")
"""Of an export."""


def report(
    sources: Annotated[list[Path], typer.Argument(help="A study file or a results folder; of several, a comparison.")],
    results: Results = RESULTS,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the report; default reports/<study>, or <A>-against-<B>.")
    ] = None,
    figures: Annotated[
        list[str] | None, typer.Option(help="Write the figures as pdf or png too, beside svg; may be repeated.")
    ] = None,
) -> None:
    """Write the report of a study from its records, or compare studies; the first is the reference."""
    gc.disable()  # to the end of the process: of a large report's objects the search for cycles takes a second
    folders = [folder_of(source, results) for source in sources]
    target = output or REPORTS / "-against-".join(folder.resolve().name for folder in folders)
    formats = figures or ()
    if len(folders) == 1:
        from bpfree.report_workers import workers

        # They begin before the import below, which takes a second.
        with workers(weigh=(folders[0] / "tuned").is_dir()) as pool:
            from bpfree.report import build_report

            written = build_report(folders[0], target, formats, pool)
    else:
        from bpfree.report import build_comparison

        written = build_comparison(folders, target, formats)
    out.print(f"report: {written}")
    gc.freeze()  # nor does the interpreter search them when it ends, which takes half a second


def folder_of(source: Path, results: Path) -> Path:
    """The results folder that is meant: itself, or that of a study or calibration file.

    Raises
    ------
    WorldError
        The study kept in the folder is damaged.
    """
    from bpfree.calibration import load_either

    folder = source if source.is_dir() else results / load_either(source).name
    check_kept_study(folder)
    return folder


def check_kept_study(folder: Path) -> None:
    """Refuse a results folder whose study is damaged.

    Raises
    ------
    WorldError
        It is.
    """
    from bpfree.study import load

    if (folder / "study.toml").is_file():
        try:
            load(folder / "study.toml")
        except RequestError as error:
            raise WorldError(f"{error}; run the study again and it is written anew") from None


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
    file: Annotated[Path | None, typer.Argument(help="A study file or a results folder.")] = None,
    format: Annotated[
        str, typer.Option("--format", help="All runs: csv, json, parquet. Final runs: codecarbon, latex, markdown.")
    ] = "csv",
    output: Annotated[Path | None, typer.Option(help="A file for it; default: stdout.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Describe the columns of csv and parquet; as JSON with --format json.")
    ] = False,
    results: Results = RESULTS,
) -> None:
    """Print the records of a study: whole, as a table with one row a run, or as the tables of results of a paper."""
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if schema:
        print_schema(as_json=format == "json")
        return
    if file is None:
        raise RequestError("there is nothing to export: name a study file or a results folder")
    if format == "parquet" and output is None and sys.stdout.isatty():
        raise RequestError("parquet is not for a terminal: name a file with --output")
    folder, records = records_of(file, results)
    content = exported(format, folder, records)
    if output:
        from bpfree.results import ResultsFolder

        whole = content if isinstance(content, bytes) else content.encode()
        out.print(f"export: {ResultsFolder(output.parent, '--output').write_bytes(output.name, whole)}")
    elif isinstance(content, bytes):
        sys.stdout.buffer.write(content)
    else:
        sys.stdout.write(content)


def print_schema(as_json: bool) -> None:
    """What the columns of the table of records are."""
    from rich.box import SIMPLE
    from rich.table import Table

    from bpfree.columns import COLUMNS, schema

    if as_json:
        print_json(schema())
        return
    table = Table("column", "type", "unit", "meaning", box=SIMPLE)
    for column in COLUMNS:
        table.add_row(column.name, column.kind, column.unit, column.meaning)
    out.print(table)


def records_of(source: Path, results: Path) -> "tuple[ResultsFolder, list[Record]]":
    """A results folder, of a study file or itself, and its records.

    Raises
    ------
    RequestError
        It has none.
    """
    from bpfree.calibration import load_either
    from bpfree.results import ResultsFolder
    from bpfree.study import Study

    loaded = None if source.is_dir() else load_either(source)
    folder = ResultsFolder(results / loaded.name if loaded else source.resolve())
    records = list(folder.records())
    if not records and loaded:
        command = "study" if isinstance(loaded, Study) else "calibrate"
        raise RequestError(f"no records in {folder.path}: run `bpfree {command} {source}` first, or name --results")
    if not records:
        raise RequestError(f"no records in {source}: name a study file, or the folder that holds its runs/")
    return folder, records


def exported(format: str, folder: "ResultsFolder", records: "list[Record]") -> str | bytes:
    """Records in a format; tables of results are of a study alone.

    Raises
    ------
    RequestError
        A table of results is asked for, of a calibration.
    WorldError
        The study kept in the folder is damaged.
    """
    from bpfree.export import to_codecarbon, to_csv

    if format in ("latex", "markdown"):
        from bpfree.report import calibration, tables

        check_kept_study(folder.path)
        if calibration.is_calibration(folder):
            raise RequestError(
                f"{folder.path} is of a calibration, which has no such table: choose csv, json or parquet"
            )
        return tables.latex(folder) if format == "latex" else tables.markdown(folder)
    if format == "parquet":
        from bpfree.parquet import to_parquet

        return to_parquet(records)
    if format == "codecarbon":
        return to_codecarbon([record for record in records if record.spec.role == "final"], folder.path.name)
    return to_csv(records) if format == "csv" else as_text([record.model_dump(mode="json") for record in records])


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
        raise unknown("list", what, KINDS)
    if as_json:
        rows = [{"kind": kind, **entry} for kind in KINDS for entry in entries(kind)] if what is None else entries(what)
        print_json(rows)
        return
    for kind in [what] if what else KINDS:
        out.print(catalogue_table(kind, entries(kind)))
