"""`python -P sampler.py UUID PID`: watches one GPU on behalf of the process PID until its input or its parent ends.

It is run by its path and imports nothing of bpfree, so that a watch costs no import of torch. One JSON line on
standard output at the start (how it samples, or an error), and one for every line on standard input:

joules    those since the first sample, a sample taken at that moment included
window    what was seen between two moments, in the terms of `GpuState`
trace     all samples as CSV, compressed: sampling pauses meanwhile
cpu       nothing but what every answer has: the CPU seconds of this process

Times are those of CLOCK_MONOTONIC, the clock of `time.monotonic` and `time.perf_counter` in every process of Linux.
"""

import base64
import gzip
import json
import math
import os
import select
import signal
import sys
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pynvml

PERIOD = 0.05
"""Seconds between samples of power: two for each of the sensor's updates of 0.1 s."""
STATE_PERIOD = 0.5
"""Seconds between samples of everything else, which moves more slowly."""
MOMENTARY_REFRESH = 0.1
"""Seconds between updates of the momentary power."""
AVERAGE_REFRESH = 1.0
"""Seconds that the older power call averages over on recent GPUs."""
MILLIWATTS_BY_TYPE = {
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
}
LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
REFUSED = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
)
STATE = ("utilisation_percent", "sm_mhz", "memory_mhz", "celsius", "throttle_mask", "foreign_processes")
"""What is sampled beside power; the throttle mask is NVML's bits of clocks event reasons."""


class PowerSource:
    """The best power reading that a GPU offers."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.momentary = bool(self._momentary())  # a GPU that is on draws more than 0 W
        self.refresh = MOMENTARY_REFRESH if self.momentary else AVERAGE_REFRESH

    def watts(self) -> float:
        """Power now; raises NVMLError."""
        milliwatts = self._momentary() if self.momentary else int(pynvml.nvmlDeviceGetPowerUsage(self._handle))
        if milliwatts is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
        return milliwatts / 1000

    def _momentary(self) -> int | None:
        """Milliwatts of the field for momentary power; None where the driver has none."""
        try:
            field = pynvml.nvmlDeviceGetFieldValues(self._handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])[0]
        except pynvml.NVMLError as error:
            if error.value in REFUSED:
                return None
            raise
        if field.nvmlReturn in LOST:
            raise pynvml.NVMLError(field.nvmlReturn)
        member = MILLIWATTS_BY_TYPE.get(field.valueType)
        return int(getattr(field.value, member)) if member and field.nvmlReturn == pynvml.NVML_SUCCESS else None


class StateSource:
    """The optional queries: one that the GPU or its driver refuses is not asked again, the others go on."""

    def __init__(self, handle: Any, pid: int) -> None:
        family = lineage(pid)
        self._queries: dict[str, Callable[[], float]] = {
            "utilisation_percent": lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "sm_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "memory_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
            "celsius": lambda: temperature(handle),
            "throttle_mask": lambda: throttle_mask(handle),
            "foreign_processes": lambda: foreign_processes(compute_pids(handle), family),
        }

    @property
    def refused(self) -> list[str]:
        """What cannot be told here."""
        return [name for name in STATE if name not in self._queries]

    def read(self) -> dict[str, float]:
        """Whatever can be told now; raises NVMLError only if the GPU is lost."""
        values = {}
        for name, query in list(self._queries.items()):
            try:
                values[name] = float(query())
            except pynvml.NVMLError as error:
                if error.value in LOST:
                    raise
                if error.value in REFUSED:
                    del self._queries[name]
        return values


def temperature(handle: Any) -> float:
    """Degrees celsius of the GPU, by the call of this driver's age."""
    try:
        return float(pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU))
    except pynvml.NVMLError_FunctionNotFound:
        return float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def throttle_mask(handle: Any) -> int:
    """What holds the clocks down, by the call of this driver's age."""
    try:
        return int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except pynvml.NVMLError_FunctionNotFound:
        return int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))


