"""From a specification to a run's parts: hyperparameters, network and algorithm, device, meters, randomness."""

import ctypes
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from bpfree import algorithms, optimizers, workloads
from bpfree.algorithms import Algorithm
from bpfree.errors import RequestError
from bpfree.hyperparameters import HyperparameterSet, split
from bpfree.meters import Meter, Session, open_meters
from bpfree.records import RunSpec
from bpfree.workloads import Data, Workload

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
GREATEST_MMAP_THRESHOLD = 32 * 2**20


def resolve(algorithm: str, optimizer: str, values: dict[str, Any]) -> dict[str, Any]:
    """All hyperparameters of a pair: the given values, checked, and the defaults of the rest.

    Raises
    ------
    RequestError
        An unknown name or a value out of bounds.
    """
    own, opt = split_hyperparameters(algorithm, optimizer, values)
    return {**own.model_dump(), **opt.model_dump()}


def split_hyperparameters(
    algorithm: str, optimizer: str, values: dict[str, Any]
) -> tuple[HyperparameterSet, HyperparameterSet]:
    """The algorithm's and the optimizer's part of flat hyperparameters."""
    own, opt = split(values, algorithms.find(algorithm).Hyperparameters, optimizers.find(optimizer).hyperparameters)
    return own, opt


def check_compatible(algorithm: str, workload: Workload, batch_size: int) -> None:
    """Refuse an algorithm that is not defined for a workload's network, and a batch larger than its training set.

    Raises
    ------
    RequestError
        The message says what would fit.
    """
    if batch_size > workload.source.samples[0]:
        raise RequestError(
            f"batch_size = {batch_size} is more than the {workload.source.samples[0]} training samples of "
            f"{workload.name}: choose a smaller one"
        )
    fits = algorithms.find(algorithm).architectures
    if workload.architecture not in fits:
        others = [w.name for w in workloads.WORKLOADS.values() if w.architecture in fits]
        raise RequestError(
            f"{algorithm} is not defined for {workload.name} ({workload.architecture}): "
            f"choose a workload of kind {' or '.join(fits)}, e.g. {', '.join(others[:3])}"
        )


def stream(seed: int, purpose: str, device: str | torch.device = "cpu") -> torch.Generator:
    """A random generator of its own for each purpose of a run, so that one cannot shift another."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def build(
    workload: Workload, algorithm: str, optimizer: str, hyperparameters: dict[str, Any], seed: int, device: str
) -> Algorithm:
    """An algorithm on a freshly initialised network."""
    own, opt = split_hyperparameters(algorithm, optimizer, hyperparameters)
    entry = optimizers.find(optimizer)
    network = workload.network(seed)

    def make_optimizer(parameters: Any, **overrides: Any) -> torch.optim.Optimizer:
        return entry.build(parameters, opt.model_copy(update=overrides))

    return algorithms.find(algorithm)(
        [block.to(device) for block in network.blocks],
        network.head.to(device),
        own,
        make_optimizer,
        stream(seed, "algorithm", device),
        workload.loss,
    )


def build_run(spec: RunSpec, workload: Workload, device: str) -> Algorithm:
    """The algorithm of a run."""
    return build(workload, spec.algorithm, spec.optimizer, spec.hyperparameters, spec.seed, device)


@lru_cache(maxsize=1)
def load(workload: Workload, device: str, data_dir: Path | None) -> Data:
    """A workload's data, kept for the next run of this process: trials share theirs. Nobody changes them.

    Raises
    ------
    DataError
        They cannot be had.
    """
    return workload.load(device, data_dir)


def find_device(wanted: str) -> str:
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:i`.

    Raises
    ------
    RequestError
        It is not available.
    """
    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return "cpu"
    name, _, index = wanted.partition(":")
    if name != "cuda" or (index and not (index.isascii() and index.isdecimal())):
        raise RequestError(f"device '{wanted}' is unknown: choose auto, cpu, cuda or cuda:N")
    if int(index or 0) >= torch.cuda.device_count():
        raise RequestError(
            f"device '{wanted}' is not available: this PyTorch sees {torch.cuda.device_count()} CUDA devices"
        )
    return f"cuda:{index or 0}"


@contextmanager
def metering(device: str, cpu_watts: float | None = None) -> Iterator[list[Meter]]:
    """The meters of a run's device, open; a GPU is named by its UUID, since NVML counts otherwise than CUDA.

    `cpu_watts` are those of the whole CPU, where its energy is modelled.
    """
    uuid = None if device == "cpu" else str(torch.cuda.get_device_properties(device).uuid)
    meters = open_meters(device, uuid, cpu_watts=cpu_watts)
    try:
        yield meters
    finally:
        for meter in meters:
            meter.close()


def prepare(device: str, threads: int | None = None) -> None:
    """Set this process up for runs on a device: threads, determinism, the current CUDA device."""
    keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else matrix products on CUDA are not deterministic
    if threads:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    # Else new memory is filled before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device != "cpu":
        torch.cuda.set_device(device)


def keep_freed_memory() -> None:
    """Have malloc keep what is freed, where it is glibc's, and torch ask for huge pages, where the kernel gives them.

    Else megabytes go back to the kernel at once, and a step that takes them anew has each page faulted in and zeroed,
    up to a tenth of its time; and weights and optimizer state lie on more small pages than a core can keep track of.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read once, when torch first allocates
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, GREATEST_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def boundary_of(spec: RunSpec) -> tuple[str, ...]:
    """The components whose joules count: the study's choice, else the device that trains."""
    return spec.measurement.boundary or (("gpu",) if spec.device == "cuda" else ("cpu",))


def session_of(spec: RunSpec, meters: Sequence[Meter]) -> Session:
    """A session that waits for the run's device at every edge."""
    return Session(meters, torch.cuda.synchronize) if spec.device == "cuda" else Session(meters)
