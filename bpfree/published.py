"""Published runs as records: the job logs of arXiv 2509.19063 and 2511.01061, one line of a CSV file a run.

What the file does not say of a run, its settings and the machine, stands in the tables below; both are from the
repository that published the logs (studies/published/README.md). Units: seconds, joules, per cent of accuracy.
What was published over another window than the training, or of another thing than we measure, is left out.
"""

import csv
import io
import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bpfree.errors import RequestError
from bpfree.records import Cost, MeasurementSettings, Metrics, Phase, Reading, Record, RunSpec, TrainingSettings
from bpfree.results import ResultsFolder
from bpfree.study import Study
from bpfree.toml import broken_value

STUDY = "published"
"""What the imported runs are called as a study, and their folder."""
DESCRIPTION = "The published runs of arXiv 2509.19063 and 2511.01061, as their job logs have them"
BASELINE = "backprop"
CLAIMS = Path(__file__).with_name("published_claims.toml")

DATASETS = {"mnist": ("mnist", 50_000), "fashion_mnist": ("fashion", 54_000), "cifar10": ("cifar10", 45_000),
            "cifar100": ("cifar100", 45_000)}  # fmt: skip
"""Our name, and the number of training samples: MNIST lends 10,000 for validation, the others a tenth."""
ARCHITECTURES = {"mlp-2x1000": "mlp-2x1000", "mlp-3x1000": "mlp-3x1000", "mlp-3x2000": "mlp-3x2000",
                 "mlp-4x2000": "mlp-4x2000", "cnn-3block-32-128-512": "cnn"}  # fmt: skip
FORMS: dict[tuple[str, str], tuple[str | None, str]] = {
    ("backprop", ""): (None, "adamw"),
    ("mono_forward", ""): (None, "adam"),
    ("forward_forward", "adamw"): (None, "adamw"),
    ("forward_forward", "sgd"): ("forward_forward_sgd", "sgd"),
    ("cascaded_forward", "random"): ("cascaded_forward_random", "adam"),
    ("cascaded_forward", "dfa"): ("cascaded_forward_dfa", "adam"),
}
"""Label and optimizer of an algorithm's variant."""

TRAINING: dict[str, dict[str, Any]] = {
    "backprop": {"batch_size": 128, "monitor": "loss"},
    "mono_forward": {"batch_size": 128, "monitor": "loss", "restore": "last"},
    "forward_forward": {"batch_size": 100, "monitor": "metric", "schedule": "linear_cooldown"},
    "cascaded_forward": {"batch_size": 128, "monitor": "loss", "restore": "last"},
}
STOPPING: dict[str, dict[str, tuple[int, int, float]]] = {
    "backprop": {
        "mnist-mlp-2x1000": (100, 10, 0.0), "fashion-mlp-2x1000": (100, 10, 0.0),
        "cifar10-mlp-3x2000": (100, 20, 0.0), "cifar100-mlp-3x2000": (100, 5, 0.0),
        "mnist-mlp-3x1000": (100, 30, 0.0), "mnist-mlp-4x2000": (100, 40, 0.0), "fashion-mlp-4x2000": (100, 10, 0.0),
        "mnist-cnn": (100, 10, 0.0), "fashion-cnn": (100, 10, 0.0),
        "cifar10-cnn": (100, 40, 0.0), "cifar100-cnn": (100, 20, 0.0),
    },
    "mono_forward": {
        "mnist-mlp-2x1000": (14, 5, 1e-4), "fashion-mlp-2x1000": (12, 10, 1e-4),
        "cifar10-mlp-3x2000": (15, 4, 1e-4), "cifar100-mlp-3x2000": (8, 4, 1e-4),
    },
    "forward_forward": {
        "mnist-mlp-3x1000": (100, 20, 1e-4), "mnist-mlp-4x2000": (100, 20, 1e-4), "fashion-mlp-4x2000": (100, 20, 1e-4),
    },
    "forward_forward_sgd": {"mnist-mlp-3x1000": (100, 20, 1e-4)},
    # On MNIST a misspelt key, on Fashion-MNIST a misplaced one let the code's own defaults apply.
    "cascaded_forward_random": {
        "mnist-cnn": (10, 20, 0.0), "fashion-cnn": (145, 10, 1e-3),
        "cifar10-cnn": (733, 8, 1e-3), "cifar100-cnn": (1220, 10, 1e-3),
    },
    "cascaded_forward_dfa": {
        "mnist-cnn": (12, 5, 5e-4), "fashion-cnn": (85, 6, 1e-3),
        "cifar10-cnn": (147, 8, 1e-3), "cifar100-cnn": (1271, 10, 1e-3),
    },
}  # fmt: skip
"""By method and workload: epochs that a stage may take, patience, least gain; the backprop row lists all workloads."""

