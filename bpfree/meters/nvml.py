"""One NVIDIA GPU, by UUID: its energy counter, else its power integrated by a process of its own.

NVML counts devices in another order than CUDA and knows nothing of CUDA_VISIBLE_DEVICES; the UUID cannot mislead. The
client is kept open as long as the meter: without one, a driver may reset the counter.
"""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pynvml

from bpfree.errors import WorldError
from bpfree.meters.base import AbsentMeter, Meter
from bpfree.meters.power import PowerIntegralMeter
from bpfree.records import Quality

ASSUMED_PERIOD = 0.1
"""Seconds between two updates of the counter on data-centre GPUs, taken where it cannot be observed."""
OBSERVED_TICKS = 6
OBSERVING_SECONDS = 1.0

LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
WITHOUT_COUNTER = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
REASONS: dict[int, str] = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "there is no NVIDIA driver (libnvidia-ml.so.1 is not found)",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded: load the module nvidia",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver was upgraded but not reloaded: restart the machine",
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not read the GPU's energy: ask the administrator for access",
    pynvml.NVML_ERROR_NOT_FOUND: "NVML does not list the GPU: is it hidden from this container?",
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "NVML does not list the GPU: is it hidden from this container?",
}


class NvmlCounterMeter:
    """The cumulative energy counter of one GPU (Volta and newer)."""

    component = "gpu"
    method = "nvml_energy_counter"
    quality: Quality = "measured"

    def __init__(self, handle: Any, uuid: str) -> None:
        self.uuid = uuid
        self._handle = handle
        observed = observed_period(lambda: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)))
        self.update_period: float | None = observed or ASSUMED_PERIOD
        self.note: str | None = None if observed else "the counter's update period is assumed: it was not seen to tick"
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
        """Give back the NVML client."""
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


def observed_period(read: Callable[[], int]) -> float | None:
    """Median seconds between two changes of a counter, over five gaps and at most a second; None if not seen."""
    deadline = time.perf_counter() + OBSERVING_SECONDS
    ticks: list[float] = []
    last = read()
    while len(ticks) < OBSERVED_TICKS and time.perf_counter() < deadline:
        time.sleep(0.001)
        count = read()
        if count != last:
            ticks.append(time.perf_counter())
            last = count
    gaps = [later - earlier for earlier, later in pairwise(ticks)]
    return statistics.median(gaps) if len(gaps) > 2 else None


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
