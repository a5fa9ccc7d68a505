"""How the runs of a report were tuned, stopped and ended, in words made from their records."""

from bpfree.records import TrainingSettings
from bpfree.report.summary import Summary, imported


def sentences(summary: Summary) -> list[tuple[str, str]]:
    """Headings and what they say: tuning, early stopping."""
    if imported(summary.records):
        return [("Tuning, early stopping", imported_runs())]
    return [("Tuning", tuning(summary)), ("Early stopping", stopping(summary))]


def imported_runs() -> str:
    """Of runs made elsewhere."""
    return (
        "The tuning of imported runs is not in their records. Each method had the stopping rule that its source gave "
        "it; the warnings name what differed. Validation is part of the training that is counted."
    )


def tuning(summary: Summary) -> str:
    """Who was tuned, with what budget."""
    methods = [method for workload in summary.workloads for method in workload.methods if method.tuned]
    taken = sorted({m.tuned.taken_from for m in methods if m.tuned and m.tuned.taken_from})
    if taken:
        return f"The settings are those that {', '.join(taken)} tuned; what that cost there is in the tables."
    if not any(m.tuned.trials for m in methods if m.tuned):
        return "Nothing was tuned: every method has the settings that the study gives it, or the defaults."
    return (
        "Every method had a sampler seed of its own and the budget that the ledgers show; where budgets were unequal, "
        "a warning says so. Tuning energy is all of it: set-up and tests of the trials too."
    )


def stopping(summary: Summary) -> str:
    """What ended the runs, and which weights they were tested with."""
    settings = [record.spec.training for record in summary.records]
    if passes := matched_passes(summary):
        given = ", ".join(f"{n} on {name}" for name, n in passes.items())
        return (
            f"None: every method had as many passes over the data as the baseline took at the median ({given}), in "
            f"equal shares for its stages; {weights(settings)}."
        )
    rule = one_rule(settings)
    aims = any(training.target is not None for training in settings)
    text = f"{rule}; {weights(settings)}. The epochs after the best one cost energy too and are counted."
    return f"{text} A run ended as soon as it reached the target." if aims else text


def matched_passes(summary: Summary) -> dict[str, int]:
    """The passes that all methods of a workload were given, where they were matched to the baseline's."""
    found = {}
    for workload in summary.workloads:
        for method in workload.methods:
            if method.tuned and method.tuned.matched_passes is not None:
                found[workload.name] = method.tuned.matched_passes
    return found


def one_rule(settings: list[TrainingSettings]) -> str:
    """The stopping rule, if there was one."""
    rules = {(t.monitor, t.patience, t.min_delta) for t in settings}
    words = {"metric": "the validation metric", "loss": "the validation loss"}
    if len(rules) == 1:
        ((monitor, patience, delta),) = rules
        least = f" by more than {delta:g}" if delta else ""
        return (
            f"One rule for all: a stage ends after {patience} epochs in which {words[monitor]} did not improve{least}"
        )
    watched = " or ".join(sorted({words[monitor] for monitor, _, _ in rules}))
    lengths = sorted({patience for _, patience, _ in rules})
    span = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    return f"The rules differ between the methods: a stage ends after {span} epochs without an improvement of {watched}"


def weights(settings: list[TrainingSettings]) -> str:
    """Which weights a stage ends with."""
    kept = {training.restore for training in settings}
    if kept == {"best"}:
        return "the best weights are restored"
    if kept == {"last"}:
        return "the last weights are kept"
    return "some methods restore their best weights, some keep the last"
