"""The answer in plain sentences. Nothing is claimed that an interval does not show."""

from bpfree.report import audit, claims, form, reaching
from bpfree.report.summary import Method, Summary, Workload, imported
from bpfree.statistics import equivalence

SMALL_SAMPLE = 8


def sentences(summary: Summary) -> list[str]:
    """The answer of a study: for each workload accuracy, energy, and how far to trust them."""
    elsewhere = imported(summary.records)
    found = [audit.sentence(summary)] if elsewhere else []
    for workload in [] if elsewhere else summary.workloads:  # the table of imported runs says it shorter
        found += of_workload(workload, len(summary.workloads) > 1, summary.margin)
        if text := reaching.sentence(workload):
            found.append(text)
    seeds = {m.accuracy.n for w in summary.workloads for m in w.methods if m.accuracy}
    if seeds:
        few, many = min(seeds), max(seeds)
        count = f"{few} to {many}" if few < many else f"{few}"
        small = " That is a small sample: small effects stay hidden." if few < SMALL_SAMPLE else ""
        pairing = "not paired, since the seeds differ between the methods" if elsewhere else "paired by seed"
        found.append(
            f"Every figure is from {count} seed{'s' if many > 1 else ''} a method, {pairing}.{small} "
            f"Over all comparisons together, false claims are held to {1 - summary.confidence:.0%} (Holm)."
        )
    qualities = {workload.quality for workload in summary.workloads}
    if qualities == {"modelled"}:
        found.append(
            "No energy was measured: joules are a model, CPU seconds times a fixed power. "
            "Their ratios are ratios of CPU time, and say nothing of a GPU or of real power."
        )
    elif qualities == {"absent"}:
        found.append("No energy was measured or modelled, so nothing is said of it.")
    done = sum(record.final for record in summary.records)
    if text := claims.sentence(summary):
        found.append(text)
    if done < summary.planned:
        found.append(f"The study is not finished: {done} of {summary.planned} final runs are done.")
    return found


def of_workload(workload: Workload, many: bool, margin: float | None) -> list[str]:
    """Accuracy first, then energy, each method against the baseline."""
    ranked = sorted(
        (m for m in workload.methods if m.accuracy), key=lambda m: -(m.accuracy.estimate if m.accuracy else 0)
    )
    if not ranked and any(m.completed for m in workload.methods):
        return [
            f"On {workload.name} the metric is no accuracy, and this page compares accuracies alone: "
            "the metric of each run is in its record."
        ]
    if not ranked:
        return [f"On {workload.name} no run was completed."]
    best = ranked[0]
    place = f"On {workload.name} " if many else f"On {workload.name}, "
    assert best.accuracy is not None
    found = [
        f"{place.strip()} the highest mean test accuracy is {form.title(best.name)}’s, "
        f"{form.percent(best.accuracy.estimate)} % ({form.accuracy(best.accuracy)[1]})."
    ]
    found += [
        against(method, workload, margin)
        for method in workload.methods
        if method.reference and method.accuracy_difference
    ]
    return found + [text for method in workload.methods if (text := incomplete(method))]


def incomplete(method: Method) -> str | None:
    """What the figures of a method leave out."""
    name, lost = form.title(method.name), len(method.records) - len(method.completed)
    if not method.completed:
        return f"{name} has no completed run, so nothing is said of it."
    if not lost:
        return None
    diverged = sum(record.status == "diverged" for record in method.records)
    how = f"{diverged} diverged" if diverged == lost else f"{lost} failed"
    if 0 < diverged < lost:
        how = f"{diverged} diverged and {lost - diverged} failed"
    return f"Of {name}’s {len(method.records)} runs {how}; its figures are of the other {len(method.completed)}."


def against(method: Method, workload: Workload, margin: float | None) -> str:
    """One method against the baseline."""
    c, e = method.accuracy_difference, method.energy_ratio
    assert c is not None
    assert method.reference is not None
    base, name = form.title(method.reference.name), form.title(method.name)
    estimate, bounds = form.points(c)
    what = {
        "higher": f"is more accurate than {base}",
        "lower": f"is less accurate than {base}",
        "no difference shown": f"shows no difference in accuracy to {base}",
    }[c.verdict]
    shown = None if margin is None else equivalence(c, margin)
    if margin is not None and shown is not None and shown.shown:
        what = f"is as accurate as {base}, within {100 * margin:g} points"
    text = f"{name} {what} ({estimate} points; {bounds})"
    if e is None:
        reason = method.censored or workload.note or "its energy is not known"
        return f"{text}; energies are not compared: {reason}."
    estimate, bounds = form.times(e)
    word = "modelled energy" if workload.quality == "modelled" else "energy"
    verdict = {
        "higher": f"took more {word}",
        "lower": f"took less {word}",
        "no difference shown": f"shows no difference in {word}",
    }[e.verdict]
    return f"{text} and {verdict} ({estimate}; {bounds})."
