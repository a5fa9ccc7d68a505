"""What algorithms do with optimizers that want more than gradients: the loss, or another point to be judged at."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from bpfree.algorithms import ALGORITHMS


class Wants(torch.optim.Optimizer):
    """Is told the loss, and keeps what it was told."""

    def __init__(self, parameters, **_):
        super().__init__(list(parameters), {})
        self.loss, self.told = None, []

    def step(self, closure=None):
        self.told.append(self.loss)
        self.loss = None


class Averages(torch.optim.Optimizer):
    """Evaluates at zero, whatever it trains at."""

    def __init__(self, parameters, **_):
        super().__init__(list(parameters), {})

    def step(self, closure=None):
        pass

    def eval(self):
        self.kept = [p.detach().clone() for p in self.param_groups[0]["params"]]
        for p in self.param_groups[0]["params"]:
            p.data.zero_()

    def train(self):
        for p, kept in zip(self.param_groups[0]["params"], self.kept, strict=True):
            p.data.copy_(kept)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_optimizer_is_told_the_loss_of_its_gradients(name, make, batch):
    algorithm = make(name, optimizer=Wants)
    algorithm.begin(algorithm.stages()[0])
    x, y = batch("mlp")
    returned = algorithm.step(x, y)
    told = [loss for optimizer in algorithm.optimizers.values() for loss in optimizer.told]
    assert len(told) == len(algorithm.optimizers)
    assert all(loss.ndim == 0 and not loss.requires_grad for loss in told)
    mean = {"forward_forward", "cascaded_forward"}
    assert_close(torch.stack(told).mean() if name in mean else told[-1], returned)


@pytest.mark.parametrize(("name", "values"), [("mono_forward", {}), ("cascaded_forward", {"schedule": "simultaneous"})])
def test_each_is_told_its_own_blocks_loss(name, values, make, batch):
    algorithm = make(name, optimizer=Wants, **values)
    algorithm.begin(algorithm.stages()[0])
    x, y = batch("mlp")
    algorithm.step(x, y)
    told = [algorithm.optimizers[i].told[0] for i in range(3)]
    assert_close(told, [F.cross_entropy(scores, y).detach() for scores in algorithm.block_scores(x)])


def test_the_readouts_is_told_the_readouts_loss(make, batch):
    algorithm = make("forward_forward", optimizer=Wants, prediction="readout")
    algorithm.begin(algorithm.stages()[0])
    x, y = batch("mlp")
    mean = algorithm.step(x, y)
    *blocks, readout = (optimizer.told[0] for optimizer in algorithm.optimizers.values())
    assert_close(readout, F.cross_entropy(algorithm.predict(x), y).detach())
    assert_close(torch.stack(blocks).mean(), mean)


@pytest.mark.parametrize("name", ["backprop", "mono_forward"])
def test_an_average_is_what_is_evaluated_and_kept(name, make, batch):
    algorithm = make(name, optimizer=Averages)
    (stage,) = algorithm.stages()
    algorithm.begin(stage)
    x, _ = batch("mlp")
    before = algorithm.predict(x)
    with algorithm.averaged():
        assert not algorithm.predict(x).any()
    assert_close(algorithm.predict(x), before)
    algorithm.end(None)
    assert not algorithm.predict(x).any(), "the last weights are the average too"
    assert algorithm.optimizers == {}


def test_kept_weights_replace_the_average(make, batch):
    algorithm = make("backprop", optimizer=Averages)
    (stage,) = algorithm.stages()
    algorithm.begin(stage)
    x, _ = batch("mlp")
    before = algorithm.predict(x)
    algorithm.end([{n: v.clone() for n, v in module.state_dict().items()} for module in stage.modules])
    assert_close(algorithm.predict(x), before)
