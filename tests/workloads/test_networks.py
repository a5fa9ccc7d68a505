"""Blocks against autograd; networks that a seed decides."""

import copy

import pytest
import torch
from torch.testing import assert_close

from bpfree import workloads
from bpfree.algorithms.base import Projection
from bpfree.workloads import networks
from bpfree.workloads.architectures import ARCHITECTURES
from bpfree.workloads.networks import ConvBlock, DenseBlock, Head
from bpfree.workloads.sequences import Embedding, FinalNorm, RecurrentBlock, TransformerBlock

SYMBOLS = 7
BLOCKS = {
    "dense": (lambda: DenseBlock(5, 4), (6, 5)),
    "conv": (lambda: ConvBlock(2, 3, 6), (4, 2, 6, 6)),
    "conv, odd height": (lambda: ConvBlock(1, 3, 7), (4, 1, 7, 7)),
    "embedding": (lambda: Embedding(SYMBOLS, 5, 4), (3, 5)),
    "transformer": (lambda: TransformerBlock(5, 8, 2), (3, 5, 8)),
    "final norm": (lambda: FinalNorm(4), (3, 5, 4)),
    "recurrent": (lambda: RecurrentBlock(3, 4), (6, 5, 3)),
}


@pytest.fixture(params=BLOCKS)
def block_and_inputs(request):
    make, shape = BLOCKS[request.param]
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = make().double()
        for parameter in block.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)  # biases too are in play
    if isinstance(block, Embedding):
        return block, torch.randint(SYMBOLS, shape, generator=generator)
    return block, torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("training", [True, False])
def test_vjp_is_autograds(block_and_inputs, training):
    block, inputs = block_and_inputs
    block.train(training)
    expected = block(inputs)
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted = torch.autograd.grad(expected, list(block.parameters()), gradient)

    with torch.no_grad():
        outputs, pullback = block.vjp(inputs)
        assert all(parameter.grad is None for parameter in block.parameters()), "nothing happens before the pull-back"
        pullback(gradient.flatten(1))
    assert_close(outputs, expected.detach(), rtol=1e-12, atol=1e-14)
    for parameter, grad in zip(block.parameters(), wanted, strict=True):
        assert grad.abs().max() > 0
        assert_close(parameter.grad, grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_vjp_goes_through_the_block(block_and_inputs, training):
    block, inputs = block_and_inputs
    if not inputs.is_floating_point():
        pytest.skip("integers have no gradient: this block is only ever the first")
    block.train(training)
    leaf = inputs.clone().requires_grad_()
    expected = block(leaf)
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted = torch.autograd.grad(expected, [*block.parameters(), leaf], gradient)

    with torch.no_grad():
        _, pullback = block.vjp(inputs, through=True)
        found = pullback(gradient.flatten(1))
    assert found.shape == inputs.flatten(1).shape
    for grad, want in zip([*(p.grad for p in block.parameters()), found.view_as(inputs)], wanted, strict=True):
        assert want.abs().max() > 0
        assert_close(grad, want, rtol=1e-10, atol=1e-12)


def test_vjp_reaches_nothing_but_the_block(block_and_inputs):
    block, inputs = block_and_inputs
    if inputs.is_floating_point():
        inputs.requires_grad_()
    with torch.no_grad():
        outputs, pullback = block.vjp(inputs)
        pullback(torch.ones_like(outputs))
    assert inputs.grad is None
    assert all(parameter.grad.grad_fn is None for parameter in block.parameters())


@pytest.mark.parametrize("module", [DenseBlock(3, 4), Head(4, 2), Projection(4, 2, torch.Generator())], ids=repr)
def test_weights_at_hand_are_the_parameters(module):
    module.load_state_dict({name: torch.ones_like(p) for name, p in module.state_dict().items()})
    for each in (module, copy.deepcopy(module), copy.deepcopy(module).double()):
        assert [id(w) for w in each.weights] == [id(p) for p in each.parameters()]


def test_gradients_are_set_not_added(block_and_inputs):
    block, inputs = block_and_inputs
    grads = []
    for _ in range(2):
        with torch.no_grad():
            outputs, pullback = block.vjp(inputs)
            pullback(torch.ones_like(outputs))
        grads.append([parameter.grad.clone() for parameter in block.parameters()])
    assert_close(grads[0], grads[1])


def test_width_is_the_flattened_output(block_and_inputs):
    block, inputs = block_and_inputs
    samples = inputs.shape[0] * inputs.shape[1] if isinstance(block, FinalNorm) else len(inputs)
    assert block.vjp(inputs)[0].flatten(1).shape == (samples, block.width)


NAMES = [
    "digits-mlp", "mnist-cnn", "mnist-mlp-4x2000", "cifar10-cnn", "cifar100-mlp", "fashion-mlp-small",
    "fashion-cnn-small", "digits-recurrent", "fashion-autoencoder", "shakespeare-transformer",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_networks_fit_their_data(name):
    workload = workloads.find(name)
    network, source = workload.network(0), workload.source
    raw = torch.rand(2, *source.shape) if source.white else torch.randint(source.classes, (2, *source.shape))
    h = inputs = ARCHITECTURES[workload.architecture].view(raw)
    for block in network.blocks:
        h = block(h)
        assert h.flatten(1).shape[1] == block.width
    scores = network.head(h)
    assert not network.head.bias.any()
    if workload.architecture == "autoencoder":
        targets = inputs
        assert scores.shape == inputs.shape
    elif workload.architecture == "transformer":
        targets = torch.randint(source.classes, inputs.shape)
        assert scores.shape == (targets.numel(), source.classes)
    else:
        targets = torch.tensor([0, source.classes - 1])
        assert scores.shape == (2, source.classes)
    assert workload.loss(scores, targets).shape == workload.metric.of(scores, targets).shape == ()


def test_parameters_of_the_small_suite():
    assert {name: sum(p.numel() for p in parameters(workloads.find(name).network(0))) for name in NAMES[5:]} == {
        "fashion-mlp-small": 785 * 256 + 257 * 128 + 129 * 10,
        "fashion-cnn-small": 9 * 16 + 2 * 16 + 9 * 16 * 32 + 2 * 32 + (7 * 7 * 32 + 1) * 10,
        "digits-recurrent": 3 * 64 * (10 + 64 + 1) + 64 + 65 * 10,
        "fashion-autoencoder": 785 * 128 + 129 * 32 + 33 * 128 + 129 * 784,
        "shakespeare-transformer": (65 + 64) * 64 + 2 * (12 * 64**2 + 13 * 64) + 2 * 64 + 65 * 65,
    }


def parameters(network):
    return [p.detach() for module in (*network.blocks, network.head) for p in module.parameters()]


@pytest.mark.parametrize("name", ["digits-mlp", "fashion-cnn", "digits-recurrent", "shakespeare-transformer"])
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
