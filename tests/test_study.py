"""The study file: what it may say, where it is wrong, and the runs that it means."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bpfree import study as studies
from bpfree.calibration import Calibration, load_either
from bpfree.calibration import load as load_calibration
from bpfree.errors import RequestError
from bpfree.planning import plan
from bpfree.records import TunedCell
from bpfree.sections import TRIAL_SEED
from bpfree.study import Study, load, to_toml
from bpfree.targets import TARGETS, Target

CALIBRATIONS = ("calibration", "calibration_quickstart")
FILES = sorted((Path(__file__).resolve().parent.parent / "studies").glob("*.toml"))
STUDIES = [path for path in FILES if path.stem not in CALIBRATIONS]

MINIMAL = """\
name = "tiny"
workloads = ["digits-mlp"]
algorithms = ["backprop"]
"""

FULL = """\
name = "tiny"
description = "Everything is said, é included"
workloads = ["digits-mlp", "fashion-mlp"]
algorithms = [
    "backprop",
    { name = "mono_forward", schedule = "greedy" },
    "forward_forward",
]
optimizers = ["adamw", "sgd"]
baseline = "backprop"
seeds = [4, 7, 9]

[training]
max_epochs = 9
batch_size = 64
patience = 3
min_delta = 0.001

[tuning]
trials = 4
max_epochs = 2
sampler = "random"
pruner = "none"
seed = 3

[measurement]
boundary = ["cpu", "dram"]
idle_seconds = 0
warmup_steps = 0
carbon_intensity = 56.5
pue = 1.1

[statistics]
confidence = 0.9
equivalence_margin = 0.01
"""

TABLES = """\
name = "tiny"
workloads = ["digits-mlp"]

[[algorithms]]
name = "backprop"

