"""What is said of compared studies in sentences. Nothing is claimed that an interval does not show."""

from collections.abc import Callable, Sequence

from bpfree.report import form
from bpfree.report.answer import SMALL_SAMPLE
from bpfree.report.comparison import Again, Comparisons, Finding, Key, Side, listed
from bpfree.report.metric import Metric
from bpfree.report.summary import Method, imported
from bpfree.statistics import Comparison

METRIC = "test metric"
QUANTITIES: dict[str, tuple[Callable[[Method], Comparison | None], str, str]] = {
    METRIC: (lambda m: m.metric_difference, "higher", "lower"),
    "energy": (lambda m: m.energy_ratio, "higher", "lower"),
    "time": (lambda m: m.factors.get("time"), "longer", "shorter"),
}
"""What is said of the runs of two studies, and how."""
WORDS = {
    ("energy", "lower"): "less", ("energy", "higher"): "more",
    ("accuracy", "lower"): "less accurate", ("accuracy", "higher"): "more accurate",
}  # fmt: skip
ORDER = ("holds", "opposite", "only", "shown")
"""Of the verdicts, by how they begin; those that are none come last."""
FEW = 4
"""Settings that a sentence names; the table has all of them."""


def sentences(found: Comparisons) -> list[str]:
    """The answer: does what the first study found hold in the others, and are their runs alike?"""
    roles = listed([f"{side.letter} is {side.name}" for side in found.sides])
    text = [f"{roles}; {found.sides[0].letter} is the reference."]
    metrics = dict.fromkeys(f.what for f in found.findings if f.what != "energy")
    text += [line for what in ("energy", *metrics) if (line := carrying(found, what))]
    if not found.findings:
        text.append("No comparison with a baseline is in two of them, so that no finding can be held against another.")
    for side in found.sides[1:]:
        text += runs_of(side, found)
    return text + caution(found)


def carrying(found: Comparisons, what: str) -> str:
    """Which findings hold where."""
    groups: dict[str, list[str]] = {}
    for f in found.findings:
        if f.what == what:
            groups.setdefault(f.verdict, []).append(directed(f, found))
    ranked = sorted(groups, key=lambda verdict: [verdict.startswith(word) for word in ORDER], reverse=True)
    parts = [f"{verdict} for {listed(groups[verdict])}" for verdict in ranked]
    head = "energy" if what == "energy" else f"test {what}"
    return f"A difference in {head} to the baseline: {'; '.join(parts)}." if parts else ""


def directed(finding: Finding, found: Comparisons) -> str:
    """A method, and which way its findings point."""
    ways = {c.verdict for c in finding.found.values() if c and c.verdict != "no difference shown"}
    name = called(finding.key, found)
    if not finding.verdict.startswith(("holds", "only", "opposite")):
        return name
    figures = [f"{letter} {figure(c, finding.metric)}" for letter, c in finding.found.items() if c]
    said = [WORDS.get((finding.what, way), way) for way in ways]
    way = f"{said[0]}: " if len(said) == 1 else ""
    return f"{name} ({way}{', '.join(figures)})"


def figure(c: Comparison, metric: Metric) -> str:
    """An estimate with its interval."""
    estimate, bounds = form.times(c) if c.kind == "ratio" else metric.difference(c)
    return f"{estimate} [{bounds}]"


def called(key: Key, found: Comparisons) -> str:
    """A method, with its workload where there are several."""
    return f"{found.names[key]} on {key[0]}" if len(found.workloads) > 1 else found.names[key]


def runs_of(side: Side, found: Comparisons) -> list[str]:
    """The runs of a further study against those that it shares with an earlier one."""
    here = [pair for pair in found.again if pair.other is side]
    if not here:
        return [f"{side.letter} has no method in common with the others."]
    those = listed(list(dict.fromkeys(pair.first.letter for pair in here)))
    text = [f"{side.letter}’s runs against {those}’s: {counts(here)}"]
    if changed := altered(here, found):
        text[0] += f" Not trained alike, so that these are other runs and no re-runs: {changed}."
    for alike, head in ((True, "the re-runs"), (False, "these other runs")):
        if pairs := [pair for pair in here if bool(pair.settings) != alike]:
            text.append(f"Of {head}, {'; '.join(shifts(pairs, side, found))}.")
    return text


def counts(here: Sequence[Again]) -> str:
    """How many pairs there are, and how many are equal."""
    pairs, identical = sum(pair.pairs for pair in here), sum(pair.identical for pair in here)
    methods = f"{len(here)} method{'s' if len(here) > 1 else ''}"
    if not pairs:
        return f"{methods}, not paired, since the seeds are not the same."
    unpaired = sum(not pair.pairs for pair in here)
    rest = f", {unpaired} of them without a pair" if unpaired else ""
    text = f"{pairs} pair{'' if pairs == 1 else 's'} of equal seeds, of {methods}{rest}"
    return f"{text}; of {identical or 'none'} of them all metrics are equal to the last bit."


