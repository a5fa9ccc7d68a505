"""The answer in plain sentences. Nothing is claimed that an interval does not show."""

from collections.abc import Sequence

from bpfree.report import audit, claims, form, reaching
from bpfree.report.metric import Metric
from bpfree.report.summary import Method, Summary, Workload, imported

SMALL_SAMPLE = 8
MANY = 6
"""Comparisons of a workload, of more than which those with the same verdicts share a sentence."""


def sentences(summary: Summary) -> list[str]:
    """The answer of a study: for each workload metric, energy, and how far to trust them."""
    elsewhere = imported(summary.records)
    found = [audit.sentence(summary)] if elsewhere else []
    for workload in [] if elsewhere else summary.workloads:  # the table of imported runs says it shorter
        found += of_workload(workload, len(summary.workloads) > 1, summary.margin)
        if text := reaching.sentence(workload):
            found.append(text)
    seeds = {m.test_metric.n for w in summary.workloads for m in w.methods if m.test_metric}
    if seeds:
        few, many = min(seeds), max(seeds)
        count = f"{few} to {many}" if few < many else f"{few}"
        small = " That is a small sample: small effects stay hidden." if few < SMALL_SAMPLE else ""
        pairing = "not paired, since the seeds differ between the methods" if elsewhere else "paired by seed"
        found.append(
            f"Every figure is from {count} seed{'s' if many > 1 else ''} a method, {pairing}.{small} "
            f"Over all comparisons together, false claims are held to {form.level(1 - summary.confidence)} (Holm)."
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
    """The metric first, then energy, each method against the baseline."""
    metric = workload.metric
    means = [(metric.sign * m.test_metric.estimate, m) for m in workload.methods if m.test_metric]
    if not means and any(m.completed for m in workload.methods):
        return [f"On {workload.name} the metric is not compared, as the records, of an early version, do not name it."]
    if not means:
        return [f"On {workload.name} no run was completed."]
    best = max(means, key=lambda pair: pair[0])[1]
    place = f"On {workload.name} " if many else f"On {workload.name}, "
    assert best.test_metric is not None
    found = [
        f"{place.strip()} the {metric.best} mean test {metric.words} is {form.title(best.name)}’s, "
        f"{metric.with_unit(best.test_metric.estimate)} ({metric.interval(best.test_metric)[1]})."
    ]
    compared = [method for method in workload.methods if method.reference and method.metric_difference]
    if len(compared) > MANY:
        found += alike(compared, workload, margin)
    else:
        found += [against(method, workload, margin) for method in compared]
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
    metric, e = method.metric, method.energy_ratio
    assert method.reference is not None
    estimate, bounds = metric.difference(method.metric_difference)
    what = said(metric, metric_verdict(method, margin), 0, form.title(method.reference.name), margin)
    text = f"{form.title(method.name)} {what} ({f'{estimate} {metric.difference_unit}'.strip()}; {bounds})"
    if e is None:
        return f"{text}; energies are not compared: {uncompared(method, workload)}."
    estimate, bounds = form.times(e)
    return f"{text} and {ENERGY[e.verdict][0].format(word=energy_word(workload))} ({estimate}; {bounds})."


def alike(compared: Sequence[Method], workload: Workload, margin: float | None) -> list[str]:
    """Many methods: several with the same verdicts share a sentence, and their figures are left to the tables."""
    groups: dict[tuple[str, str, str], list[Method]] = {}
    for method in compared:
        e = method.energy_ratio
        kind = metric_verdict(method, margin), e.verdict if e else "", "" if e else uncompared(method, workload)
        groups.setdefault(kind, []).append(method)
    references = [method.reference for method in compared if method.reference]
    one = len({reference.name for reference in references}) == 1
    base = form.title(references[0].name if one else references[0].label) + ("" if one else " with the same optimizer")
    found = []
    for (verdict, energy, reason), methods in groups.items():
        if len(methods) == 1:
            found.append(against(methods[0], workload, margin))
            continue
        what = said(workload.metric, verdict, 1, base, margin)
        then = f" and {ENERGY[energy][1].format(word=energy_word(workload))}" if energy else ""
        why = f"; energies are not compared: {reason}" if reason else ""
        names = "; ".join(form.title(method.name) for method in methods)
        found.append(f"{len(methods)} of {len(compared)} methods {what}{then}{why}: {names}.")
    return found


METRIC = {
    "higher": ("is higher in {metric} than {base}", "are higher in {metric} than {base}"),
    "lower": ("is lower in {metric} than {base}", "are lower in {metric} than {base}"),
    "equivalent": (
        "is as good as {base} in {metric}, within {margin} of its mean",
        "are as good as {base} in {metric}, within {margin} of its mean",
    ),
    "no difference shown": ("shows no difference in {metric} to {base}", "show no difference in {metric} to {base}"),
}
"""What is said of a method, and of several."""
ACCURACY = METRIC | {
    "higher": ("is more accurate than {base}", "are more accurate than {base}"),
    "lower": ("is less accurate than {base}", "are less accurate than {base}"),
    "equivalent": ("is as accurate as {base}, within {margin}", "are as accurate as {base}, within {margin}"),
}
ENERGY = {
    "higher": ("took more {word}", "took more {word}"),
    "lower": ("took less {word}", "took less {word}"),
    "no difference shown": ("shows no difference in {word}", "show no difference in {word}"),
}


def said(metric: Metric, verdict: str, several: int, base: str, margin: float | None) -> str:
    """A verdict in words, of one method (0) or several (1)."""
    table = ACCURACY if metric.is_accuracy else METRIC
    within = "" if margin is None else metric.margin(margin)
    return table[verdict][several].format(base=base, metric=metric.words, margin=within)


def metric_verdict(method: Method, margin: float | None) -> str:
    """Of the difference to the baseline; equivalence, where it is shown, says more than the lack of a difference."""
    c, shown = method.metric_difference, method.equivalence(margin)
    assert c is not None
    return "equivalent" if shown is not None and shown.shown else c.verdict


def uncompared(method: Method, workload: Workload) -> str:
    """Why there is no ratio of energies."""
    return method.censored or workload.note or "its energy is not known"


def energy_word(workload: Workload) -> str:
    """What the joules are."""
    return "modelled energy" if workload.quality == "modelled" else "energy"
