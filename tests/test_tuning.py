"""Tuning's rules that a whole study does not show."""

import optuna
import pytest

from bpfree import assembly, report_workers, trainer, tuning
from bpfree.errors import WorldError
from bpfree.hyperparameters import Choice, LogUniform, Uniform
from bpfree.planning import Cell, plan
from bpfree.records import (
    Cost,
    Evaluation,
    KnobRange,
    MeasurementSettings,
    Phase,
    Reading,
    Record,
    RunSpec,
    TrainingSettings,
)
from bpfree.results import ResultsFolder
from bpfree.study import Study, Training, Tuning

CELL = Cell("digits-mlp", "forward_forward", "adamw", {"threshold": 0.3}, Training())


def reading(joules, quality="measured", component="cpu", resolution=0.01):
    return Reading(component=component, joules=joules, method="m", quality=quality, resolution=resolution)


def record(quality):
    spec = RunSpec(
        workload="digits-mlp", algorithm="backprop", optimizer="adamw", hyperparameters={}, seed=0, device="cpu",
        training=TrainingSettings(max_epochs=1, batch_size=1, patience=1, min_delta=0), role="trial",
        measurement=MeasurementSettings(),
    )  # fmt: skip
    cost = Cost(
        steps=1, epochs=1, samples=1, parameters=1, flops_per_step=1, flops_total=1, train_seconds=1, train_joules=5,
        train_joules_net=3, joules_quality=quality, boundary=["cpu"], idle_watts=2, peak_device_bytes=None,
        peak_host_bytes=None,
    )  # fmt: skip
    line = Evaluation(
        stage="s", epoch=1, step=1, train_loss=1, validation_metric=1, validation_loss=1, seconds=1, joules=5
    )
    phases = {"train": Phase(seconds=1, readings=[reading(5, quality)])}
    return Record(id=spec.id, status="completed", spec=spec, environment={}, history=[line], phases=phases, cost=cost)


def test_measured_joules_of_parallel_trials_are_not_a_trials_own():
    shared = tuning.without_shared_joules(record("measured"))
    assert shared.cost.train_joules is None
    assert shared.cost.joules_quality == "absent"
    assert shared.history[0].joules is None
    assert shared.phases["train"].readings[0].joules is None
    assert tuning.without_shared_joules(record("modelled")) == record("modelled")


def test_fixed_knobs_are_not_tuned():
    space = tuning.search_space(CELL)
    assert space.keys() == {"learning_rate", "weight_decay"}
    assert "threshold" in tuning.search_space(Cell("digits-mlp", "forward_forward", "adamw", {}, Training()))


def test_ranges_are_optunas():
    assert tuning.distribution(LogUniform(1e-3, 1)) == optuna.distributions.FloatDistribution(1e-3, 1, log=True)
    assert tuning.distribution(Uniform(0, 1)) == optuna.distributions.FloatDistribution(0, 1)
    assert tuning.distribution(Choice((1, 2))) == optuna.distributions.CategoricalDistribution((1, 2))


@pytest.mark.parametrize("span", [LogUniform(1e-3, 1), Uniform(0, 1), Choice((1.0, True, "a"))])
def test_the_tuned_cell_keeps_ranges_that_a_report_reads(span):
    kept = KnobRange.model_validate_json(tuning.knob_range(span).model_dump_json())
    assert report_workers.distribution(kept) == tuning.distribution(span)


@pytest.mark.parametrize("name", ["tpe", "gp", "random", "qmc"])
def test_every_sampler_suggests_and_cells_differ(name):
    settings = Tuning(trials=6, sampler=name)
    space = {"learning_rate": tuning.distribution(LogUniform(1e-4, 1e-1))}

    def suggested(cell):
        study = optuna.create_study(direction="maximize")
        values = []
        for done in range(6):
            study.sampler = tuning.sampler(settings, cell, done)
            trial = study.ask(space)
            values.append(trial.params["learning_rate"])
            study.tell(trial, values[-1])
        return values

    ours, again = suggested(CELL), suggested(CELL)
    other = suggested(Cell("digits-mlp", "backprop", "adamw", {}, Training()))
    assert ours == again
    assert ours != other
    assert len(set(ours)) >= 4


def test_sums_keep_the_worst_quality():
    total = tuning.added([reading(1.0), reading(2.0, resolution=0.02)])
    assert (total.joules, total.quality, total.resolution) == (3.0, "measured", 0.02)
    assert tuning.added([reading(1.0), reading(None, "absent")]).joules is None
    assert tuning.added([reading(1.0), reading(2.0, "unresolved")]).quality == "unresolved"


def test_measured_tuning_is_the_drivers_window_and_modelled_the_trials_sum():
    window = [reading(100.0).model_dump()]
    (measured,) = tuning.tuning_readings([record("absent")], [window, window])
    assert measured.joules == 200
    (modelled,) = tuning.tuning_readings([record("modelled"), record("modelled")], [])
    assert (modelled.joules, modelled.quality) == (10, "modelled")


def test_pruning_ends_a_hopeless_trial():
    spec = record("modelled").spec
    spec.hyperparameters = assembly.resolve("backprop", "adamw", {})
    spec.training = TrainingSettings(max_epochs=5, batch_size=64, patience=5, min_delta=0)
    pruned = trainer.run(spec, "cpu", prune=lambda epoch, value: epoch == 2)
    assert pruned.cost.epochs == 2
    assert pruned.warnings == ["pruned at epoch 2"]
    assert not pruned.stages[0].stopped_early


def test_a_damaged_database_is_one_line(tmp_path):
    (tmp_path / "tuning.db").write_text("no database")
    planned = plan(Study.model_validate({"name": "s", "workloads": ["digits-mlp"], "algorithms": ["backprop"]}), "cpu")
    with pytest.raises(WorldError, match="delete it and the tuning begins anew") as caught:
        tuning.open_study(planned, planned.cells[0], ResultsFolder(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_database_lies_in_the_folder_whatever_its_name(tmp_path):
    folder = ResultsFolder(tmp_path / "a?b=1%20c")
    folder.check_writable()
    planned = plan(Study.model_validate({"name": "s", "workloads": ["digits-mlp"], "algorithms": ["backprop"]}), "cpu")
    tuning.open_study(planned, planned.cells[0], folder)
    assert (folder.path / "tuning.db").is_file()
