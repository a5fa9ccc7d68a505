"""Figures drawn by several processes: describing and rendering a chart takes a tenth of a second of Python each."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
MOST = 4
"""Processes; each takes a second to start the renderer."""

inherited: list[Callable[[], Any]] = []
"""In a forked process: what there is to draw, which needs no copy."""


def processes() -> int:
    """How many to draw with, in a process of a single thread that has not drawn: one where forking is not safe."""
    return min(MOST, len(os.sched_getaffinity(0))) if sys.platform == "linux" else 1


def drawn(makers: Sequence[Callable[[], T]], count: int) -> list[T]:
    """What the makers make, in their order, divided among so many processes."""
    if min(count, len(makers)) < 2:
        return [make() for make in makers]
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(count, fork, initializer=inherit, initargs=(makers,)) as pool:
        return list(pool.map(make, range(len(makers))))


def inherit(makers: Sequence[Callable[[], Any]]) -> None:
    """Begin a forked process; Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inherited.extend(makers)


def make(i: int) -> Any:
    """Draw one of them."""
    return inherited[i]()
