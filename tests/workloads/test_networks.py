"""Blocks against autograd; networks that a seed decides."""

import pytest
import torch
from torch.testing import assert_close

from bpfree import workloads
from bpfree.workloads import networks
from bpfree.workloads.networks import ConvBlock, DenseBlock

BLOCKS = {
    "dense": (lambda: DenseBlock(5, 4), (6, 5)),
    "conv": (lambda: ConvBlock(2, 3, 6), (4, 2, 6, 6)),
    "conv, odd height": (lambda: ConvBlock(1, 3, 7), (4, 1, 7, 7)),
}


@pytest.fixture(params=BLOCKS)
def block_and_inputs(request):
    make, shape = BLOCKS[request.param]
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = make().double()
    return block, torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("training", [True, False])
def test_vjp_is_autograds(block_and_inputs, training):
    block, inputs = block_and_inputs
    block.train(training)
    expected = block(inputs)
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted = torch.autograd.grad(expected, list(block.parameters()), gradient)

    outputs, pullback = block.vjp(inputs)
    assert not outputs.requires_grad
    assert all(parameter.grad is None for parameter in block.parameters()), "nothing happens before the pull-back"
    pullback(gradient)
    assert_close(outputs, expected.detach(), rtol=1e-12, atol=1e-14)
    for parameter, grad in zip(block.parameters(), wanted, strict=True):
        assert grad.abs().max() > 0
        assert_close(parameter.grad, grad, rtol=1e-10, atol=1e-12)


def test_vjp_reaches_nothing_but_the_block(block_and_inputs):
    block, inputs = block_and_inputs
    inputs.requires_grad_()
    outputs, pullback = block.vjp(inputs)
    pullback(torch.ones_like(outputs))
    assert inputs.grad is None
    assert all(parameter.grad.grad_fn is None for parameter in block.parameters())


def test_gradients_are_set_not_added(block_and_inputs):
    block, inputs = block_and_inputs
    grads = []
    for _ in range(2):
        outputs, pullback = block.vjp(inputs)
        pullback(torch.ones_like(outputs))
        grads.append([parameter.grad.clone() for parameter in block.parameters()])
    assert_close(grads[0], grads[1])


def test_width_is_the_flattened_output(block_and_inputs):
    block, inputs = block_and_inputs
    assert block.vjp(inputs)[0].flatten(1).shape == (len(inputs), block.width)


@pytest.mark.parametrize("name", ["digits-mlp", "mnist-cnn", "mnist-mlp-4x2000", "cifar10-cnn", "cifar100-mlp"])
def test_networks_fit_their_data(name):
    workload = workloads.find(name)
    network = workload.network(0)
    h = torch.rand(2, *workload.source.shape)
    if workload.architecture == "mlp":
        h = h.flatten(1)
    for block in network.blocks:
        h = block(h)
        assert h.flatten(1).shape == (2, block.width)
    assert network.head(h.flatten(1)).shape == (2, workload.source.classes)
    assert not network.head.bias.any()


def parameters(network):
    return [p.detach() for module in (*network.blocks, network.head) for p in module.parameters()]


@pytest.mark.parametrize("name", ["digits-mlp", "fashion-cnn"])
def test_a_seed_decides_the_network_and_nothing_else(name):
    workload = workloads.find(name)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = parameters(workload.network(3))
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left as it was"
    torch.rand(10)
    again, other = parameters(workload.network(3)), parameters(workload.network(4))
    assert all(map(torch.equal, first, again))
    drawn = [(a, b) for a, b in zip(first, other, strict=True) if a.dim() > 1]
    assert drawn
    assert not any(torch.equal(a, b) for a, b in drawn)


def test_sizes():
    mlp = networks.mlp(64, (32, 16), 10)
    assert [tuple(block.weight.shape) for block in mlp.blocks] == [(32, 64), (16, 32)]
    assert mlp.head.weight.shape == (10, 16)
    cnn = networks.cnn(1, 28, (32, 128, 512), 10)
    assert [block.width for block in cnn.blocks] == [32 * 14 * 14, 128 * 7 * 7, 512 * 3 * 3]
    assert cnn.head.in_features == 512 * 3 * 3
    assert [block.width for block in workloads.find("cifar10-cnn").network(0).blocks] == [8192] * 3
