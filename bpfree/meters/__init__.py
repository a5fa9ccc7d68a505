"""Meters: how many joules a window of time took, by which method, and how far to trust the figure."""

from bpfree.meters.arithmetic import peak_flops_per_second
from bpfree.meters.base import AbsentMeter, Meter, component_status
from bpfree.meters.carbon import Intensity, carbon_of, intensity
from bpfree.meters.fake import FakeClock, FakeMeter
from bpfree.meters.memory import peak_device_bytes, peak_host_bytes, reset_peaks
from bpfree.meters.opening import open_meters
from bpfree.meters.session import Edge, Session, boundary_joules

__all__ = [
    "AbsentMeter",
    "Edge",
    "FakeClock",
    "FakeMeter",
    "Intensity",
    "Meter",
    "Session",
    "boundary_joules",
    "carbon_of",
    "component_status",
    "intensity",
    "open_meters",
    "peak_device_bytes",
    "peak_flops_per_second",
    "peak_host_bytes",
    "reset_peaks",
]