[[algorithms]]
schedule = "greedy"
"""


def write(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return path


def read(tmp_path, text):
    return load(write(tmp_path, text))


def refused(tmp_path, text):
    """The message without the file's path, which it must begin with."""
    path = write(tmp_path, text)
    with pytest.raises(RequestError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


def changed(old, new):
    assert FULL.count(old) == 1
    return FULL.replace(old, new)


def minimal(**fields):
    return Study.model_validate({"name": "tiny", "workloads": ["digits-mlp"], "algorithms": ["backprop"], **fields})


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_file_loads_and_plans(path):
    study = load(path)
    assert study.name == path.stem
    needs = {w.name for w in study.workloads} if study.training.stop_at_target else set()
    if needs <= TARGETS.keys():
        assert len({cell.name for cell in plan(study, "cpu").cells}) == len(study.cells) > 0
    else:
        with pytest.raises(RequestError, match="has no target"):
            plan(study, "cpu")


def test_there_are_study_files():
    assert "quickstart" in {path.stem for path in STUDIES}


@pytest.mark.parametrize("path", [path for path in FILES if path.stem in CALIBRATIONS], ids=lambda path: path.stem)
def test_every_calibration_file_loads(path):
    wanted = load_either(path)
    assert isinstance(wanted, Calibration)
    assert wanted.name == path.stem
    assert len(wanted.optimizers) >= 7
    assert len(wanted.workloads) >= 3


def test_a_study_and_a_calibration_are_told_apart():
    studies = FILES[0].parent
    with pytest.raises(RequestError, match=r"line \d+: points: this is a calibration: use `bpfree calibrate`"):
        load(studies / "calibration_quickstart.toml")
    with pytest.raises(RequestError, match=r"line \d+: algorithms: this is a study: use `bpfree study`"):
        load_calibration(studies / "quickstart.toml")


@pytest.mark.parametrize("text", [MINIMAL, FULL, *(path.read_text() for path in STUDIES)])
def test_toml_round_trip(tmp_path, text):
    study = read(tmp_path, text)
    again = read(tmp_path, to_toml(study))
    assert again == study
    assert again.digest == study.digest
    assert to_toml(again) == to_toml(study)


@settings(deadline=None)
@given(
    description=st.text(st.characters(exclude_categories=["Cs"])),
    seeds=st.lists(st.integers(0, 999_999), min_size=1, unique=True),
    min_delta=st.floats(0, allow_infinity=False),
    fixed=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
)
@example(description='\x7f \u2028 "\\\n', seeds=[0], min_delta=5e-324, fixed=1e300, flag=True)
def test_any_value_survives_toml(tmp_path_factory, description, seeds, min_delta, fixed, flag):
    study = minimal(
        description=description,
        seeds=seeds,
        training={"min_delta": min_delta},
        algorithms=["backprop", {"name": "mono_forward", "weight_decay": fixed, "flag": flag}],
    )
    assert read(tmp_path_factory.getbasetemp(), to_toml(study)) == study


def test_defaults(tmp_path):
    study = read(tmp_path, MINIMAL)
    assert study.seeds == [0, 1, 2, 3, 4]
    assert study.optimizers == ["adamw"]
    assert study.baseline == "backprop"
    assert study.tuning is None


def test_seeds_are_a_count_or_a_list(tmp_path):
    assert read(tmp_path, MINIMAL + "seeds = 3\n").seeds == [0, 1, 2]
    assert read(tmp_path, MINIMAL + "seeds = [8, 3]\n").seeds == [8, 3]


def test_the_digest_changes_with_the_study(tmp_path):
    first = read(tmp_path, FULL)
    assert read(tmp_path, changed("patience = 3", "patience = 4")).digest != first.digest
    assert read(tmp_path, FULL.replace(" = ", "   =   ")).digest == first.digest


@pytest.mark.parametrize(
    ("text", "line", "field", "reason"),
    [
        # at top level
        (changed('name = "tiny"', 'name = "a/b"'), 1, "name", "match"),
        (changed('name = "tiny"', "name = 3"), 1, "name", "string"),
        (changed('workloads = ["digits-mlp", "fashion-mlp"]', "workloads = []"), 3, "workloads", "at least 1"),
        (changed('workloads = ["digits-mlp", "fashion-mlp"]', 'workloads = "digits-mlp"'), 3, "workloads", "list"),
        (changed('"digits-mlp", "fashion-mlp"', '"digits-mlp", "digits-mlp"'), 3, "workloads", "twice"),
        (changed('"digits-mlp", "fashion-mlp"', '"digits-mlp", 3'), 3, "workloads.1", "dictionary"),
        (changed('"forward_forward"', '"backprop"'), 4, "algorithms", "twice"),
        (changed('optimizers = ["adamw", "sgd"]', "optimizers = []"), 9, "optimizers", "at least 1"),
        (changed('"adamw", "sgd"', '"sgd", "sgd"'), 9, "optimizers", "twice"),
        (changed('baseline = "backprop"', 'baseline = "cascaded_forward"'), 10, "baseline", "not among the algorithms"),
        (changed("seeds = [4, 7, 9]", "seeds = [4, 7, 4]"), 11, "seeds", "distinct"),
        (changed("seeds = [4, 7, 9]", "seeds = []"), 11, "seeds", "distinct"),
        (changed("seeds = [4, 7, 9]", "seeds = 0"), 11, "seeds", "at least 1"),
        (changed("seeds = [4, 7, 9]", "seeds = true"), 11, "seeds", "list"),
        (changed("seeds = [4, 7, 9]", "seeds = [-1]"), 11, "seeds", "from 0 to 999999"),
        (changed("seeds = [4, 7, 9]", "seeds = [1000000]"), 11, "seeds", "from 0 to 999999"),
        (changed("seeds = [4, 7, 9]", "seed = 5"), 11, "seed", "not permitted"),
        (changed("seeds = [4, 7, 9]", "max_epochs = 5"), 11, "max_epochs", "not permitted"),
        # in a table
        (changed("max_epochs = 9", "max_epochs = 0"), 14, "training.max_epochs", "greater than 0"),
        (changed("patience = 3", 'patience = "long"'), 16, "training.patience", "integer"),
        (changed("min_delta = 0.001", "min_delta = inf"), 17, "training.min_delta", "finite"),
        (changed("min_delta = 0.001", "learning_rate = 1"), 17, "training.learning_rate", "not permitted"),
        (changed("trials = 4", ""), 19, "tuning.trials", "required"),
        (changed("max_epochs = 2", "max_epochs = -1"), 21, "tuning.max_epochs", "greater than 0"),
        (changed('sampler = "random"', 'sampler = "grid"'), 22, "tuning.sampler", "'tpe', 'gp', 'random' or 'qmc'"),
        (changed('boundary = ["cpu", "dram"]', "boundary = []"), 27, "measurement.boundary", "at least 1"),
        (changed('boundary = ["cpu", "dram"]', 'country = "fr"'), 27, "measurement.country", "match"),
        (changed("pue = 1.1", "pue = 0.9"), 31, "measurement.pue", "greater than or equal to 1"),
        (changed("confidence = 0.9", "confidence = 1"), 34, "statistics.confidence", "less than 1"),
        # in another form
        (MINIMAL + "training = { max_epochs = 0 }\n\n[tuning]\nmax_epochs = 3\n", 4, "training.max_epochs", "than 0"),
        (MINIMAL + "training.max_epochs = 0\n", 4, "training.max_epochs", "greater than 0"),
        (MINIMAL + 'training = "long"\n', 4, "training", "dictionary"),
        (MINIMAL + '"seeds" = 0\n', 4, "seeds", "at least 1"),
        (MINIMAL + "# seeds = 1\n  seeds=0\n", 5, "seeds", "at least 1"),
        (TABLES.replace('"greedy"', '"greedy"\nname = 3'), 9, "algorithms.1.name", "string"),
        # missing
        (TABLES, 7, "algorithms.1.name", "required"),
        (MINIMAL.replace('name = "tiny"\n', ""), 1, "name", "required"),
        (MINIMAL.replace('workloads = ["digits-mlp"]\n', ""), 1, "workloads", "required"),
        ('workloads = ["digits-mlp"]\n\n[[algorithms]]\nname = "backprop"\n', 1, "name", "required"),
        (MINIMAL.replace('"backprop"', '{ schedule = "greedy" }'), 3, "algorithms.0.name", "required"),
        (MINIMAL.replace('"backprop"', '"mono_forward"'), 1, "baseline", "not among the algorithms"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path, text, line, field, reason):
    message = refused(tmp_path, text)
    assert message.startswith(f", line {line}: {field}: ")
    assert reason in message


def test_what_is_not_toml(tmp_path):
    message = refused(tmp_path, MINIMAL + 'seeds = [1, 2\n[training]\npatience = "\n')
    assert message.startswith(" is not valid TOML: ")
    assert "line 5" in message
    assert "line 4" in refused(tmp_path, MINIMAL + MINIMAL), "a key given twice"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", "folder"])
def test_what_cannot_be_read(tmp_path, content):
    path = tmp_path / "study.toml"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=f"cannot read study file {path}: "):
        load(path)


def test_the_plan_has_every_cell(tmp_path):
    planned = plan(read(tmp_path, FULL), "cpu")
    assert len(planned.cells) == 2 * 3 * 2
    assert {cell.algorithm: cell.fixed for cell in planned.cells} == {
        "backprop": {},
        "mono_forward": {"schedule": "greedy"},
        "forward_forward": {},
    }


def test_specs_have_the_studys_settings(tmp_path):
    planned = plan(read(tmp_path, FULL), "cpu")
    cell = planned.cells[0]
    tuned = tuned_cells(planned)[cell.name].model_copy(update={"hyperparameters": {"x": 1}})
    trial, final = planned.trial(cell, {"x": 1}, 5), planned.final(cell, tuned, 5)
    assert (trial.training.max_epochs, final.training.max_epochs) == (2, 9)
    assert (final.training.batch_size, final.training.patience, final.training.min_delta) == (64, 3, 0.001)
    assert (final.measurement.boundary, final.measurement.pue) == (("cpu", "dram"), 1.1)
    assert (final.seed, final.role, final.device, final.hyperparameters) == (5, "final", "cpu", {"x": 1})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"workloads": ["digit-mlp"]}, "unknown workload 'digit-mlp': did you mean digits-mlp"),
        ({"algorithms": ["backprop", "monoforward"]}, "unknown algorithm 'monoforward': did you mean mono_forward"),
        ({"optimizers": ["adamv"]}, "unknown optimizer 'adamv': did you mean adam"),
        ({"algorithms": [{"name": "backprop", "learnrate": 1}]}, "unknown hyperparameter 'learnrate': did you mean"),
        ({"algorithms": [{"name": "backprop", "learning_rate": 0}]}, "learning_rate = 0 is not accepted"),
        (
            {"algorithms": ["backprop", {"name": "mono_forward", "schedule": "lazy"}]},
            "schedule = 'lazy' is not accepted: it must be 'simultaneous' or 'greedy'",
        ),
        ({"measurement": {"country": "XXX"}}, "no emission factor for country 'XXX'"),
    ],
)
def test_a_plan_checks_every_name(fields, message):
    with pytest.raises(RequestError) as caught:
        plan(minimal(**fields), "cpu")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_algorithm_that_does_not_suit_says_what_does():
    with pytest.raises(RequestError) as caught:
        plan(minimal(workloads=["fashion-cnn"], algorithms=["backprop", "forward_forward"]), "cpu")
    message = str(caught.value)
    assert message.startswith("forward_forward is not defined for fashion-cnn (cnn): choose a workload of kind mlp")
    assert "digits-mlp" in message


