"""One NVIDIA GPU, by UUID: its energy counter, else its power integrated by its watch; the watch is there in any case.

NVML counts devices in another order than CUDA and knows nothing of CUDA_VISIBLE_DEVICES; the UUID cannot mislead. The
client is kept open as long as the meter: without one, a driver may reset the counter.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pynvml

from bpfree.errors import WorldError
from bpfree.meters.base import AbsentMeter, Meter
from bpfree.meters.power import PowerIntegralMeter
from bpfree.meters.sampler import LOST
from bpfree.meters.watch import GpuWatch
from bpfree.records import Quality

ASSUMED_PERIOD = 0.1
"""Seconds between two updates of the counter on data-centre GPUs, taken where it cannot be observed."""
OBSERVED_TICKS = 6
OBSERVING_SECONDS = 1.0

WITHOUT_COUNTER = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
REASONS: dict[int, str] = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "there is no NVIDIA driver (libnvidia-ml.so.1 is not found)",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded: load the module nvidia",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver was upgraded but not reloaded: restart the machine",
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not read the GPU's energy: ask the administrator for access",
    pynvml.NVML_ERROR_NOT_FOUND: "NVML does not list the GPU: is it hidden from this container?",
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "NVML does not list the GPU: is it hidden from this container?",
}


@dataclass(frozen=True)
class Ticks:
    """How an energy counter was seen to move."""

    period: float | None
    """Median seconds between two changes; None if there were too few to tell."""
    step: int | None
    """Smallest change in millijoules; None if there was none."""
    call_seconds: float
    """Median duration of a reading."""


class NvmlCounterMeter:
    """The cumulative energy counter of one GPU (Volta and newer)."""

    component = "gpu"
    method = "nvml_energy_counter"
    quality: Quality = "measured"

    def __init__(self, handle: Any, uuid: str) -> None:
        self.uuid = uuid
        self._handle = handle
        self.ticks = observed_ticks(lambda: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)))
        self.update_period: float | None = self.ticks.period or ASSUMED_PERIOD
        assumed = "the counter's update period is assumed: it was not seen to tick"
        self.note: str | None = None if self.ticks.period else assumed
        self.watch = GpuWatch.open(full_uuid(uuid))
        self._opened = int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))

    def read(self) -> float | None:
        """Joules since opening; negative once the counter has been reset.

        Raises
        ------
        WorldError
            The GPU was lost.
        """
        try:
            millijoules = int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        except pynvml.NVMLError as error:
            raise gpu_failed(self.uuid, error) from None
        return (millijoules - self._opened) / 1000

    def close(self) -> None:
        """End the watch and give back the NVML client."""
        self.watch.close()
        pynvml.nvmlShutdown()


def open_gpu(uuid: str) -> Meter:
    """The meter of the GPU that torch names by `torch.cuda.get_device_properties(i).uuid`; absent with the reason.

    Raises
    ------
    WorldError
        The GPU is lost.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return AbsentMeter("gpu", absence(error))
    try:
        meter = _open_meter(uuid)
    except pynvml.NVMLError as error:
        pynvml.nvmlShutdown()
        if error.value in LOST:
            raise gpu_failed(uuid, error) from None
        return AbsentMeter("gpu", absence(error))
    if meter.method != NvmlCounterMeter.method:
        pynvml.nvmlShutdown()
    return meter


def _open_meter(uuid: str) -> Meter:
    handle = device_handle(uuid)
    if is_mig(handle):
        return AbsentMeter(
            "gpu", "the GPU is partitioned (MIG): its counter covers all instances, so none has an energy of its own"
        )
    try:
        return NvmlCounterMeter(handle, uuid)
    except pynvml.NVMLError as error:
        if error.value not in WITHOUT_COUNTER:
            raise
    return PowerIntegralMeter.open(full_uuid(uuid))


