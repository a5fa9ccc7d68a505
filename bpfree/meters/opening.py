"""The meters of this machine: one a component, the best that works here."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bpfree.meters.base import AbsentMeter, Meter
from bpfree.meters.model import CpuModelMeter, ThreadPower, processor, thread_power
from bpfree.meters.rapl import POWERCAP_ROOTS, open_rapl


def open_meters(
    device: str,
    gpu_uuid: str | None = None,
    *,
    gpu_uuids: Sequence[str] | None = None,
    cpu_watts: float | None = None,
    cpu_model: Callable[[ThreadPower], Meter] = CpuModelMeter,
    powercap_roots: Sequence[Path] = POWERCAP_ROOTS,
) -> list[Meter]:
    """Meters of gpu (on a CUDA device alone), cpu and dram, in this order; an absent one says why.

    `device` is cpu, cuda or cuda:i, and `gpu_uuid` is `str(torch.cuda.get_device_properties(i).uuid)`; a command that
    may use several GPUs gives `gpu_uuids` in its place, and they get a meter each. `cpu_watts` replaces the table's
    power of the whole CPU where the CPU is modelled, and `cpu_model` makes the meter of it.

    Raises
    ------
    RequestError
        `cpu_watts` is out of range.
    WorldError
        The GPU is lost.
    """
    cpu, dram = open_rapl(powercap_roots)
    if cpu.quality == "absent":
        cpu = cpu_model(thread_power(processor(), cpu_watts))
    uuids = [gpu_uuid] if gpu_uuids is None and gpu_uuid is not None else gpu_uuids
    gpus = _open_gpus(uuids) if device.startswith("cuda") else []
    return [*gpus, cpu, dram]


def _open_gpus(uuids: Sequence[str] | None) -> list[Meter]:
    if uuids is None:
        return [AbsentMeter("gpu", "the GPU's UUID is not known, so NVML cannot be asked about it")]
    from bpfree.meters.nvml import no_gpu, open_gpu

    meters: list[Meter] = []
    with ExitStack() as undone:
        for uuid in uuids:
            meter = open_gpu(uuid)
            undone.callback(meter.close)  # if another one cannot be opened
            meters.append(meter)
        undone.pop_all()
    return meters or [no_gpu()]