@pytest.mark.parametrize(
    ("entry", "fair"),
    [
        ("forward_forward", True),
        ("cascaded_forward", False),
        ({"name": "cascaded_forward", "schedule": "simultaneous"}, True),
        ({"name": "mono_forward", "schedule": "greedy"}, False),
    ],
)
def test_a_pruner_is_for_methods_of_one_stage(entry, fair):
    study = minimal(algorithms=["backprop", entry], tuning={"trials": 2, "pruner": "median"})
    if fair:
        assert len(plan(study, "cpu").cells) == 2
    else:
        with pytest.raises(RequestError, match=r"pruner = 'median' is unfair to .*simultaneous"):
            plan(study, "cpu")
    assert plan(minimal(algorithms=["backprop", entry], tuning={"trials": 2}), "cpu")


def tuned_cells(planned):
    return {
        cell.name: TunedCell(
            cell=cell.name, workload=cell.workload, algorithm=cell.algorithm, optimizer=cell.optimizer,
            hyperparameters={"of": cell.name}, best_trial=0, best_value=0.5, trials=1, statuses={}, epochs=1,
            seconds=1.0, readings=[],
        )
        for cell in planned.cells
    }  # fmt: skip


def test_final_blocks_have_every_cell_once(tmp_path):
    planned = plan(read(tmp_path, FULL), "cpu")
    tuned = tuned_cells(planned)
    blocks = planned.final_blocks(tuned)
    assert len(blocks) == 2 * 3, "one a workload and seed"
    for block in blocks:
        assert len({(spec.workload, spec.seed) for spec in block}) == 1
        cells = Counter((spec.algorithm, spec.optimizer) for spec in block)
        assert set(cells.values()) == {1}
        assert len(cells) == 3 * 2
        assert all(spec.hyperparameters == {"of": spec.cell} for spec in block)
        assert all(spec.role == "final" and spec.training.max_epochs == 9 for spec in block)
    assert sorted({(block[0].workload, block[0].seed) for block in blocks}) == [
        (workload, seed) for workload in ("digits-mlp", "fashion-mlp") for seed in (4, 7, 9)
    ]
    assert len({spec.id for block in blocks for spec in block}) == 36


