"""Every variant against something independent: autograd of the stated loss, scikit-learn, a count of products."""

import numpy as np
import pytest
import torch
from oracles import local_losses
from sklearn.linear_model import Ridge
from test_gradients import assert_gradients
from torch.nn import functional as F
from torch.testing import assert_close

from bpfree.algorithms.cascaded_forward import sparsemax, sparsemax_loss
from bpfree.algorithms.forward_forward import ForwardForward
from bpfree.errors import RequestError


def sgd(parameters, **_):
    return torch.optim.SGD(parameters, lr=0.05)


def doubled(algorithm):
    """The tensors that no module owns, in float64 too."""
    if hasattr(algorithm, "m"):
        algorithm.m = [m.double() for m in algorithm.m]
    if hasattr(algorithm, "B"):
        algorithm.B = [B.double() for B in algorithm.B]
    return algorithm


@pytest.mark.parametrize("goodness", ["sum", "mean"])
@pytest.mark.parametrize("peer", [0.0, 0.03])
def test_forward_forward_goodness_and_peers(make, batch, goodness, peer, monkeypatch):
    inputs, labels = batch("mlp")
    algorithm = doubled(make("forward_forward", goodness=goodness, peer_normalisation=peer, threshold=0.3))
    wrong = (labels + 2) % 3
    monkeypatch.setattr(algorithm, "wrong_labels", lambda _: wrong)
    (stage,) = algorithm.stages()
    algorithm.begin(stage)
    for _ in range(2):  # the running means of the peers matter from the second step on
        before = [m.clone() for m in algorithm.m]
        algorithm.step(inputs, labels)
        positive, negative = (local_losses.overlay(inputs, y, 3) for y in (labels, wrong))
        for i, block in enumerate(algorithm.blocks):
            positive, negative = (
                block(local_losses.length_normalised(x.detach())) for x in (positive, negative)
            )  # fmt: skip
            n = block.width
            theta = 0.3 * n if goodness == "sum" else 0.3
            scale = 1 if goodness == "sum" else 1 / n
            loss = F.softplus(theta - scale * (positive**2).sum(1)).mean()
            loss = loss + F.softplus(scale * (negative**2).sum(1) - theta).mean()
            if peer:
                m = 0.9 * before[i] + 0.1 * positive.mean(0)
                loss = loss + peer * ((m.mean() - m) ** 2).mean()
                assert_close(algorithm.m[i], m.detach())
            assert_gradients(loss, block.parameters())


def test_forward_forward_readout(make, batch):
    inputs, labels = batch("mlp")
    algorithm = make("forward_forward", prediction="readout")
    (stage,) = algorithm.stages()
    algorithm.begin(stage)
    algorithm.step(inputs, labels)
    x = inputs.clone()
    x[:, :3] = 1 / 3
    x, activities = local_losses.length_normalised(x), []
    for block in algorithm.blocks:
        x = local_losses.length_normalised(block(x)).detach()
        activities.append(x)
    h = torch.cat(activities[1:], 1)
    scores = h @ algorithm.V.weight.T
    assert_gradients(local_losses.cross_entropy(scores, labels), [algorithm.V.weight])
    assert_close(algorithm.predict(inputs), scores.detach())


def test_the_readout_has_a_learning_rate_of_its_own(make, batch):
    rates = []

    def optimizer(parameters, learning_rate=0.5, weight_decay=0.0):
        rates.append((learning_rate, weight_decay))
        return torch.optim.SGD(parameters, lr=learning_rate)

    algorithm = make("forward_forward", optimizer=optimizer, prediction="readout", readout_learning_rate=0.25)
    algorithm.begin(algorithm.stages()[0])
    assert set(rates[:-1]) == {(0.5, 0.0)}
    assert rates[-1] == (0.25, 3e-3)


def test_hard_negatives_are_wrong_and_follow_the_readout(make):
    algorithm = make("forward_forward", negatives="hard")
    labels = torch.zeros(20_000, dtype=torch.long)
    probabilities = torch.tensor([0.7, 0.24, 0.06], dtype=torch.float64)
    drawn = algorithm.hard_labels(probabilities.log().repeat(len(labels), 1), labels)
    shares = drawn.bincount(minlength=3) / len(labels)
    assert shares[0] == 0
    assert_close(shares[1:], torch.tensor([0.8, 0.2]), atol=0.01, rtol=0)


def test_hard_negatives_need_the_simultaneous_schedule():
    with pytest.raises(RequestError, match="needs schedule"):
        ForwardForward.Hyperparameters.build({"negatives": "hard", "schedule": "greedy"})