def compute_pids(handle: Any) -> set[int]:
    """The processes that compute on the GPU, as the driver numbers them."""
    return {process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)}


def foreign_processes(pids: Iterable[int], family: Sequence[int]) -> int:
    """How many of the processes are neither a process and its ancestors, who are the family, nor its descendants.

    In a container the driver may tell the host's numbers: if none of them is a process here, one is taken to be ours.
    """
    listed = list(pids)
    own = [other for other in listed if other in family or family[0] in lineage(other)]
    if listed and not own and not any(Path(f"/proc/{other}").exists() for other in listed):
        return len(listed) - 1
    return len(listed) - len(own)


def lineage(pid: int) -> list[int]:
    """A process and its ancestors, as far as /proc shows them."""
    found = []
    while pid > 0:
        found.append(pid)
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:  # it has ended, or is hidden
            break
        pid = int(status.rpartition(")")[2].split()[1])  # its name, in brackets, may hold spaces
    return found


class Samples:
    """All samples since the start, and the joules from the first to each by the trapezoid rule."""

    def __init__(self) -> None:
        self.times, self.watts, self.joules = array("d"), array("d"), array("d")
        self.max_gap = 0.0
        self.rows = array("q")
        """The sample of power beside which each sample of the state was taken."""
        self.state = {name: array("d") for name in STATE}
        """NaN where it was not told."""

    def add(self, time: float, watts: float) -> None:
        """Take in a sample of power."""
        gap = time - self.times[-1] if self.times else 0.0
        self.max_gap = max(self.max_gap, gap)
        self.joules.append(self.joules[-1] + gap * (watts + self.watts[-1]) / 2 if self.times else 0.0)
        self.times.append(time)
        self.watts.append(watts)

    def add_state(self, values: Mapping[str, float]) -> None:
        """Take in a sample of the state, beside the last one of power."""
        self.rows.append(len(self.times) - 1)
        for name, column in self.state.items():
            column.append(values.get(name, math.nan))

    @property
    def state_age(self) -> float:
        """Seconds from the last sample of the state to the last one of power."""
        return self.times[-1] - self.times[self.rows[-1]]

    def joules_until(self, time: float) -> float:
        """Joules from the first sample to a moment up to the last; power is a straight line between two samples."""
        after = bisect_left(self.times, time)
        if self.times[after] == time:
            return self.joules[after]
        before = after - 1
        seconds = time - self.times[before]
        slope = (self.watts[after] - self.watts[before]) / (self.times[after] - self.times[before])
        return self.joules[before] + seconds * (self.watts[before] + slope * seconds / 2)

    def window(self, begin: float, end: float) -> dict[str, Any] | None:
        """What was seen between two moments; None unless both lie between the first sample and the last."""
        if not self.times[0] <= begin < end <= self.times[-1]:
            return None
        first, last = bisect_left(self.times, begin), bisect_right(self.times, end)
        around = self.times[bisect_right(self.times, begin) - 1 : bisect_left(self.times, end) + 1]
        joules = self.joules_until(end) - self.joules_until(begin)
        rows = slice(bisect_left(self.rows, first), bisect_left(self.rows, last))
        seen = {name: [value for value in column[rows] if value == value] for name, column in self.state.items()}
        celsius, mask = seen["celsius"], 0
        for value in seen["throttle_mask"]:
            mask |= int(value)
        return {
            "samples": last - first,
            "max_gap_seconds": max(later - earlier for earlier, later in pairwise(around)),
            "mean_watts": joules / (end - begin),
            "integral_joules": joules,
            "utilisation_percent": fmean(seen["utilisation_percent"]) if seen["utilisation_percent"] else None,
            "sm_mhz": spread(seen["sm_mhz"]),
            "memory_mhz": spread(seen["memory_mhz"]),
            "celsius": (celsius[0], celsius[-1], max(celsius)) if celsius else None,
            "throttle_mask": mask,
            "foreign_processes": int(max(seen["foreign_processes"])) if seen["foreign_processes"] else None,
        }

    def trace(self) -> bytes:
        """One line a sample as compressed CSV; a column that was never told is left out."""
        told = [name for name, column in self.state.items() if any(value == value for value in column)]
        lines = [",".join(["seconds", "watts", *told])]
        states = zip(*(self.state[name] for name in told), strict=True)
        beside = dict(zip(self.rows, states, strict=False))  # nothing at all may have been told
        blank = (math.nan,) * len(told)
        for row, (moment, watts) in enumerate(zip(self.times, self.watts, strict=True)):
            state = ["" if value != value else f"{value:.0f}" for value in beside.get(row, blank)]
            lines.append(",".join([f"{moment - self.times[0]:.4f}", f"{watts:.3f}", *state]))
        return gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)


