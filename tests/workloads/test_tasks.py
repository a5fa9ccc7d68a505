"""Workloads beyond classification: their losses and metrics, and that backprop trains each of them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from bpfree import assembly, passes, workloads
from bpfree.algorithms import ALGORITHMS, Algorithm
from bpfree.errors import RequestError
from bpfree.trainer import flops_of
from bpfree.workloads.metrics import ACCURACY, BITS_PER_CHARACTER, SQUARED_ERROR, next_character_loss

NAMES = {
    "mlp": "fashion-mlp-small",
    "cnn": "fashion-cnn-small",
    "autoencoder": "fashion-autoencoder",
    "transformer": "shakespeare-transformer",
    "recurrent": "digits-recurrent",
}
each = pytest.mark.parametrize("name", NAMES.values())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(name: str, algorithm: str = "backprop", **values: float) -> Algorithm:
    workload = workloads.find(name)
    hyperparameters = assembly.resolve(algorithm, "adamw", values)
    made = assembly.build(workload, algorithm, "adamw", hyperparameters, seed=0, device="cpu")
    made.begin(made.stages()[0])
    return made


def batch(name: str, samples: int = 4) -> tuple[Tensor, Tensor]:
    """Made up, for want of the files."""
    workload = workloads.find(name)
    source, generator = workload.source, seeded()
    if workload.architecture == "transformer":
        text = torch.randint(source.classes, (samples, source.shape[0] + 1), generator=generator)
        return text[:, :-1], text[:, 1:]
    kind = workloads.ARCHITECTURES[workload.architecture]
    inputs = kind.view(torch.rand(samples, *source.shape, generator=generator))
    return inputs, inputs if kind.reconstructs else torch.randint(source.classes, (samples,), generator=generator)


# Losses and metrics


def test_squared_error_is_of_pixels_after_the_sigmoid() -> None:
    o, x = torch.randn(5, 7, generator=seeded(), dtype=torch.float64), torch.rand(5, 7, dtype=torch.float64)
    expected = sum((1 / (1 + math.exp(-o[i, j])) - x[i, j].item()) ** 2 for i in range(5) for j in range(7)) / 35
    assert SQUARED_ERROR.of(o, x).item() == pytest.approx(expected, rel=1e-12)
    workload = workloads.find("fashion-autoencoder")
    assert workload.loss is workload.metric.of is SQUARED_ERROR.of


def test_bits_per_character_are_of_the_next_characters_probabilities() -> None:
    scores, following = torch.randn(6, 5, generator=seeded(), dtype=torch.float64), torch.tensor([[0, 4, 2], [1, 1, 3]])
    probabilities = scores.exp() / scores.exp().sum(1, keepdim=True)
    bits = [-math.log2(p[i]) for p, i in zip(probabilities, following.flatten(), strict=True)]
    assert BITS_PER_CHARACTER.of(scores, following).item() == pytest.approx(sum(bits) / 6, rel=1e-12)
    nats = next_character_loss(scores, following).item()
    assert nats == pytest.approx(sum(bits) / 6 * math.log(2), rel=1e-12)


def test_which_metrics_are_better_when_higher() -> None:
    assert {w.metric for w in workloads.WORKLOADS.values()} == {ACCURACY, SQUARED_ERROR, BITS_PER_CHARACTER}
    assert ACCURACY.better(0.9, 0.8)
    for metric in (SQUARED_ERROR, BITS_PER_CHARACTER):
        assert metric.better(0.8, 0.9)
        assert metric.better(1e9, metric.worst)
        assert not metric.better(0.89, 0.9, by=0.02)


def test_metrics_for_people() -> None:
    assert ACCURACY.text(0.98333) == "98.33%"
    assert SQUARED_ERROR.text(0.0123456) == "squared error 0.01235"
    assert BITS_PER_CHARACTER.text(2.5) == "bits per character 2.500"


def test_an_autoencoders_targets_are_its_inputs(data_dir: Path) -> None:
    loaded = workloads.find("fashion-autoencoder").load("cpu", data_dir)
    plain = workloads.find("fashion-mlp").load("cpu", data_dir)
    for part, other in ((loaded.train, plain.train), (loaded.validation, plain.validation), (loaded.test, plain.test)):
        assert torch.equal(part.targets, part.inputs)
        assert torch.equal(part.inputs, other.inputs)


def test_the_recurrent_unit_reads_row_by_row() -> None:
    inputs = workloads.find("digits-recurrent").load("cpu").test.inputs
    flat = workloads.find("digits-mlp").load("cpu").test.inputs
    assert inputs.shape == (360, 10, 10)
    assert torch.equal(inputs[:, 3], flat[:, 30:40])


# Training


@each
def test_backprop_has_the_gradients_of_the_workloads_loss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workload, algorithm = workloads.find(name), built(name)
    modules = [*algorithm.blocks, algorithm.head]
    for module in modules:
        module.double()
    inputs, targets = batch(name)
    inputs, targets = (x.double() if x.is_floating_point() else x for x in (inputs, targets))
    monkeypatch.setattr(algorithm, "advance", lambda *_: None)
    reported = algorithm.step(inputs, targets)
    a = inputs
    for module in modules:
        a = module(a)
    loss = workload.loss(a, targets)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    assert_close(reported, loss.detach())
    for parameter, wanted in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        assert wanted.abs().max() > 0
        assert_close(parameter.grad, wanted, rtol=1e-9, atol=1e-12)


@each
def test_flops_of_a_step_are_counted(name: str) -> None:
    algorithm, (inputs, targets) = built(name), batch(name)
    forward, step = (flops_of(f) for f in (lambda: algorithm.predict(inputs), lambda: algorithm.step(inputs, targets)))
    assert 2 * forward <= step <= 3 * forward


def test_flops_of_a_transformer_are_those_of_its_products() -> None:
    """Forward and twice backward; the embedding is a look-up."""
    algorithm, (inputs, targets) = built("shakespeare-transformer"), batch("shakespeare-transformer")
    positions, width, context, symbols = inputs.numel(), 64, 64, 65
    layer = 2 * positions * 12 * width**2 + 2 * 2 * positions * context * width
    expected = 3 * (2 * layer + 2 * positions * width * symbols)
    assert flops_of(lambda: algorithm.step(inputs, targets)) == expected


@pytest.mark.parametrize("name", ["digits-recurrent", "digits-autoencoder", "digits-cnn"])
def test_those_on_digits_learn(name: str) -> None:
    falls(name, None)


@pytest.mark.parametrize("name", ["fashion-mlp-small", "fashion-cnn-small", "fashion-autoencoder"])
def test_those_on_fashion_learn(name: str, data_dir: Path) -> None:
    falls(name, data_dir)


def test_the_transformer_learns(shakespeare_dir: Path) -> None:
    falls("shakespeare-transformer", shakespeare_dir)


def falls(name: str, data_dir: Path | None) -> None:
    """The loss, in 30 steps."""
    torch.set_num_threads(1)
    data, algorithm = workloads.find(name).load("cpu", data_dir), built(name, learning_rate=3e-3)
    steps = passes.endless(data.train, 32, seeded())
    losses = [algorithm.step(*next(steps)).item() for _ in range(30)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_an_evaluation_is_the_mean_over_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    workload, algorithm = workloads.find("digits-autoencoder"), built("digits-autoencoder")
    part = workload.load("cpu").validation
    monkeypatch.setattr(passes, "EVALUATION_BATCH", 100)
    metric, loss = passes.evaluate(algorithm, workload, part)
    scores = algorithm.predict(part.inputs)
    assert metric == loss == pytest.approx(((scores.sigmoid() - part.targets) ** 2).mean().item(), rel=1e-5)


@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"backprop"}))
@pytest.mark.parametrize("architecture", ["autoencoder", "transformer", "recurrent"])
def test_local_algorithms_are_refused(algorithm: str, architecture: str) -> None:
    name = NAMES[architecture]
    with pytest.raises(RequestError, match=rf"{algorithm} is not defined for {name} \({architecture}\): choose a work"):
        assembly.check_compatible(algorithm, workloads.find(name), 32)


def test_every_kind_has_a_workload_and_a_description() -> None:
    kinds = {w.architecture for w in workloads.WORKLOADS.values()}
    assert kinds == set(workloads.ARCHITECTURES) == set(ALGORITHMS["backprop"].architectures) == set(NAMES)
    assert workloads.find(NAMES["recurrent"]).description == (
        "scikit-learn's digits, row by row, gated recurrent unit of 64"
    )


# The command line


def test_a_training_prints_its_own_metric(bpfree: Callable[..., Any], tmp_path: Path) -> None:
    done = bpfree(
        "train", "backprop", "--workload", "digits-autoencoder", "--epochs", 1, "--device", "cpu", "--results", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "seed 0: test squared error 0." in done.stdout
    assert "validation squared error 0." in done.stderr
    assert "%" not in done.stdout.splitlines()[0].split("epochs")[0]
    (record,) = tmp_path.rglob("record.json")
    assert '"test_accuracy": null' in record.read_text()
