"""How runs are executed: `submit(spec) -> Future[Record]`. Here: processes on this machine.

Trials share warm processes; final runs get a fresh process each, so that none inherits another's caches or memory.
A run that dies takes its process with it and nothing else. Other kinds of executor offer the same calls.
"""

import multiprocessing
import os
import traceback
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pebble import ProcessExpired, ProcessPool

from bpfree import environment
from bpfree.children import belong_to, interrupts_held
from bpfree.errors import BpfreeError
from bpfree.records import Record, RunSpec

if TYPE_CHECKING:
    from bpfree.estimate import Estimate


class LocalExecutor:
    """Runs in processes of this machine.

    Parameters
    ----------
    device
        A torch device, e.g. `cpu` or `cuda:0`.
    workers
        Runs at a time; they share the cores evenly.
    data_dir
        Where data files are looked for first.
    fresh
        Whether each run gets a process of its own.
    """

    def __init__(self, device: str, workers: int, data_dir: Path | None, *, fresh: bool) -> None:
        self.device = device
        self.data_dir = data_dir
        self.fresh = fresh
        self.threads = max(1, usable_cores() // workers)
        self.workers = workers
        self.pool = self.new_pool()

    def new_pool(self) -> ProcessPool:
        """Processes, none of which starts before it has work."""
        return ProcessPool(
            max_workers=self.workers,
            max_tasks=1 if self.fresh else 0,
            initializer=begin_worker,
            initargs=(os.getpid(),),
            context=multiprocessing.get_context("spawn"),
        )

    def living_pool(self) -> ProcessPool:
        """The pool, made anew if the death of an idle worker broke it."""
        with interrupts_held():  # `active` starts the threads that start the processes
            if not self.pool.active:
                self.pool = self.new_pool()
                _ = self.pool.active
        return self.pool

    def submit(self, spec: RunSpec, prune_below: Mapping[int, float] | None = None) -> "Future[Record]":
        """Queue a run. `prune_below` gives, by epoch, the validation metric under which a trial ends early."""
        args = (spec, self.device, self.data_dir, self.threads_of(spec), self.fresh, dict(prune_below or {}))
        future: Future[Record] = self.living_pool().schedule(work, args=args)
        return future

    def estimate(self, spec: RunSpec) -> "Future[Estimate]":
        """Queue the timing of a few steps."""
        args = (spec, self.device, self.data_dir, self.threads_of(spec))
        future: Future[Estimate] = self.living_pool().schedule(work_estimate, args=args)
        return future

    def threads_of(self, spec: RunSpec) -> int:
        """CPU threads for a run: as its study says, else an even share of the cores."""
        return spec.training.threads or self.threads

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.pool.close()
        else:
            self.pool.stop()
        self.pool.join()


def usable_cores() -> int:
    """Cores that this process may use; OMP_NUM_THREADS takes some away, as it does for torch."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0))
    return min(cores, int(limit)) if limit.isdigit() and int(limit) > 0 else cores


def outcome(future: "Future[Record]", spec: RunSpec) -> Record:
    """The record of a submitted run; a process that died yields a failed one."""
    try:
        return future.result()
    except ProcessExpired as death:
        return failed(spec, f"the process died (exit code {death.exitcode}): out of memory, or killed from outside")
    except RuntimeError as error:  # the pool broke before the run began
        return failed(spec, f"no process could take the run ({error}): out of memory, or killed from outside")


def failed(spec: RunSpec, error: str) -> Record:
    """The record of a run that the world ended; the next call of its study tries it again."""
    return Record(id=spec.id, status="failed", error=error, spec=spec, environment=environment.host())


def begin_worker(driver: int) -> None:
    """Load torch before the first run arrives."""
    belong_to(driver)
    import bpfree.trainer  # noqa: F401


def work(
    spec: RunSpec, device: str, data_dir: Path | None, threads: int, fresh: bool, prune_below: dict[int, float]
) -> Record:
    """One run, in a worker; whatever goes wrong becomes a record."""
    from bpfree import trainer

    best = float("-inf")

    def prune(epoch: int, value: float) -> bool:
        nonlocal best
        best = max(best, value)
        return epoch in prune_below and best < prune_below[epoch]

    try:
        return trainer.run(
            spec, device, data_dir, threads=threads, fresh_process=fresh, prune=prune if prune_below else None
        )
    except BpfreeError as error:
        return failed(spec, str(error))
    except Exception:
        return failed(spec, traceback.format_exc())


def work_estimate(spec: RunSpec, device: str, data_dir: Path | None, threads: int) -> "Estimate":
    """The timing of a few steps, in a worker."""
    from bpfree import estimate

    return estimate.estimate(spec, device, data_dir, threads)