def altered(here: Sequence[Again], found: Comparisons) -> str:
    """Which settings differ, those that many methods share said once."""
    groups: dict[str, list[str]] = {}
    for pair in here:
        if pair.settings:
            fields = [field.partition(":")[0] for field in pair.settings]
            rest = [f"{len(fields) - FEW} more"] if len(fields) > FEW else []
            groups.setdefault(listed([*fields[:FEW], *rest]), []).append(called(pair.key, found))
    return "; ".join(f"{listed(names)} (in {fields})" for fields, names in groups.items())


def shifts(here: Sequence[Again], side: Side, found: Comparisons) -> list[str]:
    """For each quantity, of which methods it is shown to differ."""
    text = []
    for what, (compared, up, down) in QUANTITIES.items():
        known = [(pair, c) for pair in here if (c := compared(pair.method))]
        word = "modelled energy" if what == "energy" and modelled([pair for pair, _ in known]) else what
        if what == METRIC:
            word = f"test {listed(list(dict.fromkeys(pair.method.metric.words for pair, _ in known)))}"
        parts = []
        for verdict, adjective in (("higher", up), ("lower", down)):
            names = [
                f"{called(pair.key, found)} ({figure(c, pair.method.metric)})"
                for pair, c in known
                if c.verdict == verdict
            ]
            parts += [f"{adjective} in {side.letter} for {listed(names)}"] if names else []
        if known:
            text.append(f"{word} is {' and '.join(parts)}" if parts else f"{word} shows no difference")
        elif what != METRIC:
            text.append(f"{word} is not compared")
    return text


def modelled(here: Sequence[Again]) -> bool:
    """Whether energies are CPU seconds times a power."""
    return any(r.cost and r.cost.joules_quality == "modelled" for pair in here for r in pair.method.completed)


def caution(found: Comparisons) -> list[str]:
    """How far to trust it."""
    seeds = [c.n for f in found.findings for c in f.found.values() if c] + [p.pairs for p in found.again if p.pairs]
    small = bool(seeds) and min(seeds) < SMALL_SAMPLE
    wrong = form.level(1 - found.confidence)
    known = [p.method for p in found.again] + [m for side in found.sides for m in side.methods.values()]
    text = [
        f"Over all differences to the baseline together, in all studies, false claims are held to {wrong} (Holm); what "
        f"is said of runs, and of the size of an effect, is at {wrong} each for itself."
        + (" Accuracies are in points." if any(m.accuracy_difference for m in known) else "")
    ]
    for side in found.sides:
        done = sum(record.final for record in side.summary.records)
        if done < side.summary.planned:
            text.append(f"{side.letter} is not finished: {done} of {side.summary.planned} final runs are done.")
    text += [f"Some figures are from {min(seeds)} seeds or pairs: small effects stay hidden."] if small else []
    if modelled([pair for pair in found.again if pair.method.energy_ratio]):
        text.append(
            "Modelled joules are CPU seconds times a fixed power: between two machines their ratio is one of CPU time "
            "and of two assumptions."
        )
    return text


def findings(found: Comparisons) -> list[str]:
    """Where the size of an effect differs between studies, whether or not both show it."""
    text = []
    for f in found.findings:
        for letter, c in f.carried.items():
            if c and c.verdict != "no difference shown":
                what = "energy ratio" if f.what == "energy" else f"{f.what} difference"
                first = next(iter(f.found))
                text.append(
                    f"{called(f.key, found)}: {letter}’s {what} is {c.verdict} than {first}’s, {figure(c, f.metric)}."
                )
    return text


def alone(found: Comparisons) -> list[str]:
    """What a study has that no other has: methods, and seeds of shared methods."""
    text = []
    for side in found.sides:
        groups: dict[str, list[str]] = {}
        for key, method in side.methods.items():
            others = [s.methods[key] for s in found.sides if s is not side and key in s.methods]
            if not others:
                groups.setdefault(key[0], []).append(f"{form.title(key[1])} ({key[2]})")
            elif not any(imported(m.records) for m in (method, *others)):  # whose seeds are their own
                theirs = {record.spec.seed for m in others for record in m.completed}
                seeds = sorted({record.spec.seed for record in method.completed} - theirs)
                which = f"seed{'s' if len(seeds) > 1 else ''} {listed([str(seed) for seed in seeds])}"
                text += [f"{side.letter}: {called(key, found)}, {which}"] if seeds else []
        text += [f"{side.letter}: {listed(names)} on {workload}" for workload, names in groups.items()]
    return text
