"""What each paper says beside the gradient: negatives, predictions, stages, and that nothing flows between blocks."""

import pytest
import torch
from oracles import local_losses
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from bpfree.algorithms import ALGORITHMS

LOCAL = ["forward_forward", "cascaded_forward", "mono_forward"]
EVERY = [(name, kind) for name, cls in ALGORITHMS.items() for kind in cls.architectures]


def sgd(parameters, **_):
    return torch.optim.SGD(parameters, lr=0.1)


@pytest.mark.parametrize("name", LOCAL)
def test_nothing_flows_between_blocks(make, batch, name):
    """What a block learns in a step does not depend on the blocks after it."""
    inputs, labels = batch("mlp")
    outcomes = []
    for scale in (1.0, 100.0):
        algorithm = make(name, optimizer=sgd, schedule="simultaneous")
        with torch.no_grad():
            for block in algorithm.blocks[1:]:
                block.weight *= scale
        (stage,) = algorithm.stages()
        algorithm.begin(stage)
        algorithm.step(inputs, labels)
        outcomes.append([p.clone() for module in algorithm.modules(0) for p in module.parameters()])
    for one, other in zip(*outcomes, strict=True):
        assert torch.equal(one, other)


def test_in_backprop_gradients_do_flow_between_blocks(make, batch):
    """The test above can fail: backprop fails it."""
    inputs, labels = batch("mlp")
    outcomes = []
    for scale in (1.0, 100.0):
        algorithm = make("backprop", optimizer=sgd)
        with torch.no_grad():
            algorithm.blocks[1].weight *= scale
        algorithm.begin(algorithm.stages()[0])
        algorithm.step(inputs, labels)
        outcomes.append(algorithm.blocks[0].weight.clone())
    assert not torch.equal(*outcomes)


@pytest.mark.parametrize("name", LOCAL)
def test_finished_blocks_stay_as_they_are(make, batch, name):
    inputs, labels = batch("mlp")
    algorithm = make(name, optimizer=sgd, schedule="greedy")
    first, second, _ = algorithm.stages()
    algorithm.begin(first)
    algorithm.step(inputs, labels)
    before = [p.clone() for m in algorithm.modules(0) for p in m.parameters()]
    algorithm.begin(second)
    assert list(algorithm.optimizers) == [1], "the optimizer of the finished stage is freed"
    algorithm.step(inputs, labels)
    assert all(
        torch.equal(a, b)
        for a, b in zip(before, (p for m in algorithm.modules(0) for p in m.parameters()), strict=False)
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mono_forward", {"schedule": "greedy"}),
        ("forward_forward", {"schedule": "greedy", "prediction": "readout"}),
        ("cascaded_forward", {"blocks": "feedback"}),
    ],
)
def test_gradients_of_finished_stages_are_freed(make, batch, name, values):
    inputs, labels = batch("mlp")
    algorithm = make(name, optimizer=sgd, **values)
    if name == "cascaded_forward":
        algorithm.B = [B.double() for B in algorithm.B]
    stages = algorithm.stages()
    every = {p for stage in stages for module in stage.modules for p in module.parameters()}
    for stage in stages:
        algorithm.begin(stage)
        algorithm.step(inputs, labels)
        in_training = {p for optimizer in algorithm.optimizers.values() for p in optimizer.param_groups[0]["params"]}
        assert {p for p in every if p.grad is not None} == in_training
    algorithm.begin(stages[1])
    assert all(p.grad is None for p in every)


@pytest.mark.parametrize(("name", "architecture"), EVERY)
def test_a_step_lowers_the_loss_and_reads_nothing_back(make, batch, name, architecture):
    """Conformance: every algorithm in the table, on every architecture it names."""
    inputs, labels = batch(architecture)
    algorithm = make(name, architecture, optimizer=lambda p, **_: torch.optim.SGD(p, lr=0.01))
    for stage in algorithm.stages():
        algorithm.begin(stage)
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            first = algorithm.step(inputs, labels)
        names = {event.name for event in trace.events()}
        assert not names & {"aten::item", "aten::_local_scalar_dense", "aten::is_nonzero"}
        losses = [algorithm.step(inputs, labels) for _ in range(60)]
        assert sum(losses[-10:]) / 10 < first
        assert first.shape == ()
        algorithm.evaluation_mode()
        scores = algorithm.predict(inputs)
        assert scores.shape == (9, 3)
        assert not scores.requires_grad
        assert_close(scores[:4], algorithm.predict(inputs[:4])), "no prediction depends on the rest of its batch"


