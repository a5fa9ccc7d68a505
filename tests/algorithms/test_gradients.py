"""Every local gradient against autograd of the stated loss, in float64."""

import pytest
import torch
from oracles import local_losses
from torch.testing import assert_close


def assert_gradients(loss, parameters):
    parameters = list(parameters)
    for parameter, expected in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        assert parameter.grad is not None
        assert expected.abs().max() > 0, "the oracle must have something to compare"
        assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize("schedule", ["simultaneous", "greedy"])
def test_mono_forward(make, batch, architecture, schedule):
    inputs, labels = batch(architecture)
    algorithm = make("mono_forward", architecture, schedule=schedule)
    for stage in algorithm.stages():
        algorithm.begin(stage)
        reported = algorithm.step(inputs, labels)
        a = inputs
        for i in range(stage.blocks.stop):
            a = algorithm.blocks[i](a.detach())
            loss = local_losses.cross_entropy(a.flatten(1) @ algorithm.projections[i].weight.T, labels)
            if i in stage.blocks:
                assert_gradients(loss, [*algorithm.blocks[i].parameters(), algorithm.projections[i].weight])
        assert_close(reported, loss.detach())


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize("schedule", ["simultaneous", "greedy"])
def test_cascaded_forward(make, batch, architecture, schedule):
    inputs, labels = batch(architecture)
    algorithm = make("cascaded_forward", architecture, schedule=schedule)
    for stage in algorithm.stages():
        algorithm.begin(stage)
        algorithm.step(inputs, labels)
        h = inputs
        for i in range(stage.blocks.stop):
            h = algorithm.blocks[i](h)
            if i in stage.blocks:
                W = algorithm.predictors[i].weight
                assert_gradients(local_losses.cross_entropy(h.detach().flatten(1) @ W.T, labels), [W])
                assert all(parameter.grad is None for parameter in algorithm.blocks[i].parameters())


@pytest.mark.parametrize("threshold", [0.05, 1.0])
@pytest.mark.parametrize("schedule", ["simultaneous", "greedy"])
def test_forward_forward(make, batch, schedule, threshold, monkeypatch):
    inputs, labels = batch("mlp")
    algorithm = make("forward_forward", schedule=schedule, threshold=threshold)
    wrong = (labels + 1) % 3
    monkeypatch.setattr(algorithm, "wrong_labels", lambda _: wrong)
    for stage in algorithm.stages():
        algorithm.begin(stage)
        reported = algorithm.step(inputs, labels)
        positive, negative = (local_losses.overlay(inputs, y, 3) for y in (labels, wrong))
        losses = []
        for i in range(stage.blocks.stop):
            positive, negative = (
                algorithm.blocks[i](local_losses.length_normalised(x.detach())) for x in (positive, negative)
            )
            if i in stage.blocks:
                losses.append(local_losses.forward_forward(positive, negative, threshold))
                assert_gradients(losses[-1], algorithm.blocks[i].parameters())
        assert_close(reported, torch.stack(losses).mean().detach())


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_backprop(make, batch, architecture):
    inputs, labels = batch(architecture)
    algorithm = make("backprop", architecture)
    algorithm.begin(algorithm.stages()[0])
    algorithm.step(inputs, labels)
    a = inputs
    for block in algorithm.blocks:
        a = block(a)
    loss = local_losses.cross_entropy(a.flatten(1) @ algorithm.head.weight.T + algorithm.head.bias, labels)
    assert_gradients(loss, [p for m in (*algorithm.blocks, algorithm.head) for p in m.parameters()])
