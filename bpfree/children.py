"""What every worker process does first: it leaves Ctrl-C to the process that began it, and ends with it."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def belong_to(parent: int) -> None:
    """Be the child of that process, its whole life; to be called in the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call above
        os._exit(1)
