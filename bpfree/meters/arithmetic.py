"""The device's arithmetic limit: how many floating-point operations a second it does at best, in this process.

A large square matrix product in float32 is what a device does fastest, so its rate bounds that of any training step.
"""

import time

SIZES = {"cpu": 1024, "cuda": 8192}
SECONDS = 0.3
"""Time spent on it, after a first product that does not count."""
LEAST_REPEATS = 3


def peak_flops_per_second(device: str) -> float:
    """The best rate of several products of two square float32 matrices, in FLOP/s; one product is 2 n³ FLOPs."""
    import torch  # here, since meters around a command do without

    kind = "cpu" if device == "cpu" else "cuda"
    n = SIZES[kind]
    a, b = torch.ones(n, n, device=device), torch.ones(n, n, device=device)
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) <= LEAST_REPEATS or time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        a @ b
        if kind == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / min(seconds[1:])
