"""Peak memory of this process and of its device, in bytes."""

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


def reset_peak_device_bytes(index: int) -> None:
    """Begin a new peak on a CUDA device."""
    import torch  # here, since the doctor does without

    torch.cuda.reset_peak_memory_stats(index)


def peak_device_bytes(index: int) -> int:
    """The most that tensors have held on a CUDA device since the peak was reset; context and cache not counted."""
    import torch

    return int(torch.cuda.max_memory_allocated(index))
