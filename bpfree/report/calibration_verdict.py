"""What a calibration found, in plain sentences. Nothing is claimed that an interval does not show."""

import statistics
from collections.abc import Callable, Sequence

from bpfree.outcomes import CALIBRATED, NAIVE
from bpfree.report import form
from bpfree.report.answer import SMALL_SAMPLE
from bpfree.report.calibration_points import signed
from bpfree.report.calibration_runs import Calibration, title
from bpfree.report.calibration_scores import Board, verdict
from bpfree.statistics import Interval

SMALL_SUITE = 8
"""AlgoPerf has eight workloads."""


def sentences(found: Calibration, board: Board) -> list[str]:
    """Who is ahead of the baseline, and by what standard."""
    name, n, best = found.outcome.baseline, len(found.outcome.workloads), board.steps[CALIBRATED]
    text = (
        f"Calibrated to one setting for all {n} workloads, {title(name)} scores {shown(best.of(name))} and reaches "
        f"{best.hits(name)} of {n} targets; a score of 1 is the fastest of these methods on every workload."
    )
    return [text, standing(found, board)]


def standing(found: Calibration, board: Board) -> str:
    """The others, by what the interval of their difference to the baseline shows."""
    baseline = found.outcome.baseline
    others = [name for name in board.order if name != baseline]
    if not others:
        return "There is no other method."
    verdicts = {name: verdict(board.steps[CALIBRATED].difference(name, baseline)) for name in others}
    if "one seed" in verdicts.values():
        return "From one seed there is no interval, so that nothing is claimed of the others against it."
    groups = [[name for name in others if verdicts[name] == word] for word in ("ahead", "level", "behind")]
    ahead, level, behind = (listed(group) for group in groups)
    return f"Ahead of it: {ahead}. Level with it, no difference being shown: {level}. Behind it: {behind}."


def methods(found: Calibration, board: Board) -> list[str]:
    """Each other method against the baseline."""
    baseline, n, best = found.outcome.baseline, len(found.outcome.workloads), board.steps[CALIBRATED]
    words = {
        "ahead": f"ahead of {title(baseline)}", "behind": f"behind {title(baseline)}",
        "level": f"no difference to {title(baseline)} is shown", "one seed": "nothing is claimed",
    }  # fmt: skip
    rows = []
    for name in board.order:
        if name != baseline:
            d = best.difference(name, baseline)
            rows.append(
                f"{title(name)} scores {shown(best.of(name))} and reaches {best.hits(name)} of {n} targets: "
                f"{words[verdict(d)]}, {signed(d.estimate)}{bracket(d, signed)}."
            )
    return rows


def trust(found: Calibration, board: Board) -> list[str]:
    """What calibration gained and lost, and how far to trust it."""
    return [gained(found, board), lost(found, board), size(found), *energy(found), *incomplete(found)]


def gained(found: Calibration, board: Board) -> str:
    """What calibration gained over the defaults."""
    kept = [m.name for m in found.outcome.methods if m.selected == NAIVE]
    tuned = [name for name in board.order if name not in kept]
    shows = {name: verdict(board.gained[name]) for name in tuned}
    up, down = ([name for name in tuned if shows[name] == word] for word in ("ahead", "behind"))
    same = [name for name in tuned if shows[name] in ("level", "one seed")]
    text = f"Over the published defaults calibration gained, in score: {ranked(up, board.gained)}."
    if down:
        text += f" It lost, with fresh seeds: {ranked(down, board.gained)}."
    if same:
        text += f" No difference is shown for {listed(same)}."
    if kept:
        text += f" No point was better in the table than the defaults of {listed(kept)}."
    naive, calibrated = (
        span([board.steps[kind].hits(m.name) for m in found.outcome.methods]) for kind in (NAIVE, CALIBRATED)
    )
    n = len(found.outcome.workloads)
    return f"{text} With defaults the methods reach {naive} of {n} targets, calibrated {calibrated}."


def lost(found: Calibration, board: Board) -> str:
    """What a setting lost on a workload that it was chosen without."""
    outcome = found.outcome
    moved = [m for m in outcome.methods if any(arm != m.selected for arm in m.left_out.values())]
    if not moved:
        return "Left out one by one, no workload changes any method’s setting: none hangs on a single one."
    mean = statistics.fmean(change.estimate for change in board.lost.values())
    worst = min(moved, key=lambda m: board.lost[m.name].estimate)
    text = (
        f"Scored on each workload by the setting that was chosen without it, the methods change by {signed(mean)} on "
        f"average; {title(worst.name)} comes off worst ({signed(board.lost[worst.name].estimate)})."
    )
    if len(outcome.table_seeds) < 2:
        text += " That is from one seed of the table and has no interval: an indication, no more."
    return text


def size(found: Calibration) -> str:
    """How much stands behind all this."""
    outcome = found.outcome
    n, k, compared = len(outcome.workloads), len(outcome.seeds), len(outcome.methods) - 1
    small = ": a small suite" if n < SMALL_SUITE else ""
    text = f"This is from {n} workloads and {k} fresh seed{'s' if k > 1 else ''} each{small}. "
    if k > 1:
        few = f" {k} seeds are few, and a bootstrap of few seeds is rather too narrow." if k < SMALL_SAMPLE else ""
        text += (
            f"Brackets are {form.level(outcome.confidence)} intervals over seeds: they say nothing of other workloads."
            f"{few} Each is for itself: among {compared} comparisons chance alone may show one."
        )
    return text.strip()


def energy(found: Calibration) -> list[str]:
    """What the joules are."""
    return {
        "measured": [],
        "modelled": [
            "No energy was measured: joules are a model, CPU seconds times a fixed power. Their ratios are ratios of "
            "CPU time."
        ],
        "mixed": ["Some energies are measured and some modelled, so that joules are not compared."],
        "absent": ["The energy of some or all runs is not known, so that joules are not compared."],
    }[found.quality]


def incomplete(found: Calibration) -> list[str]:
    """Final runs that are not there."""
    lacking = found.planned - len(found.finals)
    return [f"{lacking} of {found.planned} final runs have no record here: they count as misses."] if lacking else []


def shown(x: Interval) -> str:
    """A score with its interval."""
    return f"{x.estimate:.3f}{bracket(x, lambda value: f'{value:.3f}')}"


def bracket(x: Interval, text: Callable[[float], str]) -> str:
    """An interval, to stand behind its estimate."""
    return "" if x.low is None or x.high is None else f" ({text(x.low)} to {text(x.high)})"


def listed(names: Sequence[str]) -> str:
    """Some methods, or that there is none."""
    return ", ".join(title(name) for name in names) or "none"


def ranked(names: Sequence[str], changes: dict[str, Interval]) -> str:
    """Methods with their changes, the largest first."""
    ordered = sorted(names, key=lambda name: -abs(changes[name].estimate))
    return ", ".join(f"{title(name)} {signed(changes[name].estimate)}" for name in ordered) or "none"


def span(values: Sequence[int]) -> str:
    """Least and greatest count, or the only one."""
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"
