"""Where the runs of a report were made, with what, and how far their joules can be trusted."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from bpfree.records import Record
from bpfree.report import form


def order(record: Record) -> tuple[Any, ...]:
    """Runs in the order in which they were made."""
    return (record.spec.workload, record.block or 0, record.position or 0)


def meters(records: Sequence[Record]) -> list[dict[str, str]]:
    """Each component with its method and quality over the final runs, and why it is so."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    resolutions: dict[tuple[str, str, str, str], list[float]] = {}
    for record in records:
        phase = record.phases.get("train")
        for r in phase.readings if phase else []:
            key = (r.component, r.method, r.quality, r.reason or "")
            found[key] += 1
            resolutions.setdefault(key, []).extend([] if r.resolution is None else [r.resolution])
    counted = {component for r in records if r.cost for component in r.cost.boundary}
    return [
        {
            "component": component, "method": method.replace("_", " "), "quality": quality, "reason": reason,
            "resolution": f"{form.digits(100 * max(worst), 2)} %" if (worst := resolutions[key]) else form.ABSENT,
            "runs": str(count), "counted": "yes" if component in counted else "no",
        }
        for key, count in sorted(found.items())
        for component, method, quality, reason in [key]
    ]  # fmt: skip


def versions(records: Sequence[Record]) -> str:
    """Which code made the runs."""
    runs = sorted(records, key=order)
    made = [
        (str(r.environment.get("bpfree", "of unknown version")), str(r.environment.get("commit") or "")) for r in runs
    ]
    return "; ".join(
        f"bpfree {number}" + (f" at commit {commit}" if commit else ", no commit recorded")
        for number, commit in dict.fromkeys(made)
    )


def environment_rows(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Where the runs were made; several values where they differ."""
    rows: dict[str, list[str]] = {}
    for record in records:
        for key, value in record.environment.items():
            if key in ("packages", "load_average"):
                continue
            if value is None:
                continue
            size = key.endswith("_bytes") and isinstance(value, int | float)
            text = form.mebibytes(value) + " MiB" if size else str(value)
            seen = rows.setdefault(key.removesuffix("_bytes").replace("_", " "), [])
            if text not in seen:
                seen.append(text)
    packages = [record.environment.get("packages") for record in records]
    lists = [", ".join(f"{n} {v}" for n, v in each.items()) for each in packages if isinstance(each, dict)]
    rows["packages"] = list(dict.fromkeys(filter(None, lists)))
    carbon = {r.cost.carbon.source for r in records if r.cost and r.cost.carbon}
    rows["CO2e"] = (
        sorted(carbon) or rows.get("CO2e") or ["not computed: the study names no country and no carbon intensity"]
    )
    return [(key, "; ".join(values)) for key, values in rows.items()]