def device_handle(uuid: str) -> Any:
    """NVML's handle of a GPU, or of a MIG instance; torch prints the bare groups of either; raises NVMLError."""
    try:
        return pynvml.nvmlDeviceGetHandleByUUID(full_uuid(uuid))
    except (pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
        if uuid.startswith(("GPU-", "MIG-")):
            raise
    return pynvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")


def full_uuid(uuid: str) -> str:
    """A UUID as NVML writes it."""
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def is_mig(handle: Any) -> bool:
    """Whether the device is a MIG instance or split into such."""
    try:
        if pynvml.nvmlDeviceIsMigDeviceHandle(handle).value:
            return True
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def observed_ticks(read: Callable[[], int]) -> Ticks:
    """Watch a counter of millijoules for five gaps between its changes, and at most a second."""
    deadline = time.perf_counter() + OBSERVING_SECONDS
    ticks: list[float] = []
    steps: list[int] = []
    durations: list[float] = []
    last = read()
    while len(ticks) < OBSERVED_TICKS and time.perf_counter() < deadline:
        time.sleep(0.001)
        asked = time.perf_counter()
        count = read()
        told = time.perf_counter()
        durations.append(told - asked)
        if count != last:
            ticks.append(told)
            steps.append(count - last)
            last = count
    gaps = [later - earlier for earlier, later in pairwise(ticks)]
    return Ticks(
        period=statistics.median(gaps) if len(gaps) > 2 else None,
        step=min(steps[1:], default=None),  # the first may have begun long before
        call_seconds=statistics.median(durations),
    )


def absence(error: Any) -> str:
    """Why there is no figure, and what to do."""
    return REASONS.get(error.value, f"NVML cannot tell the GPU's energy ({error})")


def gpu_failed(uuid: str, error: Any) -> WorldError:
    """The error that ends a run whose GPU cannot be read any more."""
    return WorldError(f"{full_uuid(uuid)} cannot be read any more ({error}): see the kernel's log, then reset the GPU")


def gpus() -> list[tuple[str, str]]:
    """Name and UUID of every GPU that NVML lists; raises NVMLError."""
    pynvml.nvmlInit()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [(str(pynvml.nvmlDeviceGetName(handle)), str(pynvml.nvmlDeviceGetUUID(handle))) for handle in handles]
    finally:
        pynvml.nvmlShutdown()


def visible_gpus() -> list[str]:
    """UUIDs of the GPUs that CUDA_VISIBLE_DEVICES leaves, in its order, for commands without a torch to ask.

    None where NVML cannot list any: `no_gpu` says why. A number counts in NVML's order, which is that of the PCI bus.
    CUDA counts so only with CUDA_DEVICE_ORDER=PCI_BUS_ID, and else from the fastest GPU on: set it, or name UUIDs, on a
    machine of unequal GPUs. As in CUDA, the first entry that names no GPU ends the list, and a GPU named twice
    leaves none.
    """
    try:
        uuids = [uuid for _, uuid in gpus()]
    except pynvml.NVMLError:
        return []
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return uuids
    found: list[str] = []
    for entry in wanted.split(","):
        uuid = _named(entry.strip(), uuids)
        if uuid is None:
            break
        found.append(uuid)
    return found if len(set(found)) == len(found) else []


def _named(entry: str, uuids: list[str]) -> str | None:
    """The GPU that one entry of CUDA_VISIBLE_DEVICES names: a number, a UUID or the beginning of one."""
    if entry.isascii() and entry.isdecimal():
        return uuids[int(entry)] if int(entry) < len(uuids) else None
    if entry.startswith("MIG-"):
        return entry  # its meter says why it is absent
    matches = [uuid for uuid in uuids if entry.startswith("GPU-") and uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None


def no_gpu() -> AbsentMeter:
    """The meter of a machine, or of a command, that has no GPU to meter, with the reason."""
    try:
        found = gpus()
    except pynvml.NVMLError as error:
        return AbsentMeter("gpu", absence(error))
    reason = "CUDA_VISIBLE_DEVICES leaves no GPU to use" if found else "the NVIDIA driver lists no GPU"
    return AbsentMeter("gpu", reason)
