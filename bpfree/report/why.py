"""Why, not only how much: what the records say of the reasons that are given for accuracy and for cost.

The Mono-Forward paper explains its accuracy by "a more favourable minimum of the validation loss" (arXiv 2501.09238).
Validation loss is the workload's loss of a method's scores, one function for all, of a classifier the cross-entropy of
their softmax. It says something of two methods only where both train their scores by it: a goodness, or a sum of
scores, is on a scale of its own.
"""

from collections.abc import Callable, Sequence
from statistics import fmean as mean
from typing import Any

import altair as alt

from bpfree.records import Evaluation, Record
from bpfree.report import form
from bpfree.report.curves import mean_curve, thinned
from bpfree.report.drawing import HEIGHT, WIDTH, Figure, chart_data, render, scale
from bpfree.report.quantities import flops_per_second, limit_per_step, own_evaluations, seconds_per_step
from bpfree.report.summary import Method, Workload
from bpfree.statistics import Comparison, mean_interval

SUPPORTED, CONTRADICTED, NOT_SHOWN = "supported", "contradicted", "not shown"
NOT_JUDGED = "not judged: another scale"
COSTS = ("speed", "peak", "patience", "idle")
EXPLAINED = "mono_forward"
"""The algorithm whose accuracy was explained so."""


def trains_cross_entropy(record: Record) -> bool:
    """Whether the scores that the run is validated by are trained by their cross-entropy."""
    knobs = record.spec.hyperparameters
    prediction = knobs.get("prediction")
    return {
        "backprop": True,
        "deep_supervision": True,
        "mono_forward": prediction != "sum",
        "cascaded_forward": prediction in ("probabilities", "last") and knobs.get("loss") == "cross_entropy",
        "forward_forward": prediction == "readout",
    }.get(record.spec.algorithm, False)


def one_loss(record: Record) -> bool:
    """Whether the training loss in the history is the loss of the same prediction, so that a gap means something."""
    last = record.spec.algorithm == "mono_forward" and record.spec.hyperparameters.get("prediction") == "last"
    return record.spec.algorithm == "backprop" or last


def lowest(record: Record) -> tuple[float, Evaluation] | None:
    """The lowest validation loss by the method's own prediction, and where it was."""
    found = [(e.validation_loss, e) for e in own_evaluations(record) if e.validation_loss is not None]
    return min(found, key=lambda pair: pair[0]) if found else None


def lowest_loss(record: Record) -> float | None:
    """The lowest validation loss."""
    found = lowest(record)
    return found[0] if found else None


def lowest_epoch(record: Record) -> float | None:
    """Passes up to the lowest validation loss."""
    found = lowest(record)
    return found[1].epoch if found else None


def gap(record: Record) -> float | None:
    """Validation less training loss in the epoch of the lowest validation loss."""
    found = lowest(record)
    if found is None or found[1].train_loss is None or not one_loss(record):
        return None
    return found[0] - found[1].train_loss


def share_of_peak(record: Record) -> float | None:
    """Achieved FLOP/s over the device's best, validation included."""
    limit, step = limit_per_step(record), seconds_per_step(record)
    return limit / step if limit and step else None


def idle_share(record: Record) -> float | None:
    """What the device would have taken at rest, of the joules of the window; of measured energy alone."""
    cost = record.cost
    if cost is None or cost.joules_quality != "measured" or not cost.train_joules or cost.idle_watts is None:
        return None
    return cost.idle_watts * cost.train_seconds / cost.train_joules


def stage_metrics(m: Method) -> list[tuple[str, float]]:
    """The best validation metric of each stage with the blocks trained so far: mean over the seeds."""
    best: dict[str, list[float]] = {}
    for record in m.completed:
        own = list(own_evaluations(record))
        for name in dict.fromkeys(e.stage for e in own):
            best.setdefault(name, []).append(max(e.validation_metric for e in own if e.stage == name))
    return [(name, mean(values)) for name, values in best.items()] if len(best) > 1 else []


def block_metrics(m: Method) -> list[float]:
    """The test metric by each block's own prediction: mean over the seeds that trained as many blocks as the most."""
    runs = [r.metrics.test_metric_by_block for r in m.completed if r.metrics]
    blocks = max(map(len, runs), default=0)
    return [mean(values) for values in zip(*(run for run in runs if len(run) == blocks), strict=True)]


def comparison(m: Method, confidence: float) -> Comparison | None:
    """The difference of the lowest validation loss to the baseline, where both train their scores by it."""
    if m.reference is None or not all(map(trains_cross_entropy, [*m.completed, *m.reference.completed])):
        return None
    difference_of, _ = m.tests
    return difference_of(m.values(lowest_loss), m.reference.values(lowest_loss), confidence)


def verdict(m: Method, c: Comparison | None) -> str:
    """Whether the runs bear out that the method finds a more favourable minimum of the validation loss."""
    if m.reference is None:
        return form.ABSENT
    if c is None:
        return NOT_JUDGED
    return {"lower": SUPPORTED, "higher": CONTRADICTED}.get(c.verdict, NOT_SHOWN)


