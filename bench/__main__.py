"""`python -m bench [NAME …]`: every figure with interval, theory, bar and verdict; status 1 where a bar is missed."""

import argparse
import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from bench import steps
from bench.alternation import Figure
from bpfree import assembly

BENCHES: dict[str, Callable[[str], list[Figure]]] = {
    "steps": steps.figures,
}
COLUMNS = ("figure", "median", "95 % interval", "theory", "bar", "verdict")


def show(name: str, found: Sequence[Figure], *, markdown: bool) -> None:
    """One table a benchmark."""
    if markdown:
        lines = [COLUMNS, ["---"] * len(COLUMNS), *(figure.cells() for figure in found)]
        print(f"### {name}\n", *(f"| {' | '.join(line)} |" for line in lines), sep="\n", end="\n\n")
        return
    table = Table(*COLUMNS, title=name, title_justify="left")
    for figure in found:
        table.add_row(*figure.cells())
    Console().print(table)


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
    missed = False
    for name in options.names or BENCHES:
        found = BENCHES[name](device)
        show(name, found, markdown=options.markdown)
        missed |= any(figure.verdict == "missed" for figure in found)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