ENVIRONMENT: dict[str, Any] = {
    "source": "job logs in the repository Przemyslaw11/BeyondBackpropagation (MIT licence), read on 2026-11-24",
    "gpu": "NVIDIA A100-SXM4-40GB",
    "driver": "570.86.15",
    "cuda": "12.4",
    "cpu": "AMD EPYC 7742",
    "platform": "Rocky Linux 9.5",
    "packages": {"torch": "2.4.0+cu121", "optuna": "4.2.1", "codecarbon": "3.0.1", "pynvml": "12.0.0"},
    "memory": "left out: the published peak is of the whole device, with the context and other processes",
    "CO2e": "left out: the published grams are of the whole process, the joules of training with validation",
}
METER = "power sampled every 0.2 s over training with validation, integrated by the source's own code"


class Row(BaseModel):
    """A line of the file; further columns are not read."""

    model_config = ConfigDict(allow_inf_nan=False)

    run: Annotated[str, Field(min_length=1)]
    algorithm: Literal["backprop", "forward_forward", "cascaded_forward", "mono_forward"]
    variant: Literal["", "adamw", "sgd", "random", "dfa"]
    dataset: Literal["mnist", "fashion_mnist", "cifar10", "cifar100"]
    architecture: Literal["mlp-2x1000", "mlp-3x1000", "mlp-3x2000", "mlp-4x2000", "cnn-3block-32-128-512"]
    seed: Annotated[int, Field(ge=0)]
    steps: Annotated[int, Field(gt=0)]
    """Of the optimizer, all stages together."""
    test_accuracy_percent: Annotated[float, Field(ge=0, le=100)]
    train_seconds: Annotated[float, Field(gt=0)]
    gpu_energy_joules: Annotated[float, Field(gt=0)]
    finished_cleanly: bool


def import_runs(file: Path, results: Path) -> list[Record]:
    """Write the runs of a file as the study `published` under a folder of results. Doing it again changes nothing.

    Raises
    ------
    RequestError
        The file cannot be read or a field is wrong: the message names file, line and field. Or the folder holds
        another study of this name.
    WorldError
        The folder cannot be written, or another process works in it.
    """
    records = read_runs(file)
    text = study_text(records)
    plan = {
        "digest": Study.model_validate(tomllib.loads(text)).digest,
        "device": "cuda",
        "final_runs": [record.id for record in records],
    }
    folder = ResultsFolder(results / STUDY)
    if any(record.spec.role != "imported" for record in folder.records()):
        raise RequestError(f"{folder.path} holds runs of a study of yours: choose another folder with --results")
    lock = folder.lock()
    try:
        for record in records:
            folder.write(record)
        folder.write_text("study.toml", text)
        folder.write_text("plan.json", json.dumps(plan, indent=1) + "\n")
    finally:
        lock.release()
    return records


