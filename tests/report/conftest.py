"""Made-up studies in a results folder, as the driver leaves them: no torch, no training."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfree.records import (
    Carbon,
    Cost,
    Evaluation,
    MeasurementSettings,
    Metrics,
    Phase,
    Reading,
    Record,
    RunSpec,
    StageSummary,
    TrainingSettings,
    TunedCell,
)
from bpfree.results import ResultsFolder
from bpfree.sections import TRIAL_SEED
from bpfree.study import Study, to_toml

ALGORITHMS = ["backprop", "forward_forward", "cascaded_forward", "mono_forward"]
ACCURACY = {"backprop": 0.965, "forward_forward": 0.93, "cascaded_forward": 0.945, "mono_forward": 0.964}
JOULES = {"backprop": 100.0, "forward_forward": 260.0, "cascaded_forward": 180.0, "mono_forward": 101.0}
BLOCKS = {"backprop": 1, "forward_forward": 3, "cascaded_forward": 3, "mono_forward": 3}
METHODS = {"measured": "nvml_energy_counter", "modelled": "cpu_seconds_model", "unresolved": "rapl_powercap"}
REASON = {"modelled": "process CPU seconds × 4 W (an assumption)", "absent": "there is no counter here"}
EPOCHS, STEPS_PER_EPOCH = 6, 36


def reading(component: str, joules: float | None, quality: str) -> Reading:
    return Reading(
        component=component,
        joules=None if quality == "absent" else joules,
        method=METHODS.get(quality, "none"),
        quality=quality,
        resolution=0.001 if quality == "measured" else None,
        reason=REASON.get(quality),
    )


class Builder:
    """A study with one workload; every run is drawn from its algorithm and seed alone."""

    def __init__(
        self, path: Path, study: Study, component: str, quality: Callable[[str, int], str], error: str | None
    ) -> None:
        self.folder, self.study, self.component, self.quality = ResultsFolder(path), study, component, quality
        self.error = error

    def spec(self, algorithm: str, seed: int, role: str = "final", rate: float = 0.001) -> RunSpec:
        return RunSpec(
            workload=self.study.workloads[0].name,
            algorithm=algorithm,
            optimizer="adamw",
            hyperparameters={"learning_rate": rate, "weight_decay": 0.0001},
            seed=seed,
            training=TrainingSettings(
                max_epochs=2 * EPOCHS,
                batch_size=32,
                patience=2,
                min_delta=0.0,
                target=0.93 if self.study.training.stop_at_target else None,
            ),
            measurement=MeasurementSettings(country="ITA"),
            device="cuda" if self.component == "gpu" else "cpu",
            role=role,
        )

    def record(self, spec: RunSpec, status: str = "completed", **fields) -> Record:
        environment = {"bpfree": "0.1.0", "cpu": "Test CPU", "memory_bytes": 2**34, "packages": {"torch": "2.13.0"}}
        whole = {"id": spec.id, "status": status, "spec": spec, "environment": environment, **fields}
        return Record(**whole) if status == "failed" else Record(**{**self.figures(spec), **whole})

    def figures(self, spec: RunSpec) -> dict:
        """All that a run that ended yields."""
        draw = random.Random(f"{spec.algorithm}/{spec.seed}")
        blocks = BLOCKS[spec.algorithm]
        quality = self.quality(spec.algorithm, spec.seed)
        joules = JOULES[spec.algorithm] * draw.uniform(0.9, 1.1) if quality in METHODS else None
        seconds = JOULES[spec.algorithm] / 5 * draw.uniform(0.95, 1.05)
        accuracy = ACCURACY[spec.algorithm] + draw.uniform(-0.004, 0.004)
        epochs, steps = blocks * EPOCHS, blocks * EPOCHS * STEPS_PER_EPOCH
        history = [
            Evaluation(
                stage=f"block {1 + i // EPOCHS}",
                epoch=i + 1,
                step=(i + 1) * STEPS_PER_EPOCH,
                train_loss=1 / (i + 1),
                validation_metric=self.metric(accuracy - 0.2 / (i % EPOCHS + 1)),
                validation_loss=0.2,
                seconds=seconds * (i + 1) / epochs,
                joules=None if joules is None else joules * (i + 1) / epochs,
            )
            for i in range(epochs)
        ]
        shares = {"setup": 0.05, "train": 0.95, "validate": 0.05, "test": 0.01}
        return {
            "metrics": Metrics(
                metric=self.error or "accuracy",
                higher_is_better=not self.error,
                test_metric=self.metric(accuracy),
                test_accuracy=None if self.error else accuracy,
                test_loss=0.2,
                validation_metric=self.metric(accuracy),
            ),
            "stages": [
                StageSummary(
                    name=f"block {i + 1}",
                    epochs=EPOCHS,
                    best_epoch=EPOCHS - 2,
                    steps=EPOCHS * STEPS_PER_EPOCH,
                    flops_per_step=10**8,
                    stopped_early=True,
                )
                for i in range(blocks)
            ],
            "history": history,
            "phases": {
                name: Phase(
                    seconds=share * seconds,
                    readings=[
                        reading(self.component, None if joules is None else share * joules, quality),
                        reading("dram", None, "absent"),
                    ],
                )
                for name, share in shares.items()
            },
            "cost": Cost(
                steps=steps,
                epochs=epochs,
                samples=32 * steps,
                parameters=50_000,
                flops_per_step=1e8,
                flops_total=1e8 * steps,
                train_seconds=seconds,
                train_joules=joules,
                train_joules_net=0.8 * joules if joules and quality == "measured" else None,
                joules_quality=quality,
                boundary=[self.component],
                idle_watts=10.0 if quality == "measured" else None,
                peak_device_bytes=2**30 if self.component == "gpu" else None,
                peak_host_bytes=2**29,
                carbon=None
                if joules is None
                else Carbon(co2e_kg=joules * 1e-7, intensity_g_per_kwh=360, pue=1, source="CodeCarbon, Italy"),
            ),
            "started": "2026-01-02T03:04:05+00:00",
        }

    def metric(self, accuracy: float) -> float:
        """An accuracy, or the error in its place."""
        return 1 - accuracy if self.error else accuracy

    def write_tuning(self, algorithm: str) -> None:
        """Two trials and their outcome."""
        for k in range(2):
            spec = self.spec(algorithm, TRIAL_SEED + k, "trial", rate=0.001 * (k + 1))
            self.folder.write(self.record(spec, trial=k))
        quality = self.quality(algorithm, 0)
        self.folder.write_tuned(
            TunedCell(
                cell=self.spec(algorithm, 0).cell,
                workload=self.study.workloads[0].name,
                algorithm=algorithm,
                optimizer="adamw",
                hyperparameters={"learning_rate": 0.001, "weight_decay": 0.0001},
                best_trial=0,
                best_value=self.metric(0.95),
                trials=2,
                statuses={"completed": 2},
                epochs=24,
                seconds=40.0,
                readings=[reading(self.component, 2 * JOULES[algorithm], quality)],
            )
        )


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Path]:
    """Writes a study: which runs are missing, how others ended, what was measured. Returns its folder.

    `error` names a metric in the place of accuracy, of which less is better: what accuracy leaves to 1.
    """

    def make(
        path: Path,
        *,
        seeds: int = 5,
        component: str = "cpu",
        error: str | None = None,
        quality: str | Callable[[str, int], str] = "modelled",
        missing: Callable[[str, int], bool] = lambda algorithm, seed: False,
        fields: dict[tuple[str, int], dict] | None = None,
        description: str = "A made-up study",
        extra: bool = False,
        **sections,
    ) -> Path:
        study = Study(
            name="made-up",
            description=description,
            workloads=["digits-mlp"],
            algorithms=ALGORITHMS,
            seeds=seeds,
            measurement={"country": "ITA"},
            **{"tuning": {"trials": 2}, **sections},
        )
        kind = quality if callable(quality) else lambda algorithm, seed: quality
        builder = Builder(path, study, component, kind, error)
        builder.folder.write_text("study.toml", to_toml(study))
        planned = []
        for seed in study.seeds:
            for position, algorithm in enumerate(ALGORITHMS):
                spec = builder.spec(algorithm, seed)
                planned.append(spec.id)
                more = (fields or {}).get((algorithm, seed), {})
                if not missing(algorithm, seed):
                    builder.folder.write(builder.record(spec, block=seed, position=position, **more))
        for algorithm in ALGORITHMS if study.tuning else []:
            builder.write_tuning(algorithm)
        plan = {"digest": study.digest, "device": "cpu", "final_runs": planned}
        builder.folder.write_text("plan.json", json.dumps(plan, indent=1) + "\n")
        if extra:  # a run of an earlier version of the study, with another setting
            spec = builder.spec("backprop", 0, rate=0.5)
            builder.folder.write(builder.record(spec, metrics=Metrics(test_metric=0.1)))
        return path

    return make


@pytest.fixture
def made(make_study, tmp_path) -> Callable[..., Path]:
    """As `make_study`, in this test's own folder."""
    return lambda **options: make_study(tmp_path / "results" / "made-up", **options)
