"""`python -m bpfree.meters.sampler UUID`: samples one GPU's power until its input ends.

One JSON line on standard output at the start (how it samples, or an error), and one for every line on standard input:
the joules since the start, a sample taken at that moment included.
"""

import json
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

import pynvml

PERIOD = 0.05
"""Seconds between samples: two for each of the sensor's updates of 0.1 s."""
INSTANT_REFRESH = 0.1
"""Seconds between updates of the momentary power."""
AVERAGE_REFRESH = 1.0
"""Seconds that the older power call averages over on recent GPUs."""
MILLIWATTS_BY_TYPE = {
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
}


@dataclass
class Integral:
    """The trapezoid rule over samples as they come."""

    time: float
    watts: float
    joules: float = 0.0
    max_gap: float = 0.0
    """Longest time between two samples."""

    def add(self, time: float, watts: float) -> None:
        """Take in a sample."""
        gap = time - self.time
        self.joules += gap * (watts + self.watts) / 2
        self.max_gap = max(self.max_gap, gap)
        self.time, self.watts = time, watts


class PowerSource:
    """The best power reading that a GPU offers."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.instant = self._instant() is not None
        self.refresh = INSTANT_REFRESH if self.instant else AVERAGE_REFRESH
        self.name = "momentary power" if self.instant else "power, averaged over up to 1 s by the driver,"

    def watts(self) -> float:
        """Power now; raises NVMLError."""
        milliwatts = self._instant() if self.instant else int(pynvml.nvmlDeviceGetPowerUsage(self._handle))
        if milliwatts is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
        return milliwatts / 1000

    def _instant(self) -> int | None:
        """Milliwatts of the field for momentary power; None where the driver has none."""
        try:
            field = pynvml.nvmlDeviceGetFieldValues(self._handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])[0]
        except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
            return None
        if field.nvmlReturn in (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED):
            raise pynvml.NVMLError(field.nvmlReturn)
        if field.nvmlReturn != pynvml.NVML_SUCCESS:
            return None
        return int(getattr(field.value, MILLIWATTS_BY_TYPE[field.valueType]))


def say(**message: object) -> None:
    """One line to whoever asked."""
    print(json.dumps(message), flush=True)


def sample(source: PowerSource) -> None:
    """Sample until the input ends; every line of it is answered."""
    integral = Integral(time.monotonic(), source.watts())
    say(power=source.name, period=PERIOD, refresh=source.refresh)
    while True:
        asked = bool(select.select([sys.stdin], [], [], PERIOD)[0])
        if asked and not sys.stdin.readline():
            return
        watts = source.watts()
        integral.add(time.monotonic(), watts)
        if asked:
            say(joules=integral.joules, max_gap=integral.max_gap)


def main(uuid: str) -> None:
    """Run the sampler of one GPU."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the last readings are still wanted
    try:
        pynvml.nvmlInit()
        sample(PowerSource(pynvml.nvmlDeviceGetHandleByUUID(uuid)))
    except pynvml.NVMLError as error:
        say(error=str(error))


if __name__ == "__main__":
    main(sys.argv[1])
