"""What a meter is, and the meter of a component that cannot be metered here."""

from dataclasses import dataclass
from typing import Any, Protocol

from bpfree.meters.watch import GpuWatch
from bpfree.records import Quality


class Meter(Protocol):
    """One component's energy: a cumulative count of joules since the meter was opened."""

    component: str
    """gpu, cpu or dram."""
    method: str
    """nvml_energy_counter, nvml_power_integral, rapl_powercap, cpu_seconds_model or none."""
    quality: Quality
    """What its readings are at best: measured, modelled or absent."""
    update_period: float | None
    """Seconds between two updates of the figure; None if it is exact at every read, or absent."""
    note: str | None
    """Why it is absent and what to do, or the inputs of a model."""

    @property
    def watch(self) -> GpuWatch | None:
        """What else is seen of the GPU; None of everything else, and where a GPU has no meter."""

    def read(self) -> float | None:
        """Joules since opening; None if absent.

        Raises
        ------
        WorldError
            The device was lost: the run has failed.
        """

    def close(self) -> None:
        """Give back what the meter holds."""


@dataclass
class AbsentMeter:
    """The meter of a component that has no energy figure on this machine: it says why, and never reads 0."""

    component: str
    note: str | None
    method: str = "none"
    quality: Quality = "absent"
    update_period: float | None = None
    watch: GpuWatch | None = None

    def read(self) -> float | None:
        """None: there is no figure."""
        return None

    def close(self) -> None:
        """Nothing is held."""


def component_status(meter: Meter) -> dict[str, Any]:
    """What a meter can say of its component, ready for JSON."""
    return {
        "component": meter.component,
        "method": meter.method,
        "quality": meter.quality,
        "update_period": meter.update_period,
        "note": meter.note,
    }
