"""Claims held to the figures: supported, contradicted, not shown, or not testable here.

A claim is *supported* where the whole interval lies inside its bound, *contradicted* where it lies wholly outside, else
*not shown*. One made at equal accuracy needs both: the accuracy's interval above minus the margin. Accuracy differences
and energy ratios are judged by their intervals of the study's family, all else at the study's confidence. Energy
that is modelled tests nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from bpfree.claims import Claim
from bpfree.records import Record
from bpfree.report import form
from bpfree.report.quantities import accuracy_of, co2e_grams_of, joules_of, seconds_of, steps_of
from bpfree.report.summary import Method, Summary, Workload
from bpfree.statistics import Comparison

FAMILY: dict[tuple[str, str], Callable[[Method], Comparison | None]] = {
    ("accuracy", "difference"): lambda m: m.accuracy_difference,
    ("energy", "ratio"): lambda m: m.energy_ratio,
}
"""What is held to the study's level together; other figures are judged each for itself, and the verdict says so."""
Verdict = Literal["supported", "contradicted", "not shown", "not testable here"]


@dataclass(frozen=True)
class Judgement:
    """A claim, what was measured for it, and the verdict."""

    claim: Claim
    verdict: Verdict
    reason: str = ""
    """Why it cannot be tested, or what else keeps it from being shown."""
    measured: Comparison | None = None

    @property
    def published_inside(self) -> bool | None:
        """Whether the published size lies in the measured interval; None where one of the two is missing."""
        published, c = self.claim.published, self.measured
        if published is None or c is None or c.low is None or c.high is None:
            return None
        return c.low <= published <= c.high


def co2e_kilograms_of(record: Record) -> float | None:
    """Emissions of the training window."""
    grams = co2e_grams_of(record)
    return None if grams is None else grams / 1000


def bytes_of(record: Record) -> float | None:
    """Peak memory: of the device's allocator on a GPU, of the fresh process on a CPU."""
    cost = record.cost
    return (cost.peak_device_bytes or cost.peak_host_bytes) if cost else None


FIGURES: dict[str, Callable[[Record], float | None]] = {
    "accuracy": accuracy_of,
    "energy": joules_of,
    "time": seconds_of,
    "steps": steps_of,
    "co2e": co2e_kilograms_of,
    "memory": bytes_of,
}
NAMES = {name: name for name in FIGURES} | {"co2e": "CO2e"}
UNITS = {"energy": "J", "time": "s", "steps": "steps", "co2e": "kg", "memory": "bytes"}


def judgements(summary: Summary) -> list[Judgement]:
    """Of every claim of the study, in its order."""
    workloads = {workload.name: workload for workload in summary.workloads}
    claims = [Claim.model_validate(entry) for entry in summary.study.get("claims", [])]
    return [judge(claim, workloads[claim.workload], summary.confidence) for claim in claims]


def judge(claim: Claim, workload: Workload, confidence: float) -> Judgement:
    """One claim on its workload."""
    here = [m for m in workload.methods if m.label == claim.algorithm and claim.optimizer in (m.optimizer, None)]
    method = here[0]  # the study's file names it and its optimizer unambiguously
    untestable = obstacle(claim, method, workload)
    if untestable:
        return Judgement(claim, "not testable here", untestable)
    measured = comparison(claim, method, confidence)
    if measured is None:
        return Judgement(claim, "not testable here", unknown(claim, method))
    verdict, reason = verdict_of(measured, claim.at_most, claim.at_least), ""
    if measured.low is None:
        reason = "one seed gives no interval"
    elif (claim.metric, claim.statistic) not in FAMILY:
        reason = "judged for itself"
    if claim.accuracy_margin is not None:
        accuracy = method.accuracy_difference
        equal: Verdict = "not shown" if accuracy is None else verdict_of(accuracy, None, -claim.accuracy_margin)
        verdict, reason = both(verdict, equal), "; ".join(filter(None, (reason, f"equal accuracy is {equal}")))
    return Judgement(claim, verdict, reason, measured)


def obstacle(claim: Claim, method: Method, workload: Workload) -> str:
    """Why a claim cannot be tested with these runs, or nothing."""
    if not method.completed or method.reference is None or not method.reference.completed:
        return "a run of the method or of the baseline is missing"
    if claim.metric in ("energy", "co2e") and workload.quality != "measured":
        return {"modelled": "the energy is modelled, not measured", "mixed": workload.note}.get(
            workload.quality, "no energy was measured"
        )
    return method.censored if claim.metric != "accuracy" else ""


