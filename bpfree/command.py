"""A command as a child process: its own input, output and signals, its exit status, what it took of CPU and memory.

The child stays in our process group, so that whatever the terminal sends (Ctrl-C, Ctrl-Z) reaches it directly; what
another process sends to us alone is passed on. We outlive the child, for the sake of the meters.
"""

import os
import resource
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bpfree.errors import RequestError
from bpfree.meters import peak_host_bytes

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
SIGNALLED = 128
"""Exit status of a command that a signal ended, less the signal's number, as shells give it."""
ROUNDING = 1.05
"""The kernel counts a process's pages in batches."""


class NotRunnable(RequestError):
    """The command cannot be run: there is none of that name, or it is no program."""

    exit_status = 127


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it took."""

    status: int
    """As a shell would give it."""
    cpu_seconds: float
    """User and system, with the descendants that were waited for."""
    peak_bytes: int | None
    """Memory of its largest process; None where it is not above `peak_floor`, and so not known."""
    peak_floor: int | None
    """The most that this process has held itself, which the kernel's figure of a child starts from, and a margin."""


@contextmanager
def held_signals() -> Iterator[Collection[int]]:
    """Hold back all signals that are passed on, in this thread and those it starts; gives the mask as it was.

    To be entered before the meters start their threads: another thread would take the signals instead.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # were it ignored, no child could be waited for
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED_ON, signal.SIGCHLD})
    try:
        yield before
        while signal.sigtimedwait(PASSED_ON, 0):  # too late for the child, and no reason to lose its figures
            pass
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Command:
    """A command to be run once; its standard output goes to our descriptor `stdout`."""

    def __init__(self, words: Sequence[str], stdout: int = 1) -> None:
        self.words = list(words)
        self.name = Path(words[0]).name
        self.ended: Ended | None = None
        self._stdout = stdout

    def cpu_seconds(self) -> float:
        """CPU seconds that it took; 0 until it has ended."""
        return self.ended.cpu_seconds if self.ended else 0.0

    def run(self, mask: Collection[int]) -> Ended:
        """Run it to its end; signals are held, and it gets the `mask` from before that.

        Raises
        ------
        NotRunnable
            It is not found, or cannot be executed.
        """
        pid = self._spawn(mask)
        while True:
            info = signal.sigwaitinfo({*PASSED_ON, signal.SIGCHLD})
            if info.si_signo != signal.SIGCHLD:
                if info.si_code <= 0:  # sent by a process; what the terminal sends has reached the child as well
                    os.kill(pid, info.si_signo)
                continue
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                self.ended = ended(status, usage)
                return self.ended

    def _spawn(self, mask: Collection[int]) -> int:
        if signal.sigpending() & set(PASSED_ON):  # it came too early for the child to get it
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            return os.posix_spawnp(
                self.words[0],
                self.words,
                os.environ,
                file_actions=[] if self._stdout == 1 else [(os.POSIX_SPAWN_DUP2, self._stdout, 1)],
                setsigmask=mask,
                setsigdef=IGNORED_BY_PYTHON,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise NotRunnable(f"cannot run '{self.words[0]}': {reason}") from None


def ended(status: int, usage: resource.struct_rusage) -> Ended:
    """How a child ended; the peak of its memory starts from ours, so that it is known only above that."""
    code, ours, largest = os.waitstatus_to_exitcode(status), peak_host_bytes(), usage.ru_maxrss * 1024
    floor = None if ours is None else round(ROUNDING * ours)
    return Ended(
        status=code if code >= 0 else SIGNALLED - code,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=largest if floor is not None and largest > floor else None,
        peak_floor=floor,
    )
