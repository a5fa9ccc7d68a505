"""The first 20 losses of every algorithm and variant on digits, against text files.

A change of an update rule shows here. `BPFREE_WRITE_GOLDEN=1 pytest tests/test_golden_curves.py` writes the files anew;
say in the commit why they changed. Tolerance: 0.1 % for the rounding of other processors and versions.
"""

import itertools
import os
from pathlib import Path

import pytest
import torch

from bpfree import assembly, passes, stopping, workloads

GOLDEN = Path(__file__).parent / "golden"
STEPS, BATCH, TOLERANCE = 20, 32, 1e-3
VARIANTS = {
    "backprop": ("backprop", {}),
    "forward_forward": ("forward_forward", {}),
    "forward_forward_mean": ("forward_forward", {"goodness": "mean", "threshold": 2.0}),
    "forward_forward_peers": ("forward_forward", {"peer_normalisation": 0.03}),
    "forward_forward_readout": ("forward_forward", {"prediction": "readout"}),
    "forward_forward_hard": ("forward_forward", {"negatives": "hard"}),
    "forward_forward_greedy": ("forward_forward", {"schedule": "greedy"}),
    "forward_forward_unsupervised": ("forward_forward", {"negatives": "hybrid", "prediction": "readout"}),
    "cascaded_forward": ("cascaded_forward", {}),
    "cascaded_forward_simultaneous": ("cascaded_forward", {"schedule": "simultaneous"}),
    "cascaded_forward_sparsemax": ("cascaded_forward", {"loss": "sparsemax"}),
    "cascaded_forward_squared_error": ("cascaded_forward", {"loss": "squared_error"}),
    "cascaded_forward_feedback": ("cascaded_forward", {"blocks": "feedback"}),
    "mono_forward": ("mono_forward", {}),
    "mono_forward_greedy": ("mono_forward", {"schedule": "greedy"}),
    "deep_supervision_head": ("deep_supervision", {"readout": "head"}),
    "deep_supervision_last": ("deep_supervision", {"readout": "last"}),
}


def losses(algorithm, settings):
    """20 steps, spread evenly over the stages."""
    torch.set_num_threads(1)
    workload = workloads.find("digits-mlp")
    values = assembly.resolve(algorithm, "adamw", settings)
    built = assembly.build(workload, algorithm, "adamw", values, seed=0, device="cpu")
    stages = built.stages()
    steps = itertools.cycle(passes.batches(workload.load("cpu").train, BATCH, assembly.stream(0, "order")))
    found = []
    for stage, share in zip(stages, stopping.shares(STEPS, len(stages)), strict=True):
        built.begin(stage)
        found += [built.step(*next(steps)).item() for _ in range(share)]
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_curve_is_the_golden_one(variant):
    path = GOLDEN / f"{variant}.txt"
    found = losses(*VARIANTS[variant])
    if os.environ.get("BPFREE_WRITE_GOLDEN"):
        path.write_text("".join(f"{loss:.8g}\n" for loss in found))
    golden = [float(line) for line in path.read_text().split()]
    assert len(golden) == STEPS
    assert found == pytest.approx(golden, rel=TOLERANCE)


def test_no_golden_file_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(VARIANTS)
