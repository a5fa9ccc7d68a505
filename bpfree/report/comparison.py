"""Studies against each other: their runs paired seed by seed, and whether what one finds the other finds too.

The first study is the reference. Runs are of one kind where workload, form of the algorithm and optimizer are equal;
they are paired by seed, or compared by Welch's interval where a study's runs were made elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from bpfree.errors import RequestError
from bpfree.records import Record
from bpfree.report import calibration, form
from bpfree.report.comparison_settings import conditions, differing, settings
from bpfree.report.drawing import SERIES
from bpfree.report.metric import Metric
from bpfree.report.quantities import joules_of
from bpfree.report.summary import Method, Summary, adjust, censored, compare, energy_quality, summarise
from bpfree.results import ResultsFolder
from bpfree.statistics import Comparison, Kind, contrast, difference, ratio
from bpfree.targets import TARGETS

MOST = len(SERIES)
"""Studies on a page: each has a colour."""

Key = tuple[str, str, str]
"""Workload, form of the algorithm, optimizer."""


@dataclass(frozen=True)
class Side:
    """One of the studies that are compared."""

    letter: str
    summary: Summary
    methods: dict[Key, Method]
    """Those that have a completed run."""

    @property
    def name(self) -> str:
        """Of the study."""
        return str(self.summary.study["name"])


@dataclass(frozen=True)
class Again:
    """A method that two studies trained."""

    key: Key
    first: Side
    other: Side
    method: Method
    """The other's, with the first's in the place of the baseline: what is compared is other against first."""
    pairs: int
    """Seeds that both completed; of unpaired runs none."""
    identical: int
    """Pairs whose metrics are equal to the last bit."""
    settings: list[str]
    """What was trained differently: with any of these it is another run."""
    conditions: list[str]
    """What else was set differently: how it was executed and measured."""
    reason: str
    """Why the energies are not compared, if they are not."""


@dataclass(frozen=True)
class Finding:
    """A method against the baseline, as each study that has both found it."""

    key: Key
    baseline: str
    what: str
    """Energy, or the metric in words."""
    metric: Metric
    found: dict[str, Comparison | None]
    """By the study's letter."""
    quality: dict[str, str]
    """Of each study's energies, in the finding of energies."""
    carried: dict[str, Comparison | None]
    """Each further study's against the first's: ratio of ratios, or difference of differences."""

    @property
    def heading(self) -> str:
        """What it is of."""
        return "energy ratio" if self.what == "energy" else self.metric.difference_heading(f"test {self.what}")

    def printed(self, c: Comparison | None) -> tuple[str, str]:
        """A comparison, and its interval."""
        return form.times(c) if self.what == "energy" else self.metric.difference(c)

    @property
    def verdict(self) -> str:
        """Whether it carries over."""
        known = {letter: c for letter, c in self.found.items() if c}
        if len(known) < 2:
            return f"not known in {listed([letter for letter in self.found if letter not in known])}"
        if len({self.quality[letter] for letter in known}) > 1:
            return f"not the same energy ({', '.join(f'{self.quality[letter]} in {letter}' for letter in known)})"
        if single := [letter for letter, c in known.items() if c.low is None]:
            return f"no interval in {listed(single)}"
        shown = [letter for letter, c in known.items() if c.verdict != "no difference shown"]
        if len({known[letter].verdict for letter in shown}) > 1:
            return "opposite"
        two = len(self.found) == 2
        if not shown:
            return "shown in neither" if two else "shown in none"
        if len(shown) == len(known):
            return "holds in both" if two else f"holds in {listed(shown)}"
        return f"only in {listed(shown)}"


