"""How a study shows itself while it works: live bars on a terminal, one line a run elsewhere. All on stderr."""

from typing import Any, Self

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from bpfree import calibrating, workloads
from bpfree.driver import Forecast
from bpfree.outcomes import NAIVE
from bpfree.planning import Plan
from bpfree.records import Cost, Evaluation, Record, RunSpec
from bpfree.workloads import Metric

SECONDS_PER_MINUTE, SECONDS_PER_HOUR = 60, 3600
QUARTERS = 4
PAPER_WIDTH = 28
"""Columns for a name and its paper; the longest knob has the rest of 80."""


def duration(seconds: float) -> str:
    """Seconds as people say them: 12 s, 3 min, 1 h 20 min."""
    if seconds < 2 * SECONDS_PER_MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * SECONDS_PER_HOUR:
        return f"{seconds / SECONDS_PER_MINUTE:.0f} min"
    hours, rest = divmod(seconds, SECONDS_PER_HOUR)
    return f"{hours:.0f} h {rest / SECONDS_PER_MINUTE:.0f} min"


def rounded(value: float, significant: int = 2) -> str:
    """A figure with so many significant digits, and no exponent where people would write none: 0.012, 190, 12,000."""
    return f"{float(f'{value:.{significant}g}'):,.10g}"


def evaluation_line(evaluation: Evaluation, metric: Metric) -> str:
    """One line of a training on a workload with this metric."""
    loss = "not finite" if evaluation.train_loss is None else f"{evaluation.train_loss:.4f}"
    return (
        f"epoch {evaluation.epoch:3d}  {evaluation.stage:<10}  loss {loss:>10}"
        f"  validation {metric.text(evaluation.validation_metric):>7}  {evaluation.seconds:6.1f} s"
    )


def result_line(record: Record) -> str:
    """One line of a finished run."""
    spec, cost, test = record.spec, record.cost, record.metrics.test_metric
    head = f"{spec.method} on {spec.workload}, {spec.optimizer}, seed {spec.seed}"
    if record.status != "completed" or cost is None or test is None:
        last = (record.error or "").strip().splitlines()
        return f"{head}: {record.status}{': ' + last[-1] if last else ''}"
    passes = (
        f"{cost.steps} steps" if spec.training.max_steps else f"{cost.epochs} epoch{'' if cost.epochs == 1 else 's'}"
    )
    metric = workloads.find(spec.workload).metric
    text = f"{head}: test {metric.text(test)}, {passes}, {cost.train_seconds:.1f} s"
    if cost.train_joules is not None:
        text += f", {rounded(cost.train_joules, 3)} J {cost.joules_quality} ({'+'.join(cost.boundary)}{source(cost)})"
    return text


def source(cost: Cost) -> str:
    """The method of an energy and how finely it resolves, for a line of text."""
    within = [reading for reading in cost.readings if reading.component in cost.boundary]
    methods = ", ".join(dict.fromkeys(reading.method.replace("_", " ") for reading in within))
    resolutions = [reading.resolution for reading in within if reading.resolution is not None]
    return (f" by {methods}" if methods else "") + (f", ±{max(resolutions):.1%}" if resolutions else "")


