"""A study that runs elsewhere, shown from its results folder alone: what is done, what it took, what is left."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bpfree import workloads
from bpfree.progress import duration
from bpfree.records import Record
from bpfree.results import ResultsFolder
from bpfree.status import current, status_of
from bpfree.study import Study

LATEST = 3
"""Final runs of a cell whose results are shown."""
ABSENT = "–"


@dataclass(frozen=True)
class Cell:
    """One cell: its line of `bpfree status`, and what its records tell besides."""

    status: dict[str, Any]
    latest: str
    joules: str
    seconds_left: float | None
    """With one run at a time; None where no run like those that are left has ended yet."""


@dataclass(frozen=True)
class Picture:
    """A study at one moment."""

    title: str
    cells: list[Cell]
    seconds_since: float | None
    """Since the newest run ended; None where there is none."""

    @property
    def ended(self) -> bool:
        """Whether every planned final run has ended, be it by failing."""
        lines = [cell.status for cell in self.cells]
        return all(line["final_done"] + line["final_failed"] >= line["final_planned"] for line in lines)

    @property
    def seconds_left(self) -> float | None:
        """Of all cells, with one run at a time."""
        parts = [cell.seconds_left for cell in self.cells]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


def look(study: Study, folder: ResultsFolder) -> Picture:
    """The study as its folder shows it now."""
    records = list(folder.records())
    ends = {record.id: end(record, folder) for record in records}
    records.sort(key=lambda record: ends[record.id])
    counted = current(records, folder)
    state = status_of(study, folder, records)
    cells = [cell_of(line, counted) for line in state["cells"]]
    since = max(0.0, time.time() - max(ends.values())) if ends else None
    return Picture(f"Study {state['study']} in {state['folder']}", cells, since)


def end(record: Record, folder: ResultsFolder) -> float:
    """When a run ended, in seconds of the epoch: by itself, since a copied file may have another time."""
    if record.started is None:
        return folder.record_path(record.id).stat().st_mtime
    return datetime.fromisoformat(record.started).timestamp() + seconds_of(record)


def cell_of(status: dict[str, Any], records: Sequence[Record]) -> Cell:
    """A cell; its records are among these, which are in the order in which they ended."""
    own = [record for record in records if record.spec.cell == status["cell"]]
    tested = [record for record in own if record.spec.role != "trial" and record.metrics.test_metric is not None]
    return Cell(status, ", ".join(map(result, tested[-LATEST:])) or ABSENT, joules(own), left(status, own, records))


def result(record: Record) -> str:
    """A run's test metric, as its workload prints it."""
    assert record.metrics.test_metric is not None
    return workloads.find(record.spec.workload).metric.text(record.metrics.test_metric)


def joules(records: Sequence[Record]) -> str:
    """What the runs took so far, with its quality and of how many runs it is known; qualities are never added up."""
    costs = [record.cost for record in records if record.cost]
    known = [(cost.train_joules, cost.joules_quality) for cost in costs if cost.train_joules is not None]
    qualities = {quality for _, quality in known}
    if len(qualities) != 1:
        return ABSENT
    total = math.fsum(value for value, _ in known)
    text = f"{total:{',.0f' if total >= 100 else '.3g'}} J {qualities.pop()}"
    return text if len(known) == len(costs) else f"{text}, of {len(known)} of {len(costs)} runs"


def left(status: dict[str, Any], own: Sequence[Record], everyones: Sequence[Record]) -> float | None:
    """Seconds that the cell's remaining runs take at the mean of its own, else of all cells' runs of their kind."""
    total = 0.0
    trials = 0 if status["tuned"] else status["trials_planned"] - status["trials_done"]
    finals = status["final_planned"] - status["final_done"] - status["final_failed"]
    for kind, count in (("trial", trials), ("final", finals)):
        if count > 0:
            each = mean_seconds(kind, own) or mean_seconds(kind, everyones)
            if each is None:
                return None
            total += count * each
    return total


def mean_seconds(role: str, records: Sequence[Record]) -> float | None:
    """Mean time of the runs of one kind, all phases together."""
    took = [seconds_of(record) for record in records if record.spec.role == role and record.phases]
    return math.fsum(took) / len(took) if took else None


def seconds_of(record: Record) -> float:
    """What a run took, all phases together."""
    return math.fsum(phase.seconds for phase in record.phases.values())


def draw(picture: Picture) -> Group:
    """The picture as a table and a line below it."""
    table = Table(title=picture.title, title_justify="left", box=SIMPLE)
    remarked = any(map(remarks, picture.cells))
    names = ["cell", "trials", "final runs", "latest tests", "energy so far", "left"]
    for name in [*names, "remarks"] if remarked else names:
        table.add_column(name, overflow="fold", no_wrap=name == "cell")
    for cell in picture.cells:
        line = cell.status
        table.add_row(
            line["cell"].replace(".", "\n"),  # workload, method and optimizer below each other: terminals are narrow
            f"{line['trials_done']} of {line['trials_planned']}",
            f"{line['final_done']} of {line['final_planned']}",
            cell.latest,
            cell.joules.replace(" J ", " J\n"),
            remaining(cell.seconds_left),
            *([remarks(cell)] if remarked else []),
        )
    return Group(table, Text(footer(picture)))


def remarks(cell: Cell) -> str:
    """How many final runs diverged or failed, where any did."""
    counts = {what: cell.status[f"final_{what}"] for what in ("diverged", "failed")}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def remaining(seconds: float | None) -> str:
    """What is left, for a column of it."""
    return ABSENT if seconds is None else duration(seconds) if seconds else "nothing"


def footer(picture: Picture) -> str:
    """How long ago something happened, and how long it may take yet."""
    if picture.seconds_since is None:
        return "no record yet"
    newest = f"newest record {duration(picture.seconds_since)} ago"
    if picture.ended:
        return f"{newest}; every final run has ended"
    if picture.seconds_left is None:
        return f"{newest}; what is left cannot be told yet"
    return f"{newest}; about {duration(picture.seconds_left)} left with one run at a time"


def watch(study: Study, folder: ResultsFolder, console: Console, seconds: float) -> None:
    """Show the study anew every so many seconds, until all its final runs have ended."""
    picture = look(study, folder)
    live = Live(draw(picture), console=console, auto_refresh=False)
    try:  # a `with` that is interrupted while it begins, the cursor hidden already, would not give it back
        live.start(refresh=True)
        while not picture.ended:
            time.sleep(seconds)
            picture = look(study, folder)
            live.update(draw(picture), refresh=True)
    finally:
        live.stop()