def read_runs(file: Path) -> list[Record]:
    """The records of a file, in its order.

    Raises
    ------
    RequestError
        As in `import_runs`.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RequestError(f"cannot read {file}: {reason}") from None
    records: list[Record] = []
    lines: dict[str, int] = {}
    for line, values in table(file, text):
        try:
            row = Row.model_validate(values)
            records.append(record_of(row, len(records)))
            if row.run in lines:
                raise ValueError(f"run: {row.run} stands in line {lines[row.run]} too")
        except ValidationError as error:
            first = error.errors()[0]
            raise RequestError(f"{file}, line {line}: {first['loc'][0]}: {first['msg']}") from None
        except ValueError as error:
            raise RequestError(f"{file}, line {line}: {error}") from None
        lines[row.run] = line
    if not records:
        raise RequestError(f"{file} has no run: below its header there is no line")
    return records


def table(file: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a file by column, each with its number.

    Raises
    ------
    RequestError
        It is not CSV, a column is missing, or a line has too few or too many fields.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = [name for name in Row.model_fields if name not in (reader.fieldnames or [])]
        if missing:
            raise RequestError(f"{file}, line 1: {missing[0]}: there is no such column")
        for values in reader:
            if None in values or None in values.values():
                raise RequestError(f"{file}, line {reader.line_num}: it has not as many fields as the header")
            yield reader.line_num, values
    except csv.Error as error:
        raise RequestError(f"{file}, line {max(1, reader.reader.line_num)}: it is not CSV ({error})") from None


def record_of(row: Row, position: int) -> Record:
    """A line as a record.

    Raises
    ------
    ValueError
        Fields contradict each other; the message begins with the field's name.
    """
    spec = spec_of(row)
    samples, batch = DATASETS[row.dataset][1], spec.training.batch_size
    epochs, rest = divmod(row.steps, samples // batch)  # the last, smaller batch of an epoch was dropped
    if rest:
        raise ValueError(f"steps: {row.steps} are not whole epochs of {samples // batch} batches")
    reading = Reading(
        component="gpu", joules=row.gpu_energy_joules, method="nvml_power_integrated", quality="measured",
        resolution=None, reason=METER,
    )  # fmt: skip
    accuracy = round(row.test_accuracy_percent / 100, 6)
    cost = Cost(
        steps=row.steps, epochs=epochs, samples=row.steps * batch, parameters=None, flops_per_step=None,
        flops_total=None, train_seconds=row.train_seconds, train_joules=row.gpu_energy_joules, train_joules_net=None,
        joules_quality="measured", boundary=["gpu"], idle_watts=None, peak_device_bytes=None, peak_host_bytes=None,
    )  # fmt: skip
    return Record(
        id=spec.id, status="completed", spec=spec, environment=ENVIRONMENT,
        metrics=Metrics(metric="accuracy", higher_is_better=True, test_metric=accuracy, test_accuracy=accuracy),
        phases={"train": Phase(seconds=row.train_seconds, readings=[reading])},
        cost=cost, position=position,
        warnings=[] if row.finished_cleanly else [f"the log of {row.run} does not end as that of a finished job"],
    )  # fmt: skip


def spec_of(row: Row) -> RunSpec:
    """What determined a run, as far as it is known: the hyperparameters are not all published, so none is given.

    Raises
    ------
    ValueError
        The variant is not one of the algorithm's, or its settings on the network are not known.
    """
    if (row.algorithm, row.variant) not in FORMS:
        known = " or ".join(repr(variant) for algorithm, variant in FORMS if algorithm == row.algorithm)
        raise ValueError(f"variant: of {row.algorithm} it should be {known}")
    label, optimizer = FORMS[row.algorithm, row.variant]
    workload = f"{DATASETS[row.dataset][0]}-{ARCHITECTURES[row.architecture]}"
    stopping = STOPPING[label or row.algorithm].get(workload)
    if stopping is None:
        raise ValueError(f"architecture: {row.architecture} was not published for {row.algorithm} on {row.dataset}")
    epochs_per_stage, patience, min_delta = stopping
    return RunSpec(
        workload=workload, algorithm=row.algorithm, label=label, optimizer=optimizer, hyperparameters={},
        seed=row.seed, device="cuda", role="imported", imported_run=row.run,
        training=TrainingSettings(
            max_epochs=100, epochs_per_stage=epochs_per_stage, patience=patience, min_delta=min_delta,
            **TRAINING[row.algorithm],
        ),
        measurement=MeasurementSettings(boundary=("gpu",), idle_seconds=0, warmup_steps=0, country="POL"),
    )  # fmt: skip


def study_text(records: Sequence[Record]) -> str:
    """The study file of imported runs: which methods were published on which workload."""
    found = {(record.spec.workload, record.spec.method) for record in records}
    methods = [
        (label or algorithm, algorithm, label, optimizer) for (algorithm, _), (label, optimizer) in FORMS.items()
    ]
    workloads = []
    for workload in STOPPING[BASELINE]:
        here = [method for method, *_ in methods if (workload, method) in found]
        if here:
            workloads.append({"name": workload, "algorithms": list(dict.fromkeys([BASELINE, *here]))})
    taking_part = {method for workload in workloads for method in workload["algorithms"]}
    algorithms = [
        {"name": algorithm, **({"label": label} if label else {}), "optimizer": optimizer}
        for method, algorithm, label, optimizer in methods
        if method in taking_part
    ]
    entries = {"name": STUDY, "description": DESCRIPTION, "workloads": workloads, "algorithms": algorithms}
    lines = [f"{key} = {broken_value(value)}" for key, value in {**entries, "baseline": BASELINE}.items()]
    claims = [
        entry
        for entry in tomllib.loads(CLAIMS.read_text(encoding="utf-8"))["claims"]
        if (entry["workload"], entry["algorithm"]) in found
    ]
    lines += ["", *([f"claims = {broken_value(claims)}"] if claims else [])]
    return "\n".join([*lines, "", "[statistics]", "confidence = 0.95"]) + "\n"