def test_final_blocks_are_shuffled_the_same_way_each_time():
    algorithms = ["backprop", "forward_forward", "cascaded_forward", "mono_forward"]
    planned = plan(minimal(algorithms=algorithms, seeds=40), "cpu")
    tuned = tuned_cells(planned)
    random.seed(1)
    state = random.getstate()
    first = planned.final_blocks(tuned)
    assert random.getstate() == state
    assert planned.final_blocks(tuned) == first
    orders = [tuple(spec.algorithm for spec in block) for block in first]
    assert len(set(orders)) > 4
    assert {order[0] for order in orders} == set(algorithms), "nobody is always first or never"
    fewer = plan(minimal(algorithms=algorithms, seeds=[5]), "cpu").final_blocks(tuned)
    assert fewer == [first[5]], "a block does not depend on the other seeds"


def test_trials_and_final_runs_share_no_seed(tmp_path):
    assert max(read(tmp_path, FULL).seeds) < TRIAL_SEED


UNEQUAL = """
name = "unequal"
workloads = ["digits-mlp", { name = "fashion-mlp", algorithms = ["backprop", "greedy"] }]
algorithms = [
    { name = "backprop", optimizer = "sgd" },
    { name = "mono_forward", label = "greedy", schedule = "greedy" },
    "forward_forward",
]
seeds = 1

[training]
patience = 7

[[overrides]]
algorithms = ["greedy"]
training = { epochs_per_stage = 5, monitor = "loss", restore = "last" }
hyperparameters = { learning_rate = 2e-4, weight_decay = 0.0 }

[[overrides]]
workloads = ["fashion-mlp"]
training = { patience = 3, schedule = "linear_cooldown" }
hyperparameters = { learning_rate = 3e-4 }
"""