def plan_table(plan: Plan, forecast: Forecast) -> Table:
    """The plan as a table: what will be done and what it will take at most."""
    study = plan.study
    table = Table(title=f"Study {study.name}", title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("workloads", ", ".join(entry.name for entry in study.workloads))
    table.add_row("algorithms", ", ".join(entry.method for entry in study.algorithms))
    table.add_row("optimizers", ", ".join(dict.fromkeys(optimizer for *_, optimizer in study.cells)))
    table.add_row("cells", f"{len(plan.cells)}, on {plan.device}")
    tuning = study.tuning
    training = study.training
    limit = f"{training.max_steps} steps" if training.max_steps else f"{training.max_epochs} epochs"
    most = f"{tuning.max_epochs} epochs" if tuning and tuning.max_epochs else limit
    each = f"{tuning.trials} trials a cell, at most {most} each" if tuning else "none: settings as given"
    if study.follows:
        each = f"none: settings taken over from {study.follows}"
    table.add_row("tuning", f"{each}; {forecast.trials} to do" if tuning else each)
    if training.epochs_per_stage:
        limit = f"{training.epochs_per_stage} epochs a stage"
    stop = f"at most {limit}, patience {training.patience}"
    if training.matched_passes:
        stop = f"as many passes as {study.baseline} took in {study.follows}"
    if study.overrides:
        stop += "; some methods have settings of their own"
    table.add_row("final runs", f"{len(plan.cells)} × {len(study.seeds)} seeds, {stop}; {forecast.runs} to do")
    table.add_row("time", f"at most {duration(forecast.seconds)} ({rounded(forecast.seconds / SECONDS_PER_HOUR)} h)")
    if forecast.watt_hours is not None:
        table.add_row("energy", f"at most {rounded(forecast.watt_hours)} Wh ({forecast.quality})")
    else:
        table.add_row("energy", "not measured on this machine: see bpfree doctor")
    if forecast.co2e_grams is not None:
        table.add_row("CO2e", f"at most {rounded(forecast.co2e_grams)} g")
    return table


class Bars:
    """A line of progress on a console: a bar on a terminal, else plain lines."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self.task = self.bars.add_task("starting", total=None, note="")

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        """One line, above the bars."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def begin(self, description: str, total: int, done: int) -> None:
        """Start a new bar in the last one's place."""
        self.bars.remove_task(self.task)
        self.task = self.bars.add_task(description, total=total, completed=done, note="")

    def advance(self, title: str, note: str) -> None:
        """One more is done; without a terminal a line says so after each quarter."""
        self.bars.update(self.task, advance=1, note=note)
        (task,) = self.bars.tasks
        done, total = int(task.completed), int(task.total or 0)
        if not self.console.is_terminal and done < total and QUARTERS * done // total > QUARTERS * (done - 1) // total:
            self.say(f"{title}: {done} of {total}" + (f", {note}" if note else ""))


class StudyProgress(Bars):
    """Shows a study's progress; a listener of the driver."""

    cell = ""

    def planned(self, plan: Plan, forecast: Forecast | None) -> None:
        """Show the plan."""
        if forecast:
            self.console.print(plan_table(plan, forecast))

    def tuning(self, cell: str, trials: int, done: int) -> None:
        """The tuning of a cell begins."""
        self.cell = cell
        self.begin(f"tuning {cell}", trials, done)
        if not self.console.is_terminal:
            self.say(f"tuning {cell}: {trials} trials")

    def trial(self, record: Record, best: float | None) -> None:
        """A trial ended."""
        metric = workloads.find(record.spec.workload).metric
        self.advance(f"tuning {self.cell}", "" if best is None else f"best validation {metric.text(best)}")
        if record.status != "completed":
            self.say(f"trial {record.trial} of {self.cell}: {record.status} ({first_line(record)})")

    def finals(self, runs: int, done: int) -> None:
        """The final runs begin."""
        self.begin("final runs", runs, done)
        if not self.console.is_terminal:
            self.say(f"final runs: {runs - done} of {runs} to do")

    def running(self, spec: RunSpec) -> None:
        """A final run begins."""
        self.bars.update(self.task, description=f"{spec.method} on {spec.workload}, seed {spec.seed}")

    def final(self, record: Record) -> None:
        """A final run ended."""
        self.bars.update(self.task, advance=1)
        self.say(result_line(record))


class CalibrationProgress(Bars):
    """Shows a calibration's progress; a listener of its driver."""

    title = ""

    def planned(self, plan: calibrating.Plan, forecast: calibrating.Forecast) -> None:
        """Show the plan."""
        self.console.print(calibration_table(plan, forecast))

    def phase(self, title: str, runs: int, done: int) -> None:
        """The table, or the final runs, begin."""
        self.title = title
        self.begin(title, runs, done)
        if not self.console.is_terminal:
            self.say(f"{title}: {runs - done} of {runs} to do")

    def run(self, method: str, arm: str, record: Record) -> None:
        """A run ended."""
        name = arm if arm == NAIVE else f"point {arm}"
        self.advance(self.title, f"{method}, {name} on {record.spec.workload}")
        if record.status != "completed":
            seed = f"seed {record.spec.seed}"
            self.say(f"{method}, {name} on {record.spec.workload}, {seed}: {record.status} ({first_line(record)})")


def calibration_table(plan: calibrating.Plan, forecast: calibrating.Forecast) -> Table:
    """The plan of a calibration, with what it takes."""
    wanted = plan.calibration
    table = Table(title=f"Calibration {wanted.name}", title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    suite = ", ".join(f"{budget.name} ({budget.max_steps} steps)" for budget in plan.budgets)
    table.add_row("workloads", suite)
    table.add_row("optimizers", ", ".join(plan.arms))
    arms = f"defaults and {wanted.points} points of each, {len(wanted.table)} seeds a workload"
    table.add_row("table", arms if len(wanted.table) > 1 else arms.replace("seeds", "seed"))
    table.add_row("final runs", f"defaults and best point, {len(wanted.seeds)} fresh seeds a workload")
    table.add_row("to do", f"at most {forecast.runs} runs, each until its target or its budget")
    table.add_row("time", f"at most {duration(forecast.seconds)} ({rounded(forecast.seconds / SECONDS_PER_HOUR)} h)")
    return table


def first_line(record: Record) -> str:
    """The last line of an error, which names it."""
    lines = (record.error or "no reason given").strip().splitlines()
    return lines[-1]


def status_table(state: dict[str, Any]) -> Table:
    """What is done of a study, cell by cell."""
    table = Table(title=f"Study {state['study']} in {state['folder']}", title_justify="left", box=SIMPLE)
    for name in ("cell", "trials", "final runs", "remarks"):
        table.add_column(name, overflow="fold")
    for cell in state["cells"]:
        remarks = [f"{cell[f'final_{what}']} {what}" for what in ("diverged", "failed") if cell[f"final_{what}"]]
        table.add_row(
            cell["cell"],
            f"{cell['trials_done']} of {cell['trials_planned']}",
            f"{cell['final_done']} of {cell['final_planned']}",
            ", ".join(remarks),
        )
    return table


def catalogue_table(kind: str, rows: list[dict[str, Any]]) -> Table:
    """A kind of entries for people: what has knobs with its paper below its name, so that knobs keep to their lines."""
    table = Table(title=kind, title_justify="left", box=SIMPLE)
    tuned = any("hyperparameters" in row for row in rows)
    table.add_column("name", overflow="fold", no_wrap=not tuned, max_width=PAPER_WIDTH if tuned else None)
    table.add_column("hyperparameters  [search range]" if tuned else "what", overflow="fold")
    for row in rows:
        if not tuned:
            table.add_row(row["name"], Text(row["description"]))
            continue
        knobs = [
            f"{name} = {knob['default']}" + (f"  [{knob['range']}]" if knob["range"] else "")
            for name, knob in row["hyperparameters"].items()
        ]
        table.add_row(Text.assemble(row["name"], "\n", (row["paper"], "dim")), Text("\n".join(knobs)), end_section=True)
    return table