@dataclass(frozen=True)
class Comparisons:
    """All that a page says of several studies."""

    sides: list[Side]
    confidence: float
    again: list[Again]
    findings: list[Finding]
    family: int
    """How many intervals Holm's procedure holds to the confidence together: those of the findings."""
    names: dict[Key, str] = field(default_factory=dict)
    """What each method is called on the page."""

    @property
    def workloads(self) -> list[str]:
        """Those that two studies share."""
        return list(dict.fromkeys(again.key[0] for again in self.again))


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def load(paths: Sequence[Path]) -> Comparisons:
    """The comparison of several results folders.

    Raises
    ------
    RequestError
        A study is named twice or is a copy of another, one is a calibration, or no two have a method in common.
    WorldError
        A folder is not a study's, or has no final run yet.
    """
    if len(paths) > MOST:
        raise RequestError(f"{len(paths)} studies are too many for one page: compare at most {MOST}")
    for i, path in enumerate(paths):
        if path.resolve() in [earlier.resolve() for earlier in paths[:i]]:
            raise RequestError(f"{path} is named twice: name studies that differ, or folders that do")
        if calibration.is_calibration(ResultsFolder(path)):
            raise RequestError(f"{path} is a calibration: only studies are compared with each other")
    sides = [side(letter, path) for letter, path in zip(ascii_uppercase, paths, strict=False)]
    confidence = sides[0].summary.confidence
    keys = shared(sides)
    if not keys:
        raise RequestError(
            f"{listed([s.name for s in sides])} have no completed run of the same workload, algorithm and optimizer: "
            "there is nothing to compare"
        )
    again = [pair for key in keys for pair in pairs_of(key, sides, confidence)]
    refuse_copies(again)
    both = [(key, those) for key in keys if len(those := holders(key, sides, baselines=True)) > 1]
    family = [s.methods[key] for key, those in both for s in those]
    adjust(family, confidence)
    return Comparisons(
        sides=sides,
        confidence=confidence,
        again=again,
        findings=[finding for key, those in both for finding in findings_of(key, those, confidence)],
        family=sum(c is not None for m in family for c in (m.metric_difference, m.energy_ratio)),
        names=names(keys),
    )


def side(letter: str, path: Path) -> Side:
    """A study, read."""
    summary = summarise(path)
    methods = {(w.name, m.label, m.optimizer): m for w in summary.workloads for m in w.methods if m.completed}
    return Side(letter, summary, methods)


def shared(sides: Sequence[Side]) -> list[Key]:
    """What at least two studies have, workload by workload."""
    keys = list(dict.fromkeys(key for s in sides for key in s.methods if len(holders(key, sides)) > 1))
    workloads = list(dict.fromkeys(key[0] for key in keys))
    return sorted(keys, key=lambda key: workloads.index(key[0]))


def holders(key: Key, sides: Sequence[Side], *, baselines: bool = False) -> list[Side]:
    """The studies that have a method; with a baseline to it, the first's and those that have the same."""
    found = [s for s in sides if key in s.methods]
    if not baselines:
        return found
    against = {s.letter: r for s in found if (r := s.methods[key].reference) and r.completed}
    same = [s for s in found if s.letter in against]
    return [s for s in same if named(against[s.letter]) == named(against[same[0].letter])]


def named(method: Method) -> tuple[str, str]:
    """What tells the methods of a workload apart."""
    return method.label, method.optimizer


def names(keys: Sequence[Key]) -> dict[Key, str]:
    """Titles of methods; with the optimizer where a form has several on a workload."""
    forms = [key[:2] for key in keys]
    return {
        key: form.title(key[1] if forms.count(key[:2]) == 1 else f"{key[1]}, {key[2]}")
        for key in keys
    }  # fmt: skip


def pairs_of(key: Key, sides: Sequence[Side], confidence: float) -> list[Again]:
    """Each further study's runs of a method against those of the first that has it."""
    first, *others = holders(key, sides)
    return [pair(key, first, other, confidence) for other in others]


def pair(key: Key, first: Side, other: Side, confidence: float) -> Again:
    """The runs of a method in two studies."""
    ours, theirs = first.methods[key], other.methods[key]
    both = replace(theirs, reference=ours, metric_difference=None, energy_ratio=None, factors={})
    both.censored = censored(both, TARGETS.get(key[0]))
    reason = why_not(first, other, ours, theirs)
    quality = energy_quality([theirs]) if not reason else "absent"
    compare(both, quality, confidence)
    seeds = {r.spec.seed: r for r in ours.completed}
    matched = [] if both.unpaired else [(seeds[s], r) for r in theirs.completed if (s := r.spec.seed) in seeds]
    before, after = (
        ([r for r, _ in matched], [r for _, r in matched]) if matched else (ours.completed, theirs.completed)
    )
    return Again(
        key=key,
        first=first,
        other=other,
        method=both,
        pairs=len(matched),
        identical=sum(figures(a) == figures(b) for a, b in matched),
        settings=differing(before, after, settings),
        conditions=differing(before, after, conditions),
        reason=both.censored or reason,
    )


