"""Options that several commands share, the two consoles, and how values are read and printed."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bpfree.errors import RequestError

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)

Workload = Annotated[str, typer.Option("--workload", "-w", help="A name from `bpfree list workloads`.")]
Optimizer = Annotated[str, typer.Option("--optimizer", "-o", help="A name from `bpfree list optimizers`.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Execution = Annotated[
    str | None, typer.Option(help="eager, cuda_graph or compiled; default: cuda_graph on CUDA, else eager.")
]
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


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(as_text(document))


def as_text(document: Any) -> str:
    """A JSON document as it is printed."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


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
