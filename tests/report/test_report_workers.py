"""Work that other processes share: charts and weights are the same as from this one alone."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bpfree import report_workers
from bpfree.report import build_report, drawing
from bpfree.report.drawing import Figure


@pytest.fixture
def pool(monkeypatch):
    """One worker, whatever the machine has."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with report_workers.workers(weigh=False) as found:
        yield found


def test_a_figure_is_rendered_by_another_process(pool, monkeypatch):
    figure, wrong = (Figure("name", "Title", "Caption.", chart) for chart in (report_workers.EMPTY, "no chart"))
    begun, wrong_begun = replace(figure).begin(pool), wrong.begin(pool)
    here = figure.svg
    pool.submit(int).result()  # by then the others have ended too
    monkeypatch.setattr(drawing, "svg_of", None)  # not by this one
    assert begun.svg == here
    with pytest.raises(ValueError, match="JSON"):
        _ = wrong_begun.svg


def test_what_no_other_process_has_begun_is_done_here(pool):
    first = pool.submit(time.sleep, 30)
    waiting = [report_workers.begin(pool, os.getpid, wait=wait) for wait in (True, *[False] * 5)]
    assert {result() for result in waiting[-3:]} == {os.getpid()}
    assert not first.done()
    for child in multiprocessing.active_children():
        child.kill()
    assert waiting[0]() == os.getpid(), "it was waited for, but its process has ended"


def test_what_must_not_be_done_here_is_waited_for(pool):
    pool.submit(time.sleep, 0.5)
    others = [report_workers.begin(pool, os.getpid, wait=True) for _ in range(5)]
    assert os.getpid() not in {result() for result in others}


def test_where_one_is_killed_the_main_process_goes_on(pool):
    figures = [Figure("name", "Title", "Caption.", report_workers.EMPTY).begin(pool) for _ in range(3)]
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
    figures.append(Figure("name", "Title", "Caption.", report_workers.EMPTY).begin(pool))
    assert all(figure.svg.startswith("<svg") for figure in figures)


def test_one_core_does_it_all(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with report_workers.workers(weigh=False) as none:
        assert none is None
        assert Figure("name", "Title", "Caption.", report_workers.EMPTY).begin(none).svg.startswith("<svg")


def test_a_report_is_the_same_whoever_renders(made, bpfree):
    path = made(seeds=3)
    one = build_report(path, path.parent / "one")
    bpfree("report", str(path), "--output", str(path.parent / "several"))
    several = path.parent / "several" / "index.html"
    assert one.read_text() == several.read_text()
    files = [sorted((page.parent / "figures").iterdir()) for page in (one, several)]
    assert [p.name for p in files[0]] == [p.name for p in files[1]]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_its_end_is_the_end_of_all(made, tmp_path, sent):
    """At whatever moment: Ctrl-C reaches all, SIGKILL the main process alone."""
    path = made(seeds=3)
    for delay in (0, 0.4):
        command = [sys.executable, "-m", "bpfree", "report", str(path), "--output", str(tmp_path / "report")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: process.poll() is not None or children.read_text())  # noqa: B023 (called at once)
        time.sleep(delay)
        if sent == signal.SIGINT:
            os.killpg(process.pid, sent)
        else:
            process.send_signal(sent)
        output, _ = process.communicate(timeout=60)
        # Python ends by the signal itself where that meets an import of generated code: to a shell it is 130 too.
        assert process.returncode in ((130, -sent) if sent == signal.SIGINT else (-sent,)), output.decode()
        assert sent == signal.SIGKILL or b"Traceback" not in output
        wait_until(lambda: not living(process.pid))  # noqa: B023


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def living(group):
    """Processes of a group, but those that have ended and were not waited for."""
    states = [stat.rpartition(")")[2].split() for stat in map(status, Path("/proc").glob("[0-9]*/stat")) if stat]
    return [state for state, _, of, *_ in states if int(of) == group and state != "Z"]


def status(path):
    try:
        return path.read_text()
    except OSError:
        return ""
