"""Figures drawn by several processes: the same as by one."""

import os
import sys
from functools import partial

import pytest

from bpfree.report import build_report, parallel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")


def failing():
    raise ValueError("in the maker")


def test_the_order_is_that_of_the_makers():
    found = parallel.drawn([partial(pow, 2, i) for i in range(9)], 2)
    assert found == [2**i for i in range(9)]


def test_other_processes_draw_what_is_not_copied():
    kept = object()
    (same, pid), _ = parallel.drawn([lambda: (id(kept), os.getpid())] * 2, 2)
    assert same == id(kept)
    assert pid != os.getpid()
    assert parallel.drawn([os.getpid], 2) == [os.getpid()]
    assert parallel.drawn([os.getpid] * 2, 1) == [os.getpid()] * 2


def test_an_error_is_that_of_the_maker():
    with pytest.raises(ValueError, match="in the maker"):
        parallel.drawn([os.getpid, failing], 2)


def test_a_report_is_the_same_whoever_draws(made, bpfree):
    path = made(seeds=3)
    one = build_report(path, path.parent / "one")
    bpfree("report", str(path), "--output", str(path.parent / "several"))  # forks before it draws anything itself
    several = path.parent / "several" / "index.html"
    assert one.read_text() == several.read_text()
    files = [sorted((page.parent / "figures").iterdir()) for page in (one, several)]
    assert [p.name for p in files[0]] == [p.name for p in files[1]]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True))
