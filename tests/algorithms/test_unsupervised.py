"""Unsupervised Forward-Forward: gradients, masks, negatives, and that labels reach the read-out alone."""

import math

import pytest
import torch
from oracles import local_losses
from test_gradients import assert_gradients
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from bpfree import assembly, passes, workloads
from bpfree.algorithms.forward_forward import ForwardForward, image_shape
from bpfree.errors import RequestError

D = 48  # 3 channels of 4×4


def unsupervised(make, inputs=D, **values):
    algorithm = make("forward_forward", inputs=inputs, negatives="hybrid", prediction="readout", **values)
    algorithm.begin(algorithm.stages()[0])
    return algorithm


@pytest.mark.parametrize("inputs", [49, 48])
@pytest.mark.parametrize("goodness", ["sum", "mean"])
def test_gradients(make, batch, inputs, goodness):
    """Against autograd of the stated loss, with the negatives drawn again from the same state by plain loops."""
    images, labels = batch("mlp", inputs)
    algorithm = unsupervised(make, inputs, goodness=goodness, threshold=0.3)
    state = algorithm.generator.get_state()
    reported = algorithm.step(images, labels)
    hybrids = local_losses.hybrids(images, *image_shape(inputs), torch.Generator().set_state(state))
    assert not torch.equal(hybrids, images)
    positive, negative = images, hybrids
    losses, h = [], []
    for block in algorithm.blocks:
        positive, negative = (block(local_losses.length_normalised(x.detach())) for x in (positive, negative))
        scale = 1 if goodness == "sum" else block.width
        theta = 0.3 * block.width / scale
        losses.append(F.softplus(theta - (positive**2).sum(1) / scale).mean())
        losses[-1] = losses[-1] + F.softplus((negative**2).sum(1) / scale - theta).mean()
        assert_gradients(losses[-1], block.parameters())
        h.append(local_losses.length_normalised(positive.detach()))
    assert_close(reported, torch.stack(losses).mean().detach())
    scores = torch.cat(h[1:], 1) @ algorithm.V.weight.T
    assert_gradients(local_losses.cross_entropy(scores, labels), [algorithm.V.weight])
    assert_close(algorithm.predict(images), scores.detach())


def test_labels_reach_the_readout_alone(make, batch):
    images, labels = batch("mlp", D)
    gradients = []
    for y in (labels, (labels + 1) % 3):
        algorithm = unsupervised(make)
        algorithm.step(images, y)
        gradients.append([p.grad for module in (*algorithm.blocks, algorithm.V) for p in module.parameters()])
    *blocks, V = [torch.equal(a, b) for a, b in zip(*gradients, strict=True)]
    assert all(blocks)
    assert not V


def test_a_step_reads_nothing_back(make, batch):
    algorithm = unsupervised(make)
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        algorithm.step(*batch("mlp", D))
    names = {event.name for event in trace.events()}
    assert not names & {"aten::item", "aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero"}


def test_masks_are_large_blobs_that_cover_half(make):
    side, count = 28, 400
    masks = unsupervised(make, inputs=side**2).masks(count).view(count, side, side)
    assert masks.dtype == torch.bool
    assert_close(masks.double().mean().item(), 0.5, atol=0.01, rtol=0)
    assert (masks.double().mean(0) - 0.5).abs().max() < 0.15, "the border is covered as often as the middle"
    # Six blurs of independent bits correlate neighbours by Σ b² shifted / Σ b², b binomial: C(24, 13) / C(24, 12).
    # Two normal values of correlation r agree in sign with probability 1 − arccos(r) / π; independent ones: ½.
    expected = 1 - math.acos(math.comb(24, 13) / math.comb(24, 12)) / math.pi
    middle = masks[:, 7:-7, 7:-7]
    assert_close((middle[:, 1:] == middle[:, :-1]).double().mean().item(), expected, atol=0.015, rtol=0)
    assert_close((middle[:, :, 1:] == middle[:, :, :-1]).double().mean().item(), expected, atol=0.015, rtol=0)
    assert_close((masks[1:] == masks[:-1]).double().mean().item(), 0.5, atol=0.02, rtol=0)  # each sample its own


def test_a_mask_is_the_same_for_all_channels(make):
    masks = unsupervised(make, inputs=3 * 8 * 8).masks(50).view(50, 3, 64)
    assert (masks == masks[:, :1]).all()


def test_hybrids_take_each_pixel_from_one_of_two_different_images(make):
    algorithm = unsupervised(make, inputs=64)
    B, seen = 5, set()
    images = torch.arange(B)[:, None] * 64 + torch.arange(64)  # every pixel of every image has a value of its own
    for _ in range(100):
        hybrids = algorithm.hybrids(images)
        assert torch.equal(hybrids % 64, images % 64), "pixels stay in their place"
        source = hybrids // 64
        shift = (source - torch.arange(B)[:, None]) % B
        (k,) = set(shift.unique().tolist()) - {0}
        seen.add(k)
    assert seen == {1, 2, 3, 4}


def test_two_images_are_mixed_with_each_other(make):
    images = torch.stack([torch.zeros(784), torch.ones(784)])
    hybrids = unsupervised(make, inputs=784).hybrids(images)
    assert all(0.1 < share < 0.9 for share in hybrids.mean(1).tolist())


def test_one_image_cannot_be_mixed(make):
    with pytest.raises(RequestError, match="batch_size"):
        unsupervised(make).step(torch.rand(1, D), torch.zeros(1, dtype=torch.long))


@pytest.mark.parametrize(
    ("inputs", "shape"), [(784, (1, 28)), (3072, (3, 32)), (64, (1, 8)), (12, (3, 2)), (1, (1, 1))]
)
def test_image_shapes(inputs, shape):
    assert image_shape(inputs) == shape


def test_images_that_are_not_square_are_refused(make):
    with pytest.raises(RequestError, match="50 inputs are not: choose"):
        unsupervised(make, inputs=50)
    make("forward_forward", inputs=50)  # the supervised form takes any


def test_inconsistent_choices_are_refused():
    with pytest.raises(RequestError, match="'hybrid' needs prediction = 'readout'"):
        ForwardForward.Hyperparameters.build({"negatives": "hybrid"})
    with pytest.raises(RequestError, match="'hybrid' needs schedule = 'simultaneous'"):
        ForwardForward.Hyperparameters.build({"negatives": "hybrid", "prediction": "readout", "schedule": "greedy"})


def test_digits_are_read_out_far_above_chance():
    torch.set_num_threads(1)
    workload = workloads.find("digits-mlp")
    values = assembly.resolve("forward_forward", "adamw", {"negatives": "hybrid", "prediction": "readout"})
    algorithm = assembly.build(workload, "forward_forward", "adamw", values, seed=0, device="cpu")
    data, order = workload.load("cpu"), assembly.stream(0, "order")
    algorithm.begin(algorithm.stages()[0])
    losses = [algorithm.step(*b) for _ in range(8) for b in passes.batches(data.train, 32, order)]
    assert 200 < len(losses) < 400
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20]), "the blocks learn to tell images from mixtures"
    accuracy, _ = passes.evaluate(algorithm, workload, data.validation)
    assert accuracy > 0.6  # chance: 0.1
