"""Worker processes: from their first moment they leave Ctrl-C to the process that began them, and they end with it."""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

PR_SET_PDEATHSIG = 1


def belong_to(parent: int) -> None:
    """Be the child of that process, its whole life; to be called in the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call above
        os._exit(1)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold back Ctrl-C while children are started, or threads that will start some: they inherit its being blocked.

    To be entered in the main thread.
    """
    resource_tracker.ensure_running()  # multiprocessing's own child, whose start would end the blocking
    arrived: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: arrived.append(number))  # for threads that do not block it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if arrived:
            signal.raise_signal(signal.SIGINT)
