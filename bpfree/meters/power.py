"""The GPU's power integrated over time, for devices without an energy counter.

A process of its own does the sampling (`sampler.py`): a thread would wait for the interpreter lock whenever training
is busy. The two talk over pipes, a line a question: a reading is the integral up to the moment of asking.
"""

import json
import subprocess
import sys
from typing import Any

from bpfree.errors import WorldError
from bpfree.meters.base import AbsentMeter, Meter
from bpfree.records import Quality


class PowerIntegralMeter:
    """Joules of one GPU by the trapezoid rule over its sampled power."""

    component = "gpu"
    method = "nvml_power_integral"
    quality: Quality = "measured"

    def __init__(self, process: subprocess.Popen[str], uuid: str, first: dict[str, Any]) -> None:
        self.uuid = uuid
        self.update_period: float | None = float(first["refresh"])
        self.note: str | None = f"{first['power']} sampled every {first['period']:g} s by a process of its own"
        self._process = process

    @classmethod
    def open(cls, uuid: str) -> Meter:
        """Start the sampler of a GPU; absent with the reason if its power cannot be read either."""
        process = subprocess.Popen(
            [sys.executable, "-m", "bpfree.meters.sampler", uuid],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        first = _answer(process)
        if first is not None and "error" not in first:
            return cls(process, uuid, first)
        process.communicate()
        reason = "its sampler did not start" if first is None else first["error"]
        return AbsentMeter("gpu", f"the GPU has no energy counter, and its power cannot be sampled ({reason})")

    def read(self) -> float | None:
        """Joules since opening; the longest pause between samples so far governs the resolution.

        Raises
        ------
        WorldError
            The GPU was lost, or the sampler died.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            answer = _answer(self._process)
        except BrokenPipeError:
            answer = None
        if answer is None or "error" in answer:
            reason = "its power sampler died" if answer is None else answer["error"]
            raise WorldError(f"{self.uuid} cannot be read any more ({reason}): see the kernel's log")
        self.update_period = max(self.update_period or 0.0, float(answer["max_gap"]))
        return float(answer["joules"])

    def close(self) -> None:
        """End the sampler."""
        self._process.communicate()  # it ends with its input


def _answer(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    """The sampler's next line; None if it has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    return json.loads(line) if line else None
