"""Charts rendered by other processes: the same as by this one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bpfree import rendering
from bpfree.report import build_report


def failing():
    raise ValueError("in the chart")


@pytest.fixture
def pool(monkeypatch):
    """One worker, whatever the machine has."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with rendering.workers() as found:
        yield found


def test_with_a_pool_another_process_works(pool):
    assert rendering.begun(pool, os.getpid)() != os.getpid()
    with pytest.raises(ValueError, match="in the chart"):
        rendering.begun(pool, failing)()


def test_without_one_it_is_done_here_when_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with rendering.workers() as none:
        assert none is None
    done = []
    give = rendering.begun(None, done.append, 1)
    assert not done
    give(), give()
    assert done == [1]


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
    for delay in (0, 0.1, 0.4, 1.0):
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
