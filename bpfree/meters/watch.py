"""A watch on one GPU: a process of its own samples it (`sampler.py`), and tells what it saw when asked.

A thread would wait for the interpreter lock whenever training is busy. The two talk over pipes, a line a question.
"""

import base64
import json
import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from bpfree.records import GpuState

SAMPLER = Path(__file__).with_name("sampler.py")
PATIENCE = 60.0
"""Seconds to wait for an answer: a driver may take some of them to wake a GPU, and a long trace some to compress."""
THROTTLE_REASONS = {
    0x004: "power_cap",
    0x008: "hardware_slowdown",
    0x010: "sync_boost",
    0x020: "software_thermal",
    0x040: "hardware_thermal",
    0x080: "hardware_power_brake",
    0x100: "display_clocks",
    0x200: "board_limit",
    0x400: "reliability",
}
"""NVML's bits of clocks event reasons, without idling (1) and clocks that someone set (2)."""


class GpuWatch:
    """What a process of its own sees of one GPU.

    A watch that could not start, or has died, gives None everywhere and says why in its note: it never fails a run.
    """

    def __init__(self, uuid: str, process: subprocess.Popen[bytes] | None = None) -> None:
        """Of a sampler that has just been started, or of none."""
        self.uuid = uuid
        self._process = process
        self._heard = bytearray()
        self._questions = 0
        first = {} if process is None else self._line() or {"error": "its sampler did not start"}
        self.name = first.get("name") or "unknown"
        self.driver = first.get("driver") or "unknown"
        self.power_limit_watts: float | None = first.get("power_limit_watts")
        self.momentary = bool(first.get("momentary"))
        """Whether its watts are those of the moment, not an average over up to a second."""
        self.refresh = float(first.get("refresh", 0.0))
        """Seconds between two updates of the power that the driver tells."""
        self.period = float(first.get("period", 0.0))
        """Seconds between two samples of power, as meant."""
        self.max_gap = 0.0
        """Seconds between two samples of power at worst, as of the last question for joules."""
        self.started = float(first.get("started", 0.0))
        """Time of the first sample, on the clock of `time.monotonic`."""
        self.note: str | None = _about(self.momentary, first.get("refused", []))
        """What to know of its figures; once it has died, why."""
        self._cpu_seconds = float(first.get("cpu_seconds", 0.0))
        if "error" in first:
            self._end(str(first["error"]))

    @classmethod
    def open(cls, uuid: str, pid: int | None = None) -> "GpuWatch":
        """Start the watch of the GPU of this full UUID on behalf of a process: by default, this one.

        Processes that are not of its family count as foreign. Where the GPU's power cannot be sampled, the watch is
        dead from the start.
        """
        command = [sys.executable, "-P", str(SAMPLER), uuid, str(pid or os.getpid())]
        try:
            return cls(uuid, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0))
        except OSError as error:
            watch = cls(uuid)
            watch.note = f"its sampler did not start: {error.strerror}"
            return watch

    @property
    def alive(self) -> bool:
        """Whether it still answers, as far as is known."""
        return self._process is not None

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of the watching process so far, its start included; once it has ended, those last told."""
        self._ask("cpu")
        return self._cpu_seconds

    def joules(self) -> float | None:
        """Integral of the sampled power since the start, up to a sample taken now."""
        answer = self._ask("joules")
        if answer is None:
            return None
        self.max_gap = float(answer["max_gap"])
        return float(answer["joules"])

    def watts(self, begin: float, end: float) -> float | None:
        """Mean power between two moments of `time.monotonic`; None unless all of it was watched."""
        window = self._window(begin, end)
        return None if window is None else float(window["mean_watts"])

    def state(self, begin: float, end: float, counter_joules: float | None) -> GpuState | None:
        """What was seen between two moments of `time.monotonic`; None unless all of it was watched.

        `counter_joules` are those of the energy counter over the same window. What the driver does not tell is null;
        of throttle reasons there are then none, and the note says that they are not told.
        """
        window = self._window(begin, end)
        if window is None:
            return None
        mask = window.pop("throttle_mask")
        return GpuState(
            uuid=self.uuid,
            name=self.name,
            driver=self.driver,
            power_limit_watts=self.power_limit_watts,
            period_seconds=self.period,
            counter_joules=counter_joules,
            throttle_reasons=[word for bit, word in THROTTLE_REASONS.items() if mask & bit],
            **window,
        )

    def trace(self) -> bytes | None:
        """All samples so far as compressed CSV: seconds since the first, watts, and whatever else the driver tells."""
        answer = self._ask("trace")
        return None if answer is None else base64.b64decode(answer["trace"])

    def close(self) -> None:
        """End the watching process."""
        self._end(self.note)

    def _window(self, begin: float, end: float) -> dict[str, Any] | None:
        answer = self._ask("window", begin=begin, end=end)
        return None if answer is None else answer["window"]

    def _ask(self, question: str, **arguments: float) -> dict[str, Any] | None:
        """The answer to a question; None if there is none, which ends the watch."""
        if self._process is None:
            return None
        assert self._process.stdin is not None
        self._questions += 1
        message = {"number": self._questions, "question": question, **arguments}
        with suppress(BrokenPipeError):  # what it said last is read below
            os.write(self._process.stdin.fileno(), json.dumps(message).encode() + b"\n")
        while (answer := self._line()) is not None and "error" not in answer:
            if answer["number"] == self._questions:  # else that of a question whose asker was interrupted
                self._cpu_seconds = float(answer["cpu_seconds"])
                return answer
        self._end("its power sampler died, or does not answer" if answer is None else str(answer["error"]))
        return None

    def _line(self) -> dict[str, Any] | None:
        """The next line that the sampler says; None if it has ended, or says nothing for too long."""
        assert self._process is not None
        assert self._process.stdout is not None
        ready = select.poll()  # not select.select, which knows no file beyond the 1024th
        ready.register(self._process.stdout, select.POLLIN)
        while b"\n" not in self._heard:
            some = os.read(self._process.stdout.fileno(), 1 << 16) if ready.poll(PATIENCE * 1000) else b""
            if not some:
                return None
            self._heard += some
        line, _, self._heard = self._heard.partition(b"\n")
        return cast(dict[str, Any], json.loads(line))

    def _end(self, note: str | None) -> None:
        """Kill the process, which holds nothing but what it was asked for."""
        process, self._process = self._process, None
        if process is None:
            return
        self.note = note
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        with suppress(subprocess.TimeoutExpired):  # a broken driver may hold it for ever
            process.wait(5)


def _about(momentary: bool, refused: list[str]) -> str | None:
    """What to know of the figures of a watch."""
    parts = [] if momentary else ["power is averaged over up to 1 s by the driver"]
    if refused:
        parts.append(f"the driver does not tell {', '.join(refused)}")
    return "; ".join(parts) or None
