"""Watching a study from its results folder: figures worked out again from the plain files, and how the command ends."""

import contextlib
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console

from bpfree import watching
from bpfree.results import ResultsFolder
from bpfree.study import load

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "studies" / "records" / "fashion"
STUDY = ROOT / "studies" / "fashion.toml"
CELL = "fashion-mlp.backprop.adamw"


@pytest.fixture
def results(tmp_path):
    """A copy of a finished study, as after a rsync that does not keep the times of files."""
    shutil.copytree(KEPT, tmp_path / "fashion", copy_function=shutil.copyfile)
    return tmp_path


def documents(results):
    return {path: json.loads(path.read_text()) for path in results.glob("fashion/runs/*/record.json")}


def drop(results, role, algorithm, keep):
    """Delete the runs of one kind that ended last, but for so many."""
    found = [(d["started"], path) for path, d in documents(results).items()
             if (d["spec"]["role"], d["spec"]["algorithm"]) == (role, algorithm)]  # fmt: skip
    for _, path in sorted(found)[keep:]:
        shutil.rmtree(path.parent)


def look(results):
    return watching.look(load(STUDY), ResultsFolder(results / "fashion"))


def cell_of(results):
    return next(cell for cell in look(results).cells if cell.status["cell"] == CELL)


def change_cost(path, **fields):
    document = json.loads(path.read_text())
    document["cost"] |= fields
    path.write_text(json.dumps(document))


def seconds(document):
    return sum(phase["seconds"] for phase in document["phases"].values())


def test_a_finished_study_has_ended(results):
    picture = look(results)
    assert picture.ended
    assert picture.seconds_left == 0
    ends = [datetime.fromisoformat(d["started"]).timestamp() + seconds(d) for d in documents(results).values()]
    assert picture.seconds_since == pytest.approx(time.time() - max(ends), abs=60)


def test_what_is_done_what_it_took_and_what_is_left(results):
    drop(results, "final", "backprop", keep=1)
    picture = look(results)
    cell = cell_of(results)
    own = [d for d in documents(results).values() if d["spec"]["algorithm"] == "backprop"]
    (final,) = [d for d in own if d["spec"]["role"] == "final"]
    assert not picture.ended
    assert (cell.status["trials_done"], cell.status["final_done"], cell.status["final_planned"]) == (16, 1, 5)
    assert cell.latest == f"{final['metrics']['test_accuracy']:.2%}"
    assert cell.joules == f"{sum(d['cost']['train_joules'] for d in own):,.0f} J modelled"
    assert cell.seconds_left == pytest.approx(4 * seconds(final))
    assert picture.seconds_left == pytest.approx(4 * seconds(final))


def test_an_untuned_cell_borrows_the_times_of_others(results):
    (results / "fashion" / "tuned" / f"{CELL}.json").unlink()
    drop(results, "trial", "backprop", keep=6)
    drop(results, "final", "backprop", keep=0)
    cell = cell_of(results)
    records = list(documents(results).values())
    trials = [seconds(d) for d in records if d["spec"]["role"] == "trial" and d["spec"]["algorithm"] == "backprop"]
    finals = [seconds(d) for d in records if d["spec"]["role"] == "final"]
    assert cell.latest == "–"
    assert cell.seconds_left == pytest.approx(10 * sum(trials) / 6 + 5 * sum(finals) / len(finals))


def test_final_runs_of_an_earlier_form_of_the_study_do_not_count(results):
    """Once it goes on, its plan names none until it is tuned."""
    plan = results / "fashion" / "plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"final_runs": []}))
    cell = cell_of(results)
    assert not look(results).ended
    assert (cell.status["final_done"], cell.status["final_planned"], cell.latest) == (0, 5, "–")


def test_before_the_first_record_nothing_can_be_told(tmp_path):
    picture = look(tmp_path)
    assert (picture.seconds_since, picture.seconds_left, picture.ended) == (None, None, False)
    assert {cell.joules for cell in picture.cells} == {"–"}
    assert watching.footer(picture) == "no record yet"


def test_qualities_are_not_added_up_and_what_is_absent_is_said(results):
    one, other = [path for path, d in documents(results).items() if d["spec"]["algorithm"] == "backprop"][:2]
    change_cost(one, train_joules=None, joules_quality="absent")
    assert cell_of(results).joules.endswith("J modelled, of 20 of 21 runs")
    change_cost(other, joules_quality="measured")
    assert cell_of(results).joules == "–"


def test_it_ends_by_itself_when_the_last_run_has_ended(results, monkeypatch):
    last = max((d["started"], path) for path, d in documents(results).items() if d["spec"]["role"] == "final")[1]
    kept = last.read_text()
    last.unlink()
    looks = []

    def arrives(interval):
        looks.append(interval)
        if len(looks) == 2:
            last.write_text(kept)

    monkeypatch.setattr(watching.time, "sleep", arrives)
    console = Console(force_terminal=True, width=120, record=True, file=io.StringIO())
    watching.watch(load(STUDY), ResultsFolder(results / "fashion"), console, 7)
    assert looks == [7, 7]
    assert "every final run has ended" in console.export_text()


def test_without_a_terminal_it_prints_one_picture(bpfree, results):
    shutil.rmtree(next(path for path, d in documents(results).items() if d["spec"]["role"] == "final").parent)
    done = bpfree("watch", STUDY, "--results", results)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("16 of 16") == 4
    assert "left with one run at a time" in done.stdout
    assert "\x1b" not in done.stdout


def test_ctrl_c_ends_it_with_130_and_gives_the_cursor_back(tmp_path):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "bpfree", "watch", STUDY, "--results", tmp_path, "--interval", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, stdout=follower, stderr=follower, env=environment, close_fds=True)
    os.close(follower)
    seen = b""
    try:
        while b"no record yet" not in seen:
            seen += os.read(leader, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        with contextlib.suppress(OSError):  # how Linux ends the reading of a terminal that nobody holds any more
            while more := os.read(leader, 65536):
                seen += more
    finally:
        process.kill()
        os.close(leader)
    assert b"Traceback" not in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l"), "shown again after it was hidden"
