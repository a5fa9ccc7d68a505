"""What the README shows works."""

import importlib.util
import re
from pathlib import Path

import torch

from bpfree import algorithms, assembly, trainer
from bpfree.planning import plan
from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings
from bpfree.study import load

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)[0]


def test_the_algorithm_of_the_readme_trains(tmp_path, monkeypatch):
    path = tmp_path / "direct_feedback_alignment.py"
    path.write_text(block("python"))
    module_spec = importlib.util.spec_from_file_location("direct_feedback_alignment", path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    name = module.DirectFeedbackAlignment.name
    monkeypatch.setitem(algorithms.ALGORITHMS, name, module.DirectFeedbackAlignment)
    torch.set_num_threads(1)
    spec = RunSpec(
        workload="digits-mlp",
        algorithm=name,
        optimizer="adamw",
        hyperparameters=assembly.resolve(name, "adamw", {"feedback_scale": 0.5}),
        seed=0,
        training=TrainingSettings(max_epochs=12, batch_size=32, patience=12, min_delta=0.0),
        measurement=MeasurementSettings(warmup_steps=0),
        device="cpu",
    )
    record = trainer.run(spec, "cpu")
    assert record.status == "completed"
    assert record.metrics.test_accuracy > 0.9


def test_the_study_of_the_readme_is_valid(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(block("toml"))
    assert len(plan(load(path), "cpu").cells) == 6


def test_every_command_of_the_readme_exists(bpfree):
    named = set(re.findall(r"^bpfree (\w+)", README, flags=re.M))
    shown = bpfree("--help").stdout
    assert named
    assert all(command in shown for command in named)
    targets = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", targets, flags=re.M) for target in re.findall(r"make ([a-z-]+)", README))


def test_every_link_of_the_readme_leads_somewhere():
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link
