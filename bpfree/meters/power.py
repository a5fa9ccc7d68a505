"""The GPU's power integrated over time by its watch, for devices without an energy counter."""

from bpfree.errors import WorldError
from bpfree.meters.base import AbsentMeter, Meter
from bpfree.meters.watch import GpuWatch
from bpfree.records import Quality


class PowerIntegralMeter:
    """Joules of one GPU by the trapezoid rule over its sampled power."""

    component = "gpu"
    method = "nvml_power_integral"
    quality: Quality = "measured"

    def __init__(self, watch: GpuWatch) -> None:
        self.watch = watch
        self.update_period: float | None = watch.refresh
        power = "momentary power" if watch.momentary else "power, averaged over up to 1 s by the driver,"
        self.note: str | None = f"{power} sampled every {watch.period:g} s by a process of its own"

    @classmethod
    def open(cls, uuid: str) -> Meter:
        """Start the watch of a GPU; absent with the reason if its power cannot be read either."""
        watch = GpuWatch.open(uuid)
        if watch.alive:
            return cls(watch)
        return AbsentMeter("gpu", f"the GPU has no energy counter, and its power cannot be sampled ({watch.note})")

    def read(self) -> float | None:
        """Joules since opening; the longest pause between samples so far governs the resolution.

        Raises
        ------
        WorldError
            The GPU was lost, or the sampler died.
        """
        joules = self.watch.joules()
        if joules is None:
            raise WorldError(
                f"{self.watch.uuid} cannot be read any more ({self.watch.note}): see the kernel's log, then run again"
            )
        self.update_period = max(self.watch.refresh, self.watch.max_gap)
        return joules

    def close(self) -> None:
        """End the watch."""
        self.watch.close()