def section(workload: Workload, confidence: float) -> dict[str, Any] | None:
    """What the page shows of it: rows, sentences, and which columns any record fills; None where none does."""
    losses, costs = loss_rows(workload, confidence), cost_rows(workload)
    filled = {name for row in [*losses, *costs] for name, text in row.items() if text not in ("", (form.ABSENT, ""))}
    if not filled & {"loss", *COSTS}:
        return None
    return {"losses": losses, "costs": costs, "filled": filled, "sentences": sentences(workload, confidence)}


def loss_rows(workload: Workload, confidence: float) -> list[dict[str, Any]]:
    """A line a method about the losses; none where no history holds one."""
    methods = [m for m in workload.methods if m.accuracy and m.values(lowest_loss)]
    return [loss_row(m, confidence) for m in methods]


def loss_row(m: Method, confidence: float) -> dict[str, Any]:
    """A method's line: how low its validation loss got, where, and what that is beside the baseline's."""

    def interval(figure: Callable[[Record], float | None]) -> tuple[str, str]:
        values = list(m.values(figure).values())
        return form.interval(mean_interval(values, confidence) if values else None, signed=True)

    c = comparison(m, confidence)
    return {
        "name": form.title(m.name),
        "loss": interval(lowest_loss),
        "epoch": form.number(mean(m.values(lowest_epoch).values())),
        "gap": interval(gap),
        "stages": "; ".join(
            f"{name}: {form.percent(value)}".replace(" ", "\u00a0") for name, value in stage_metrics(m)
        ),
        "blocks": ", ".join(map(form.percent, block_metrics(m))),
        "difference": form.gap(c),
        "verdict": verdict(m, c),
    }


def cost_rows(workload: Workload) -> list[dict[str, str]]:
    """A line a method about what its cost consists of."""
    return [cost_row(m) for m in workload.methods if m.completed]


def cost_row(m: Method) -> dict[str, str]:
    """Achieved rate, its share of the device's best, patience and idling; empty is what no record tells."""

    def share(values: Sequence[float]) -> str:
        return form.percent(mean(values), 1) if values else ""

    rates = list(m.values(flops_per_second).values())
    return {
        "name": form.title(m.name),
        "speed": form.digits(mean(rates) / 1e9) if rates else "",
        "peak": share(list(m.values(share_of_peak).values())),
        "patience": share([] if m.patience_share is None else [m.patience_share]),
        "idle": share(list(m.values(idle_share).values())),
    }


def sentences(workload: Workload, confidence: float) -> list[str]:
    """What these runs say of the paper's explanation, for each form of the method that it is of."""
    found = []
    for m in workload.methods if workload.metric.is_accuracy else []:  # it is of classifiers
        explained = m.completed and m.completed[0].spec.algorithm == EXPLAINED and m.values(lowest_loss)
        if explained and m.reference and m.reference.values(lowest_loss):
            c = comparison(m, confidence)
            text, bounds = form.gap(c)
            claim = f"{form.title(m.name)} finds a more favourable minimum of the validation loss"
            figures = f"lowest loss against {form.title(m.reference.name)} {text}; {bounds}"
            found.append(
                f"That {claim} is {verdict(m, c)} by these runs ({figures})."
                if c
                else f"Whether {claim} is not judged: its scores, or the baseline’s, are on another scale."
            )
    return found


def losses_by_epoch(workload: Workload) -> Figure | None:
    """Mean validation loss over epochs of the methods whose scores are trained by it."""
    methods = [m for m in workload.methods if m.accuracy and all(map(trains_cross_entropy, m.completed))]
    drawn: list[dict[str, Any]] = []
    for m in methods:
        runs = [points for r in m.completed if (points := loss_curve(r))]
        means = list(mean_curve(runs).values()) if runs else []
        drawn += [{"method": form.title(m.name), "epoch": x, "loss": y} for x, y in thinned(means)]
    if not drawn:
        return None
    ordered = sorted(row["loss"] for row in drawn)
    low, high = ordered[0], ordered[-1 - len(drawn) // 20]
    domain = [low - 0.05 * (high - low), high] if low < high else alt.Undefined
    x = alt.X("epoch:Q", title="passes over the training set", axis=alt.Axis(tickMinStep=1, format="d"))
    chart = (
        alt.Chart(chart_data(drawn))
        .mark_line(strokeWidth=2.5, clip=True)
        .encode(
            x=x.scale(domainMin=0),
            y=alt.Y("loss:Q", title="validation loss", scale=alt.Scale(zero=False, domain=domain)),
            color=scale(methods),
        )
        .properties(width=WIDTH, height=HEIGHT)
    )
    return render(
        f"{workload.name}-losses-by-epoch",
        "Validation loss by epoch",
        "Means over the seeds, at each epoch that every seed reached, of the cross-entropy of the method’s own "
        "prediction. Methods whose scores are not trained by it are left out; the highest twentieth is cut off.",
        chart,
    )


def loss_curve(record: Record) -> dict[int, tuple[float, float]]:
    """A run's validation loss by epoch."""
    found = own_evaluations(record)
    return {e.epoch: (e.epoch, e.validation_loss) for e in found if e.validation_loss is not None}
