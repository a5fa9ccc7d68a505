"""How long `bpfree study` takes to its first training step, and what a whole study takes beside its runs.

The real command in a fresh process: quickstart's study cut down to one trial an algorithm, one seed and two epochs. All
that comes before the first step is quickstart's own: imports, the plan, a few timed steps of every cell, a process to
train in, its warm-up. When the first step was made follows from what the command leaves behind: a record is written
when its run has ended, and holds the seconds of its phases. The figure is too large by the milliseconds between.

What a study takes beside its runs is its wall time less all phases of all records: with one trial a cell, no two runs
go side by side. It holds the start, the process of every final run, and the report, so that a run's share of it is
less in a study of many trials.
"""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.alternation import FEWEST, Figure
from bpfree.records import Record
from bpfree.results import ResultsFolder
from bpfree.study import Study, Tuning, load, to_toml

QUICKSTART = Path(__file__).parent.parent / "studies" / "quickstart.toml"
SINCE_FIRST_STEP = ("train", "validate", "test")
RUNS = 8
"""A trial and a final run for each of four algorithms."""


def figures(device: str) -> list[Figure]:
    """Of a few rounds: each is a study."""
    first_steps, beside = zip(*(measure(device) for _ in range(FEWEST)), strict=True)
    group = f"bpfree study, quickstart's four algorithms, {FEWEST} rounds"
    return [
        Figure(group, "to the first training step, s", first_steps, form="{:.2f}"),
        Figure(group, f"beside its {RUNS} runs, s a run", beside, form="{:.2f}"),
    ]


def measure(device: str) -> tuple[float, float]:
    """Seconds to the first step, and those beside the runs for each run, of one study from beginning to end."""
    study = cut_down()
    with TemporaryDirectory() as name:
        place = Path(name)
        file = place / "study.toml"
        file.write_text(to_toml(study))
        command = [sys.executable, "-m", "bpfree", "study", str(file), "--device", device]
        begin = time.time()  # a clock that files have too
        options = ["--results", name, "--output", f"{name}/reports"]
        ended = subprocess.run([*command, *options], capture_output=True, text=True)
        seconds = time.time() - begin
        assert ended.returncode == 0, ended.stderr
        folder = ResultsFolder(place / study.name)
        records = list(folder.records())
        assert len(records) == RUNS
        first = min(folder.record_path(r.id).stat().st_mtime - seconds_of(r, SINCE_FIRST_STEP) for r in records)
    return first - begin, (seconds - sum(map(seconds_of, records))) / RUNS


def cut_down() -> Study:
    """The quickstart with as little training as its path allows."""
    quickstart = load(QUICKSTART)
    training = quickstart.training.model_copy(update={"max_epochs": 2})
    tuning = Tuning(trials=1, max_epochs=2)
    return quickstart.model_copy(update={"name": "start", "seeds": [0], "training": training, "tuning": tuning})


def seconds_of(record: Record, phases: tuple[str, ...] | None = None) -> float:
    """Of those phases of a run, or of all."""
    return sum(phase.seconds for name, phase in record.phases.items() if phases is None or name in phases)
