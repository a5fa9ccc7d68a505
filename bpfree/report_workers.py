"""Processes that share a report's work: they render charts and weigh knobs while the main one does the rest.

They begin before there is anything to do: the renderer and what weighs knobs take a second each to start, in which the
main process reads the records. So this module imports little, and what the processes are given is small.
"""

import atexit
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bpfree.children import belong_to, interrupts_held

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from bpfree.records import KnobRange

Result = TypeVar("Result")
MOST = 4
"""Processes."""
EMPTY = '{"data": {"values": []}, "mark": "point"}'
"""A chart that costs nothing but the renderer's start."""
TREES = 32
"""Of the forest that the knobs are weighed by. Of 60 trials it gives shares with a standard deviation of 0.01 to 0.05
between seeds, half again that of Optuna's 64 trees, in half their time."""


@contextmanager
def workers(weigh: bool) -> Iterator[Executor | None]:
    """One for every core but the main process's, up to a few; none where there is one core.

    `weigh` says whether they will have knobs to weigh.
    """
    count = min(MOST, len(os.sched_getaffinity(0)) - 1)
    if count == 0:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=belong_to, initargs=(os.getpid(),))
    try:
        with interrupts_held(), suppress(BrokenProcessPool):
            for _ in range(count):
                pool.submit(prepare, weigh)
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def begin(pool: Executor | None, task: Callable[..., Result], *given: Any, wait: bool) -> Callable[[], Result]:
    """Have a worker do a task, if there is one; what is returned gives the result.

    This process does the task itself where a worker was killed, and, unless it is to `wait`, where none has begun it.
    """
    here = partial(task, *given)
    if pool is None:
        return here
    try:
        future = pool.submit(task, *given)
    except BrokenProcessPool:
        return here

    def result() -> Result:
        # Not by `cancel`: in Python 3.11 a pool that breaks with a cancelled task in it leaves the others for ever.
        if wait or future.running() or future.done():
            with suppress(BrokenProcessPool):
                return future.result()
        return here()

    return result


def prepare(weigh: bool) -> None:
    """Start the renderer, and import what weighs knobs."""
    atexit.register(os._exit, 0)  # to take down what was imported takes a third of a second
    if weigh:
        import optuna.importance._fanova  # noqa: F401
    svg_of(EMPTY)


def svg_of(chart: str) -> str:
    """A chart in Vega-Lite's words, rendered."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart))


def importances(
    knobs: "Mapping[str, KnobRange]", trials: Sequence[tuple[Mapping[str, Any], float]]
) -> dict[str, float]:
    """How much of the variance between the values of trials each knob explains, from the greatest; they sum to 1.

    By functional ANOVA (Hutter, Hoos and Leyton-Brown 2014) as Optuna has it.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: distribution(span) for name, span in knobs.items()}
    study = optuna.create_study(direction="maximize")
    for values, result in trials:
        study.add_trial(optuna.trial.create_trial(params=dict(values), distributions=space, value=result))
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=TREES, seed=0))
    return {name: float(share) for name, share in found.items()}


def distribution(span: "KnobRange") -> "BaseDistribution":
    """A knob's range as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if span.values is not None:
        return CategoricalDistribution(span.values)
    return FloatDistribution(*span.ends, log=span.log)
