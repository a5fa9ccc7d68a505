"""Peak memory of this process and of its device, in bytes."""

import contextlib
from pathlib import Path


def peak_host_bytes(status: Path = Path("/proc/self/status")) -> int | None:
    """The most memory this process has held at once; None where the kernel does not tell.

    The kernel's VmHWM: unlike `getrusage`, it forgets what the process was before `exec`, so that a small run started
    by a large driver reads small.
    """
    try:
        lines = status.read_text().splitlines()
    except FileNotFoundError:  # not Linux
        return None
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def reset_peaks(device: str) -> None:
    """Begin new peaks, of this process where the kernel allows it and of a CUDA device."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if device != "cpu":
        import torch  # here, since the doctor does without

        torch.cuda.reset_peak_memory_stats(device)


def peak_device_bytes(device: str) -> int | None:
    """The most that tensors have held on a CUDA device since the reset; context and cache not counted. None on CPU."""
    if device == "cpu":
        return None
    import torch

    return int(torch.cuda.max_memory_allocated(device))