@pytest.mark.parametrize("prediction", ["last", "sum", "average"])
def test_mono_forward_predictions(make, batch, prediction):
    inputs, _ = batch("mlp")
    algorithm = make("mono_forward", prediction=prediction)
    algorithm.begin(algorithm.stages()[0])
    a, G = inputs, []
    for block, M in zip(algorithm.blocks, algorithm.projections, strict=True):
        a = block(a)
        G.append((a @ M.weight.T).detach())
    expected = {"last": G[-1], "sum": sum(G), "average": (sum(g.softmax(1) for g in G) / 3).log()}
    assert_close(algorithm.predict(inputs), expected[prediction])


@pytest.mark.parametrize("prediction", ["probabilities", "logits", "last"])
@pytest.mark.parametrize("loss", ["cross_entropy", "sparsemax"])
def test_cascaded_forward_predictions(make, batch, prediction, loss):
    inputs, _ = batch("mlp")
    algorithm = make("cascaded_forward", prediction=prediction, loss=loss)
    algorithm.begin(algorithm.stages()[-1])
    h, o = inputs, []
    for block, W in zip(algorithm.blocks, algorithm.predictors, strict=True):
        h = block(h)
        o.append((h @ W.weight.T).detach())
    share = (lambda x: sparsemax(x)[0]) if loss == "sparsemax" else (lambda x: x.softmax(1))
    expected = {"last": o[-1], "logits": sum(o), "probabilities": sum(map(share, o)) / 3}[prediction]
    scores = algorithm.predict(inputs)
    if prediction == "probabilities" and loss == "cross_entropy":
        scores = scores.exp()
    assert_close(scores, expected)


def test_sparsemax_is_the_projection_on_the_simplex():
    """Against bisection on the threshold: Σ max(o − τ, 0) falls in τ and is 1 at the answer."""
    o = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2
    low, high = o.min(1).values - 1, o.max(1).values
    for _ in range(80):
        middle = (low + high) / 2
        above = (o - middle[:, None]).clamp(min=0).sum(1) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    p, tau = sparsemax(o)
    assert_close(tau[:, 0], low)
    assert_close(p.sum(1), torch.ones(50, dtype=torch.float64))
    assert (p == 0).any()


