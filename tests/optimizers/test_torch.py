"""SGD and Adam against torch's own, unfused ones."""

import pytest
import torch

from bpfree.optimizers import OPTIMIZERS

CASES = {
    "sgd": (torch.optim.SGD, {"momentum": "momentum"}, {"momentum": 0.8}),
    "sgd, no momentum": (torch.optim.SGD, {"momentum": "momentum"}, {"momentum": 0.0}),
    "adam": (torch.optim.Adam, {}, {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6}),
    "adamw": (torch.optim.AdamW, {}, {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("case", ["defaults", "scheduled"])
def test_every_step_is_torchs(name, case, problem, trajectory, schedule, deviation):
    kind, renamed, knobs = CASES[name]
    entry = OPTIMIZERS[name.split(",")[0]]
    values = {"learning_rate": 0.01, "weight_decay": 0.02, **knobs}
    h = entry.hyperparameters(**values)
    theirs = {"lr": 0.01, "weight_decay": 0.02, **{new: values[old] for old, new in renamed.items()}}
    if "beta1" in values:
        theirs |= {"betas": (values["beta1"], values["beta2"]), "eps": values["epsilon"]}
    ours, _ = trajectory(problem, lambda x: entry.build(x, h), schedule=schedule)
    official, _ = trajectory(problem, lambda x: kind(x, fused=False, foreach=False, **theirs), schedule=schedule)
    assert deviation(ours, official) < 1e-12
