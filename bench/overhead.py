"""What the harness adds: `Run.train`, with this machine's meters open, over plain loops of the same arithmetic.

The loops are those of `bare.py`. Two of them: around operators by hand, which the bars are about, and around the
package's own steps, which shows how much of it is the trainer's. Before anything is timed, all ways are held to end
with equal weights.

Shapes are those of `fashion-mlp` and `digits-mlp`, on random data. Fashion-MNIST's epoch is cut to a tenth or less,
training and validation alike, so that what an epoch costs beside them weighs the more. On a CUDA device the meters'
rests before and after a training, in which nothing is computed, are left out, and no bar is set: steps so small,
launched operator by operator, are Python's there.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from bench import bare
from bench.alternation import ROUNDS, Action, Figure, alternated_anew, threads
from bench.networks import split
from bpfree import assembly, workloads
from bpfree.algorithms import Algorithm
from bpfree.execution import mode_of
from bpfree.meters import Meter
from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings
from bpfree.trainer import Run, StageWork
from bpfree.workloads import Data

METHODS = ("backprop", "mono_forward")
Training = tuple[Action, list[Tensor]]
"""A training, and the weights that it changes."""


@dataclass(frozen=True)
class Case:
    """A workload's shape, and how much of it is trained on for one measurement."""

    workload: str
    batch: int
    steps: int
    """An epoch."""
    validation: int
    """Samples."""
    epochs: int
    at_most: float
    threads: int | None = None
    rounds: int = ROUNDS

    def data(self, device: str) -> Data:
        """Random images of its shape."""
        inputs = math.prod(workloads.find(self.workload).source.shape)
        train, validation = (split(n, device, inputs) for n in (self.batch * self.steps, self.validation))
        return Data(train, validation, validation)

    def spec(self, algorithm: str, device: str) -> RunSpec:
        """A run of it that no patience ends."""
        return RunSpec(
            workload=self.workload,
            algorithm=algorithm,
            optimizer="adamw",
            hyperparameters=assembly.resolve(algorithm, "adamw", {}),
            seed=0,
            training=TrainingSettings(
                max_epochs=self.epochs, batch_size=self.batch, patience=self.epochs, min_delta=0.0
            ),
            measurement=MeasurementSettings(idle_seconds=0),
            device="cpu" if device == "cpu" else "cuda",
        )


CASES = (
    # Many short rounds: a bar of 2 % asks for a narrower interval than the others.
    Case("fashion-mlp", batch=128, steps=12, validation=500, epochs=2, at_most=1.02, rounds=3 * ROUNDS),
    Case("digits-mlp", batch=32, steps=35, validation=288, epochs=15, at_most=1.05, threads=1),  # as quickstart has it
)


def figures(device: str) -> list[Figure]:
    """Of each method at each shape."""
    found = []
    with assembly.metering(device) as meters:
        for case in CASES:
            with threads(case.threads):
                found += [figure for method in METHODS for figure in compared(case, method, device, meters)]
    return found


def compared(case: Case, method: str, device: str, meters: Sequence[Meter]) -> list[Figure]:
    """Harness over both loops."""
    spec, data = case.spec(method, device), case.data(device)
    works = Run(spec, device, meters).warm_up(data)
    ways: dict[str, Callable[[], Training]] = {
        "harness": lambda: by_harness(spec, data, works, device, meters),
        "of the package's steps": lambda: by_own_steps(spec, data, device),
        "by hand": lambda: by_hand(spec, data, device),
        "by hand, in inference mode": lambda: by_hand(spec, data, device, torch.inference_mode),
    }
    check_equal(*(way() for way in ways.values()))
    seconds = alternated_anew({name: action_of(way) for name, way in ways.items()}, device, case.rounds)
    group = f"{case.workload}, batch {case.batch}: the harness over a bare loop"
    bar = case.at_most if device == "cpu" else None
    harness = seconds.pop("harness")
    bars = {"by hand": bar}
    return [
        Figure(group, f"{method}, {way}", harness / values, theory=1.0, at_most=bars.get(way))
        for way, values in seconds.items()
    ]


def action_of(way: Callable[[], Training]) -> Callable[[], Action]:
    """A way without the weights."""
    return lambda: way()[0]


def by_harness(spec: RunSpec, data: Data, works: list[StageWork], device: str, meters: Sequence[Meter]) -> Training:
    """A training by the trainer."""
    run = Run(spec, device, meters)
    run.session.sleep = lambda _: None
    algorithm = assembly.build_run(spec, run.workload, device)
    return lambda: run.train(algorithm, data, works), weights_of(algorithm)


def by_own_steps(spec: RunSpec, data: Data, device: str) -> Training:
    """The same training in a plain loop around the algorithm's own steps."""
    algorithm = assembly.build_run(spec, workloads.find(spec.workload), device)
    weights, training, order = weights_of(algorithm), spec.training, assembly.stream(spec.seed, "order", device)

    def action() -> None:
        with mode_of(algorithm, training.execution):
            algorithm.begin(algorithm.stages()[0])
            bare.train(
                algorithm.step, algorithm.predict, weights, data, training.max_epochs, training.batch_size, order
            )

    return action, weights


def by_hand(
    spec: RunSpec, data: Data, device: str, mode: Callable[[], AbstractContextManager[None]] = torch.no_grad
) -> Training:
    """The same training by hand, from the same weights."""
    weights = weights_of(assembly.build_run(spec, workloads.find(spec.workload), device))
    training, order = spec.training, assembly.stream(spec.seed, "order", device)

    def action() -> None:
        with mode():
            step, predict = by_hand_steps(spec.algorithm, weights)
            bare.train(step, predict, weights, data, training.max_epochs, training.batch_size, order)

    return action, weights


def by_hand_steps(algorithm: str, w: list[Tensor]) -> tuple[bare.Step, bare.Predict]:
    """Of backprop's weights W, b, …, V, c, or Mono-Forward's W, b, M, …"""
    if algorithm == "backprop":
        *layers, head = zip(w[0::2], w[1::2], strict=True)
        return bare.backprop(layers, head)
    return bare.mono_forward(list(zip(w[0::3], w[1::3], strict=True)), w[2::3])


def weights_of(algorithm: Algorithm) -> list[Tensor]:
    """What a training changes, block by block."""
    modules = [module for stage in algorithm.stages() for module in stage.modules]
    return [parameter.detach() for module in modules for parameter in module.parameters()]


def check_equal(*trainings: Training) -> None:
    """All end with the same weights, bit by bit."""
    for action, _ in trainings:
        action()
    first, *others = [weights for _, weights in trainings]
    for weights in others:
        assert all(map(torch.equal, first, weights)), "the loops do not compute the same"
