"""`python -m bench [NAME …]`: every figure with interval, theory, bar and verdict; status 1 where a bar is missed."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from bench import greedy, metering, optimizers, overhead, reporting, scaling, start, steps
from bench.alternation import Figure
from bpfree import assembly, environment

BENCHES: dict[str, Callable[[str], list[Figure]]] = {
    "steps": steps.figures,
    "greedy": greedy.figures,
    "scaling": scaling.figures,
    "overhead": overhead.figures,
    "metering": metering.figures,
    "optimizers": optimizers.figures,
    "start": start.figures,
    "report": reporting.figures,
}
COLUMNS = ("theory or bar", "measured median", "95 % interval", "verdict")
COLUMNS_OF_TEXT = 100


def show(bench: str, found: Sequence[Figure]) -> None:
    """A table for each group of figures, at least as wide as its rows even where no terminal is."""
    console = Console()
    console.width = max(console.width, COLUMNS_OF_TEXT)
    for group, figures in groupby(found, key=lambda figure: figure.group):
        table = Table(bench, *COLUMNS, title=group, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        table.columns[0].min_width = 36
        for figure in figures:
            table.add_row(*figure.cells())
        console.print(table)


def show_markdown(bench: str, found: Sequence[Figure]) -> None:
    """One table a benchmark."""
    columns = ["benchmark", *COLUMNS]
    lines = [columns, ["---"] * len(columns)]
    for figure in found:
        name, *rest = figure.cells()
        lines.append([f"{figure.group}: {name}", *rest])
    print(f"### {bench}\n", *(f"| {' | '.join(line)} |" for line in lines), sep="\n", end="\n\n")


def machine(device: str) -> str:
    """On what the figures are measured, in a line."""
    facts = environment.describe(device)
    cpu = f"{facts['cpu']}, {facts['cpu_cores']} cores, {facts['threads']} threads"
    return f"{facts.get('gpu', cpu)}; PyTorch {torch.__version__}; bpfree {facts['commit'] or facts['bpfree']}"


def main() -> int:
    """All benchmarks, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all without")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--markdown", action="store_true", help="tables for a document")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose among {', '.join(BENCHES)}")
    device = assembly.find_device(options.device)
    assembly.prepare(device)
    print(machine(device), end="\n\n", flush=True)
    missed = False
    for name in options.names or BENCHES:
        begin = time.perf_counter()
        found = BENCHES[name](device)
        (show_markdown if options.markdown else show)(name, found)
        print(f"{name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
        missed |= any(figure.verdict == "missed" for figure in found)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
