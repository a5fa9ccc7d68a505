"""The state of the GPUs while the runs were measured: a line a method, over its final runs."""

from collections.abc import Callable, Sequence
from typing import Any

from bpfree.records import GpuState
from bpfree.report import form
from bpfree.report.summary import Summary


def rows(summary: Summary) -> list[dict[str, str]]:
    """One a method and workload that ran on a GPU; none where none did."""
    found = []
    for workload in summary.workloads:
        for method in workload.methods:
            states = [state for record in method.completed for state in record.gpus]
            if states:
                where = {"workload": workload.name, "name": form.title(method.name)}
                found.append(where | row(states))
    return found


def row(states: Sequence[GpuState]) -> dict[str, Any]:
    """The spread of what was seen."""
    gaps = [state.disagreement for state in states if state.disagreement is not None]
    foreign = [state.foreign_processes for state in states if state.foreign_processes is not None]
    throttled = sorted({reason.replace("_", " ") for state in states for reason in state.throttle_reasons})
    return {
        "watts": span(states, lambda s: s.mean_watts),
        "limit": span(states, lambda s: s.power_limit_watts),
        "clock": span(states, lambda s: s.sm_mhz and s.sm_mhz[1]),
        "celsius": span(states, lambda s: s.celsius and s.celsius[2]),
        "utilisation": span(states, lambda s: s.utilisation_percent),
        "disagreement": f"{max(gaps, key=abs):+.1%}".replace("-", "−") if gaps else form.ABSENT,
        "throttled": ", ".join(throttled) or "no",
        "foreign": str(max(foreign)) if foreign else form.ABSENT,
    }


def span(states: Sequence[GpuState], figure: Callable[[GpuState], float | None]) -> str:
    """Least and greatest value, or the only one."""
    values = [value for state in states if (value := figure(state)) is not None]
    if not values:
        return form.ABSENT
    low, high = form.digits(min(values)), form.digits(max(values))
    return low if low == high else f"{low} to {high}"