def spread(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Least, mean and greatest; None of nothing."""
    return (min(values), fmean(values), max(values)) if values else None


def answer(samples: Samples, question: str, begin: float = 0.0, end: float = 0.0) -> dict[str, Any]:
    """The answer to one question."""
    if question == "joules":
        return {"joules": samples.joules[-1], "max_gap": samples.max_gap}
    if question == "window":
        return {"window": samples.window(begin, end)}
    return {"trace": base64.b64encode(samples.trace()).decode()} if question == "trace" else {}


def say(**message: object) -> None:
    """One line to whoever asked, with the CPU seconds of this process so far."""
    print(json.dumps(message | {"cpu_seconds": time.process_time()}), flush=True)


def optional(query: Callable[[], Any]) -> Any:
    """What NVML says, or None."""
    try:
        return query()
    except pynvml.NVMLError:
        return None


def watch(handle: Any, pid: int) -> None:
    """Sample until the input or the parent ends; every line of input is answered; raises NVMLError."""
    parent = os.getppid()
    power, state, samples = PowerSource(handle), StateSource(handle, pid), Samples()
    take(power, samples)
    samples.add_state(state.read())
    introduce(handle, power, state, samples)
    due = samples.times[0] + PERIOD
    while os.getppid() == parent:  # when it was killed, processes forked from it may still hold our input open
        asked = bool(select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0])
        questions = os.read(sys.stdin.fileno(), 1 << 16) if asked else b""
        if asked and not questions:
            return
        take(power, samples)
        for question in questions.splitlines():  # several, if an asker was interrupted
            message = json.loads(question)
            say(number=message.pop("number"), **answer(samples, **message))
        if samples.times[-1] >= due:
            if samples.state_age > STATE_PERIOD - PERIOD / 2:
                samples.add_state(state.read())
            due = max(due, time.monotonic() - PERIOD) + PERIOD  # what was missed is not made up for


def take(power: PowerSource, samples: Samples) -> None:
    """Take a sample of power; raises NVMLError."""
    watts = power.watts()
    samples.add(time.monotonic(), watts)


def introduce(handle: Any, power: PowerSource, state: StateSource, samples: Samples) -> None:
    """What the GPU is and how it is sampled."""
    limit = optional(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle))
    say(
        momentary=power.momentary,
        refresh=power.refresh,
        period=PERIOD,
        started=samples.times[0],
        refused=state.refused,
        name=optional(lambda: pynvml.nvmlDeviceGetName(handle)),
        driver=optional(pynvml.nvmlSystemGetDriverVersion),
        power_limit_watts=None if limit is None else limit / 1000,
    )


def main(uuid: str, pid: int) -> None:
    """Run the watch of one GPU."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the last readings are still wanted
    try:
        pynvml.nvmlInit()
        watch(pynvml.nvmlDeviceGetHandleByUUID(uuid), pid)
    except pynvml.NVMLError as error:
        say(error=str(error))
    except BrokenPipeError:  # whoever asked was killed
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