def figures(record: Record) -> dict[str, Any]:
    """All metrics of a run; what the workload's is called, older records do not say."""
    return record.metrics.model_dump(exclude={"metric", "higher_is_better"})


def why_not(first: Side, other: Side, ours: Method, theirs: Method) -> str:
    """Why the energies of two studies' runs cannot be compared; empty where they can."""
    qualities = [energy_quality([m]) for m in (ours, theirs)]
    boundaries = [listed(sorted({c for r in m.completed if r.cost for c in r.cost.boundary})) for m in (ours, theirs)]
    for what in (qualities, boundaries):
        if what[0] != what[1]:
            return f"{what[0]} in {first.letter}, {what[1]} in {other.letter}"
    return "" if qualities[0] in ("measured", "modelled") else f"{qualities[0]} in both"


def refuse_copies(again: Sequence[Again]) -> None:
    """Refuse a folder that holds records of another: a copied run is no second one.

    Raises
    ------
    RequestError
        Two studies share a record.
    """
    for pair in again:
        ours = {record.id: record for record in pair.first.methods[pair.key].records}
        if any(record == ours.get(record.id) for record in pair.method.records):
            raise RequestError(
                f"{pair.first.letter} ({pair.first.name}) and {pair.other.letter} ({pair.other.name}) hold the same "
                "records: one is a copy of the other, in part or whole, and a copy is no second run"
            )


def findings_of(key: Key, those: Sequence[Side], confidence: float) -> list[Finding]:
    """What studies found of a method against their baseline."""
    methods = {s.letter: s.methods[key] for s in those}
    first = methods[those[0].letter]
    assert first.reference
    baseline = form.title(first.reference.label)
    quality = {letter: energy_quality([m, m.reference] if m.reference else [m]) for letter, m in methods.items()}
    same = dict.fromkeys(methods, "")
    others = {letter: m for letter, m in methods.items() if m is not first}

    def energies(m: Method, letter: str) -> Comparison | None:
        alike = quality[letter] == quality[those[0].letter] and m.energy_ratio and first.energy_ratio
        return carry(first, m, joules_of, "ratio", confidence) if alike else None

    found: list[Finding] = []
    if any(m.energy_ratio for m in methods.values()):
        ratios = {letter: m.energy_ratio for letter, m in methods.items()}
        carried = {letter: energies(m, letter) for letter, m in others.items()}
        found.append(Finding(key, baseline, "energy", first.metric, ratios, quality, carried))
    if metric := next((m.metric for m in methods.values() if m.metric_difference), None):
        # Older records may not name theirs, and nothing is compared with another.
        alike = {letter: m for letter, m in methods.items() if m.metric == metric}
        differences = {letter: m.metric_difference if letter in alike else None for letter, m in methods.items()}
        carried = {
            letter: carry(first, m, metric.of, "difference", confidence) if m.metric == first.metric == metric else None
            for letter, m in others.items()
        }
        found.append(Finding(key, baseline, metric.words, metric, differences, same, carried))
    return found


def carry(
    first: Method, other: Method, figure: Callable[[Record], float | None], kind: Kind, confidence: float
) -> Comparison | None:
    """The other study's comparison with the baseline against the first's: of seeds that all four share, if paired."""
    if not first.unpaired and not other.unpaired:
        (_, ours), (_, theirs) = terms(first, figure, kind)[0], terms(other, figure, kind)[0]
        return ratio(theirs, ours, confidence) if kind == "ratio" else difference(theirs, ours, confidence)
    minus = [(-sign, values) for sign, values in terms(first, figure, kind)]
    return contrast([*terms(other, figure, kind), *minus], kind, confidence)


def terms(method: Method, figure: Callable[[Record], float | None], kind: Kind) -> list[tuple[int, dict[int, float]]]:
    """A comparison with the baseline as signed samples: one of pairs, or two where the runs were made elsewhere."""
    assert method.reference
    ours, theirs = method.values(figure), method.reference.values(figure)
    if method.unpaired:
        return [(1, ours), (-1, theirs)]
    seeds = ours.keys() & theirs.keys()
    if kind == "ratio":
        return [(1, {seed: ours[seed] / theirs[seed] for seed in seeds})]
    # Accuracies are multiples of one over the test set's size: what rounding leaves of equal differences is no effect.
    return [(1, {seed: round(ours[seed] - theirs[seed], 12) for seed in seeds})]
