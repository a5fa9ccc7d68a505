"""The meters of this machine: one a component, the best that works here."""

from collections.abc import Sequence
from pathlib import Path

from bpfree.meters.base import AbsentMeter, Meter
from bpfree.meters.model import CpuModelMeter, processor, thread_power
from bpfree.meters.rapl import POWERCAP_ROOTS, open_rapl


def open_meters(
    device: str,
    gpu_uuid: str | None = None,
    *,
    cpu_watts: float | None = None,
    powercap_roots: Sequence[Path] = POWERCAP_ROOTS,
) -> list[Meter]:
    """Meters of gpu (on a CUDA device alone), cpu and dram, in this order; an absent one says why.

    `device` is cpu, cuda or cuda:i, and `gpu_uuid` is `str(torch.cuda.get_device_properties(i).uuid)`. `cpu_watts`
    replaces the table's power of the whole CPU where the CPU is modelled.

    Raises
    ------
    RequestError
        `cpu_watts` is out of range.
    WorldError
        The GPU is lost.
    """
    cpu, dram = open_rapl(powercap_roots)
    if cpu.quality == "absent":
        cpu = CpuModelMeter(thread_power(processor(), cpu_watts))
    meters = [cpu, dram]
    if device.startswith("cuda"):
        meters.insert(0, _open_gpu(gpu_uuid))
    return meters


def _open_gpu(uuid: str | None) -> Meter:
    if uuid is None:
        return AbsentMeter("gpu", "the GPU's UUID is not known, so NVML cannot be asked about it")
    from bpfree.meters.nvml import open_gpu

    return open_gpu(uuid)