def test_workloads_may_have_some_of_the_methods_and_methods_their_own_optimizer(tmp_path):
    cells = {cell.name for cell in plan(read(tmp_path, UNEQUAL), "cpu").cells}
    assert cells == {
        "digits-mlp.backprop.sgd",
        "digits-mlp.greedy.adamw",
        "digits-mlp.forward_forward.adamw",
        "fashion-mlp.backprop.sgd",
        "fashion-mlp.greedy.adamw",
    }


def test_overrides_apply_where_they_are_meant_and_the_last_wins(tmp_path):
    planned = plan(read(tmp_path, UNEQUAL), "cpu")
    tuned = {name: cell.model_copy(update={"hyperparameters": {}}) for name, cell in tuned_cells(planned).items()}
    specs = {spec.cell: spec.training for block in planned.final_blocks(tuned) for spec in block}
    greedy, elsewhere = specs["digits-mlp.greedy.adamw"], specs["digits-mlp.backprop.sgd"]
    assert (greedy.epochs_per_stage, greedy.monitor, greedy.restore, greedy.patience) == (5, "loss", "last", 7)
    assert (elsewhere.epochs_per_stage, elsewhere.monitor, elsewhere.schedule) == (None, "metric", "constant")
    assert specs["fashion-mlp.greedy.adamw"].patience == specs["fashion-mlp.backprop.sgd"].patience == 3
    assert specs["fashion-mlp.greedy.adamw"].schedule == "linear_cooldown"
    fixed = {cell.name: cell.fixed for cell in planned.cells}
    assert fixed["digits-mlp.greedy.adamw"] == {"schedule": "greedy", "learning_rate": 2e-4, "weight_decay": 0.0}
    assert fixed["fashion-mlp.greedy.adamw"]["learning_rate"] == 3e-4
    assert fixed["digits-mlp.backprop.sgd"] == {}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('["backprop", "greedy"]', '["backprop", "gredy"]', "fashion-mlp names 'gredy', which the study has not"),
        ('["backprop", "greedy"]', '["greedy"]', "fashion-mlp lacks the baseline, backprop"),
        ('algorithms = ["greedy"]', 'algorithms = ["mono_forward"]', "names 'mono_forward', which the study has not"),
        ('workloads = ["fashion-mlp"]', 'workloads = ["mnist-mlp"]', "names workload 'mnist-mlp'"),
        ("patience = 3", "patience = 0", "greater than 0"),
        ("patience = 3", "patients = 3", "not permitted"),
        ("patience = 3", "matched_passes = true", "matched_passes needs follows"),
        ("seeds = 1", 'seeds = 1\nfollows = "other"\n[tuning]\ntrials = 2', "taken over from 'other'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, old, new, reason):
    assert UNEQUAL.count(old) == 1
    with pytest.raises(RequestError) as caught:
        read(tmp_path, UNEQUAL.replace(old, new))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_matched_passes_take_the_place_of_epochs_a_stage():
    study = minimal(follows="other", training={"matched_passes": True, "epochs_per_stage": 100})
    planned = plan(study, "cpu")
    (cell,) = planned.cells
    tuned = tuned_cells(planned)[cell.name].model_copy(update={"matched_passes": 12})
    training = planned.final(cell, tuned, 0).training
    assert (training.max_epochs, training.patience, training.epochs_per_stage) == (12, 12, None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"follows": "tiny"}, "a study cannot follow itself"),
        ({"training": {"epochs_per_stage": 9}, "tuning": {"trials": 2}}, "max_epochs must say how many passes"),
    ],
)
def test_what_makes_no_sense_together_is_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        minimal(**fields)


def test_the_target_that_a_study_aims_at_is_part_of_its_digest(monkeypatch):
    aims, does_not = minimal(training={"stop_at_target": True}), minimal()
    before = aims.digest, does_not.digest
    target = studies.TARGETS.get("digits-mlp") or Target(0.9, "accuracy", True, "s", "b", "o", 0.005, [0], [0.9])
    monkeypatch.setitem(studies.TARGETS, "digits-mlp", replace(target, value=0.123))
    assert aims.digest != before[0]
    assert does_not.digest == before[1]
