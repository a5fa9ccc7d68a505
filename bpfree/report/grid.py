"""Algorithm by optimizer: the metric in a study that crosses several of both, and what each cost."""

from typing import Any

from bpfree.report import form
from bpfree.report.summary import Method, Workload


def grid(workload: Workload) -> dict[str, Any] | None:
    """A row an algorithm, a column an optimizer; None where a study crosses only one of either."""
    labels = list(dict.fromkeys(m.label for m in workload.methods))
    optimizers = list(dict.fromkeys(m.optimizer for m in workload.methods))
    if len(labels) < 2 or len(optimizers) < 2:
        return None
    table = {(m.label, m.optimizer): m for m in workload.methods}
    rows = [{"name": label, "cells": [cell(table.get((label, o)), table) for o in optimizers]} for label in labels]
    return {"optimizers": optimizers, "rows": rows}


def cell(method: Method | None, table: dict[tuple[str, str], Method]) -> dict[str, Any]:
    """The metric with its interval, what became of runs that did not complete, and whether it is the row's best."""
    if method is None:
        return {"metric": (form.ABSENT, ""), "note": "", "best": False}
    sign = method.metric.sign
    row = [sign * m.test_metric.estimate for (label, _), m in table.items() if label == method.label and m.test_metric]
    lost = len(method.records) - len(method.completed)
    return {
        "metric": method.metric.interval(method.test_metric),
        "note": f"{lost} of {len(method.records)} runs did not complete" if lost else "",
        "best": method.test_metric is not None and sign * method.test_metric.estimate == max(row),
    }