def test_negatives_are_wrong_and_uniform(make):
    algorithm = make("forward_forward")
    labels = torch.arange(3).repeat(4000)
    wrong = algorithm.wrong_labels(labels)
    assert not (wrong == labels).any()
    for label in range(3):
        counts = wrong[labels == label].bincount(minlength=3) / 4000
        others = [c for c in range(3) if c != label]
        assert_close(counts[others], torch.full((2,), 0.5), atol=0.03, rtol=0)


def test_forward_forward_predicts_by_goodness_beyond_the_first_block(make, batch):
    inputs, _ = batch("mlp")
    algorithm = make("forward_forward")
    algorithm.begin(algorithm.stages()[0])
    expected = torch.zeros(9, 3, dtype=torch.float64)
    for label in range(3):
        x = local_losses.overlay(inputs, torch.full((9,), label), 3)
        for i, block in enumerate(algorithm.blocks):
            x = block(local_losses.length_normalised(x)).detach()
            expected[:, label] += (x**2).sum(1) if i > 0 else 0
    assert_close(algorithm.predict(inputs), expected)


def test_cascaded_forward_sums_probabilities(make, batch):
    inputs, _ = batch("mlp")
    algorithm = make("cascaded_forward")
    algorithm.begin(algorithm.stages()[-1])
    probabilities = torch.zeros(9, 3, dtype=torch.float64)
    h = inputs
    for block, predictor in zip(algorithm.blocks, algorithm.predictors, strict=True):
        h = block(h)
        probabilities += torch.softmax(h @ predictor.weight.T, 1).detach()
    assert_close(algorithm.predict(inputs).exp(), probabilities / 3)


def test_mono_forward_predicts_from_the_last_block_trained(make, batch):
    inputs, _ = batch("mlp")
    algorithm = make("mono_forward", schedule="greedy")
    second = algorithm.stages()[1]
    algorithm.begin(second)
    a = algorithm.blocks[1](algorithm.blocks[0](inputs))
    assert_close(algorithm.predict(inputs), (a @ algorithm.projections[1].weight.T).detach())


def test_random_blocks_keep_weights_and_gather_statistics(make, batch):
    inputs, labels = batch("cnn")
    algorithm = make("cascaded_forward", "cnn", optimizer=sgd)
    algorithm.begin(algorithm.stages()[0])
    weight, mean = algorithm.blocks[0].weight.clone(), algorithm.blocks[0].norm.running_mean.clone()
    algorithm.step(inputs, labels)
    assert torch.equal(weight, algorithm.blocks[0].weight)
    assert not torch.equal(mean, algorithm.blocks[0].norm.running_mean)
    later = algorithm.stages()[1]
    algorithm.begin(later)
    mean = algorithm.blocks[0].norm.running_mean.clone()
    algorithm.step(inputs, labels)
    assert torch.equal(mean, algorithm.blocks[0].norm.running_mean), "a finished block's statistics stand"


def test_stages(make):
    assert [s.name for s in make("backprop").stages()] == ["network"]
    assert [s.name for s in make("mono_forward").stages()] == ["all blocks"]
    assert [s.name for s in make("cascaded_forward").stages()] == ["block 1", "block 2", "block 3"]
    assert sum(p.numel() for g in parameters_of(make("backprop")) for p in g) == 12 * 7 + 7 + 7 * 6 + 6 + 6 * 5 + 5 + 18


def parameters_of(algorithm):
    (stage,) = algorithm.stages()
    algorithm.begin(stage)
    return [group["params"] for group in algorithm.optimizers[0].param_groups]