def test_sparsemax_gradient(make, batch):
    inputs, labels = batch("mlp")
    algorithm = make("cascaded_forward", loss="sparsemax", schedule="simultaneous")
    algorithm.begin(algorithm.stages()[0])
    reported = algorithm.step(inputs, labels)
    h, losses = inputs, []
    for block, W in zip(algorithm.blocks, algorithm.predictors, strict=True):
        h = block(h).detach()
        o = h @ W.weight.T
        losses.append(sparsemax_loss(o, sparsemax(o)[1], labels))
        assert_gradients(losses[-1], [W.weight])
        p = sparsemax(o)[0]
        # Fenchel-Young form of the same loss: ½‖o‖² − ½‖o − p‖² − o_y + ½ (Blondel, Martins, Niculae 2020).
        other = 0.5 * (o**2).sum(1) - 0.5 * ((o - p) ** 2).sum(1) - o.gather(1, labels[:, None])[:, 0] + 0.5
        assert_close(losses[-1], other.mean())
    assert_close(reported, torch.stack(losses).mean().detach())


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_squared_error_is_solved_as_scikit_learn_does(make, ridge):
    generator = torch.Generator().manual_seed(5)
    inputs = torch.rand(90, 12, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (90,), generator=generator)
    algorithm = make("cascaded_forward", loss="squared_error", ridge=ridge)
    assert {stage.max_epochs for stage in algorithm.stages()} == {1}
    h = inputs
    for i, stage in enumerate(algorithm.stages()):
        algorithm.begin(stage)
        for start in range(0, 90, 30):  # added up over batches
            algorithm.step(inputs[start : start + 30], labels[start : start + 30])
        algorithm.predict(inputs)
        h = algorithm.blocks[i](h).detach()
        fit = Ridge(alpha=ridge * 90, fit_intercept=False, solver="cholesky")
        fit.fit(h.numpy(), np.eye(3)[labels.numpy()])
        assert_close(algorithm.predictors[i].weight.detach(), torch.tensor(fit.coef_), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_direct_feedback_alignment(make, batch, architecture):
    """dhᵢ = e Bᵢ pulled back through block i; exact at the last block and the head; nothing crosses blocks."""
    inputs, labels = batch(architecture)
    algorithm = doubled(make("cascaded_forward", architecture, blocks="feedback"))
    first, *rest = algorithm.stages()
    assert (first.name, first.max_epochs, len(rest)) == ("feedback", 10, len(algorithm.blocks))
    algorithm.begin(first)
    algorithm.step(inputs, labels)
    outputs = [inputs]
    for block in algorithm.blocks:
        outputs.append(block(outputs[-1].detach()))
    logits = algorithm.head(outputs[-1].flatten(1))
    e = ((logits.softmax(1) - F.one_hot(labels, 3)) / len(labels)).detach()
    for block, h, B in zip(algorithm.blocks[:-1], outputs[1:-1], algorithm.B, strict=True):
        assert_close(B.norm(dim=1), torch.ones(3, dtype=torch.float64))
        assert_gradients((h.flatten(1) * (e @ B)).sum(), block.parameters())
    exact = [*algorithm.blocks[-1].parameters(), *algorithm.head.parameters()]
    assert_gradients(local_losses.cross_entropy(logits, labels), exact)


def test_trained_blocks_stay_while_predictors_learn(make, batch):
    inputs, labels = batch("cnn")
    algorithm = doubled(make("cascaded_forward", "cnn", optimizer=sgd, blocks="feedback"))
    for stage in algorithm.stages():
        algorithm.begin(stage)
        state = [v.clone() for block in algorithm.blocks for v in block.state_dict().values()]
        algorithm.step(inputs, labels)
        same = all(
            torch.equal(a, b)
            for a, b in zip(state, (v for k in algorithm.blocks for v in k.state_dict().values()), strict=True)
        )
        assert same == (stage.name != "feedback")


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize("readout", ["head", "last"])
def test_deep_supervision(make, batch, architecture, readout):
    inputs, labels = batch(architecture)
    algorithm = make("deep_supervision", architecture, readout=readout, auxiliary_weight=0.7)
    (stage,) = algorithm.stages()
    algorithm.begin(stage)
    reported = algorithm.step(inputs, labels)
    a, G = inputs, []
    for block, M in zip(algorithm.blocks, algorithm.projections, strict=True):
        a = block(a)
        G.append(a.flatten(1) @ M.weight.T)
    outputs = [*G, algorithm.head(a.flatten(1))] if readout == "head" else G
    *others, read = [local_losses.cross_entropy(o, labels) for o in outputs]
    loss = read + 0.7 * sum(others)
    assert_gradients(loss, [p for module in stage.modules for p in module.parameters()])
    assert_close(reported, loss.detach())
    assert (algorithm.head in stage.modules) == (readout == "head"), "no dead parameters"
    algorithm.evaluation_mode()
    assert algorithm.predict(inputs).shape == (9, 3)


def test_feedback_is_a_stage_of_its_own(make):
    first, *predictors = make("cascaded_forward", blocks="feedback", feedback_epochs=7).stages()
    assert (first.name, first.max_epochs, first.stops_early, first.predicts) == ("feedback", 7, True, False)
    assert all(stage.predicts and stage.stops_early and stage.max_epochs is None for stage in predictors)
    fixed, *_ = make("cascaded_forward", blocks="feedback", feedback_stops_early=False).stages()
    assert not fixed.stops_early


def test_a_block_has_a_prediction_of_its_own(make, batch):
    """The read-out of its own output alone; of Forward-Forward the goodness with each label in the input."""
    inputs, _ = batch("mlp")
    for name, readouts in (
        ("mono_forward", "projections"),
        ("deep_supervision", "projections"),
        ("cascaded_forward", "predictors"),
    ):
        algorithm = make(name)
        algorithm.begin(algorithm.stages()[-1])
        a, scores = inputs, list(algorithm.block_scores(inputs))
        assert len(scores) == 3
        for block, readout, found in zip(algorithm.blocks, getattr(algorithm, readouts), scores, strict=True):
            a = block(a)
            assert_close(found, a @ readout.weight.T)
    algorithm = make("forward_forward", goodness="mean")
    algorithm.begin(algorithm.stages()[0])
    scores = list(algorithm.block_scores(inputs))
    for label in range(3):
        a = inputs.clone()
        a[:, :3] = torch.eye(3, dtype=a.dtype)[label]
        for block, found in zip(algorithm.blocks, scores, strict=True):
            a = block(local_losses.length_normalised(a))
            assert_close(found[:, label], a.square().mean(1))


@pytest.mark.parametrize("name", ["backprop", "forward_forward"])
def test_where_blocks_do_not_predict_there_are_no_scores(make, batch, name):
    values = {"negatives": "hybrid", "prediction": "readout"} if name == "forward_forward" else {}
    algorithm = make(name, inputs=16, **values)
    algorithm.begin(algorithm.stages()[0])
    assert list(algorithm.block_scores(batch("mlp", 16)[0])) == []


@pytest.mark.parametrize("name", ["mono_forward", "cascaded_forward", "forward_forward"])
def test_blocks_that_are_not_trained_yet_do_not_predict(make, batch, name):
    algorithm = make(name, schedule="greedy")
    for i, stage in enumerate(algorithm.stages()):
        algorithm.begin(stage)
        assert len(list(algorithm.block_scores(batch("mlp")[0]))) == i + 1