def unknown(claim: Claim, method: Method) -> str:
    """Why runs that were made have no such figure."""
    if claim.metric == "co2e" and method.joules:
        return "no emissions are known: name a country in the study’s [measurement]"
    return f"the {NAMES[claim.metric]} of these runs {'are' if claim.metric == 'steps' else 'is'} not known"


def comparison(claim: Claim, method: Method, confidence: float) -> Comparison | None:
    """The figure that a claim is about; those of the study's family at their level in it."""
    if of_family := FAMILY.get((claim.metric, claim.statistic)):
        return of_family(method)
    assert method.reference is not None
    difference_of, ratio_of = method.tests
    compare = ratio_of if claim.statistic == "ratio" else difference_of
    figure = FIGURES[claim.metric]
    return compare(method.values(figure), method.reference.values(figure), confidence)


def verdict_of(c: Comparison, at_most: float | None, at_least: float | None) -> Verdict:
    """Where an interval lies against a bound."""
    if c.low is None or c.high is None:
        return "not shown"
    if at_most is not None:
        return "supported" if c.high <= at_most else "contradicted" if c.low > at_most else "not shown"
    assert at_least is not None
    return "supported" if c.low >= at_least else "contradicted" if c.high < at_least else "not shown"


def both(one: Verdict, other: Verdict) -> Verdict:
    """The verdict on two conditions that must hold together."""
    if "contradicted" in (one, other):
        return "contradicted"
    return "supported" if one == other == "supported" else "not shown"


def rows(summary: Summary) -> list[dict[str, Any]]:
    """A line a claim."""
    return [row(judgement) for judgement in judgements(summary)]


def row(judgement: Judgement) -> dict[str, Any]:
    """A claim's line."""
    claim, c, inside = judgement.claim, judgement.measured, judgement.published_inside
    sign, bound = ("≥", claim.at_least) if claim.at_most is None else ("≤", claim.at_most)
    assert bound is not None
    return {
        "sentence": claim.sentence,
        "of": f"{form.title(claim.algorithm)} on {claim.workload}",
        "source": claim.source,
        "bound": f"{NAMES[claim.metric]} {claim.statistic} {sign} {printed(claim, bound)}",
        "margin": ""
        if claim.accuracy_margin is None
        else f"at most {100 * claim.accuracy_margin:g} points less accurate",
        "published": form.ABSENT if claim.published is None else printed(claim, claim.published),
        "inside": {None: "", True: "inside the interval", False: "outside the interval"}[inside],
        "measured": measured(claim, c),
        "verdict": judgement.verdict,
        "reason": judgement.reason,
    }


def measured(claim: Claim, c: Comparison | None) -> tuple[str, str]:
    """The measured figure, and its interval with its level."""
    if c is None:
        return form.ABSENT, ""
    if c.low is None or c.high is None:
        return printed(claim, c.estimate), form.bounds(c.low, c.high)
    bounds = form.signed_bounds(c.low, c.high) if of_points(claim) else form.bounds(c.low, c.high)
    return printed(claim, c.estimate), f"{bounds} ({form.level(c.confidence)})"


def printed(claim: Claim, value: float) -> str:
    """A figure of a claim with its unit: an accuracy's difference in points with its sign, all else as it is."""
    unit = "×" if claim.statistic == "ratio" else "points" if claim.metric == "accuracy" else UNITS[claim.metric]
    text = form.signed(value) if of_points(claim) and value else form.digits(value)
    return f"{text}\u00a0{unit}"


def of_points(claim: Claim) -> bool:
    """Whether it is about a difference of accuracies."""
    return (claim.metric, claim.statistic) == ("accuracy", "difference")


def sentence(summary: Summary) -> str | None:
    """How many claims stand, in words."""
    verdicts = [judgement.verdict for judgement in judgements(summary)]
    if not verdicts:
        return None
    order: tuple[Verdict, ...] = ("supported", "contradicted", "not shown", "not testable here")
    counts = [f"{verdicts.count(v)} {'is' if verdicts.count(v) == 1 else 'are'} {v}" for v in order if v in verdicts]
    total = len(verdicts)
    return f"Of the {total} claim{'s' if total > 1 else ''} that the study names, {', '.join(counts)}."
