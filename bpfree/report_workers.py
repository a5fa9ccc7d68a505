"""Processes that render charts for a report while the main one reads records and describes the next chart.

They begin before there is anything to draw: the renderer takes a second to start, in which the records are read. So
this module imports little, and what the processes are given is small.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

from bpfree.children import belong_to

MOST = 4
"""Processes."""
EMPTY = '{"data": {"values": []}, "mark": "point"}'
"""A chart that costs nothing but the renderer's start."""


@contextmanager
def workers() -> Iterator[Executor | None]:
    """One for every core but the main process's, up to a few; none where there is one core."""
    count = min(MOST, len(os.sched_getaffinity(0)) - 1)
    if count == 0:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=belong_to, initargs=(os.getpid(),))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the processes inherit it while they start
    for _ in range(count):
        pool.submit(svg_of, EMPTY)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def svg_of(chart: str) -> str:
    """A chart in Vega-Lite's words, rendered."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart))
