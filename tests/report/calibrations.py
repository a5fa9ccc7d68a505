"""Made-up calibrations in a results folder, as the driver leaves them: no torch, no training."""

import math
import random
from pathlib import Path

from bpfree.outcomes import CALIBRATED, NAIVE, Arm, Budget, MethodOutcome, Outcome, Schedule
from bpfree.records import (
    Cost,
    Evaluation,
    MeasurementSettings,
    Phase,
    Reading,
    Record,
    RunSpec,
    TrainingSettings,
)
from bpfree.results import ResultsFolder

INF = math.inf
TABLE_SEED = 1_000_000
MAX_STEPS, EVERY = 1000, 50
TARGET = 0.9
KNOBS = {
    "learning_rate": "0.0001 to 0.01 (log)", "averaging": "0.0 | 8.0", "schedule": "constant | cosine",
    "warmup": "0.0 | 0.05", "horizon": "0.75 | 1.0",
}  # fmt: skip


def budget(name, **fields):
    whole = {
        "name": name, "metric": "accuracy", "higher_is_better": True, "target": TARGET,
        "target_from": "study: backprop with nadamw, 5 seeds", "max_steps": MAX_STEPS, "evaluate_every": EVERY,
        "batch_size": 32, "reference_steps": 100.0,
    }  # fmt: skip
    return Budget(**whole | fields)


def arm(name, seed=0):
    draw = random.Random(f"{name}/{seed}")
    if name == NAIVE:
        return Arm(name=name, hyperparameters={"learning_rate": 0.001, "averaging": 0.0}, schedule=Schedule(), runs={})
    values = {"learning_rate": 10 ** draw.uniform(-4, -2), "averaging": draw.choice([0.0, 8.0])}
    shape, warmup, horizon = (draw.choice(c) for c in (["constant", "cosine"], [0.0, 0.05], [0.75, 1.0]))
    return Arm(
        name=name, hyperparameters=values, schedule=Schedule(shape=shape, warmup=warmup, horizon=horizon), runs={}
    )


class Maker:
    """A calibration: times are given by method, setting and workload; `figures` says what a run took besides steps."""

    def __init__(self, path: Path, suite, *, points=2, seeds=(0, 1), table_seeds=(TABLE_SEED,), quality="modelled"):
        self.folder, self.suite, self.points = ResultsFolder(path), suite, points
        self.seeds, self.table_seeds, self.quality = list(seeds), list(table_seeds), quality
        self.methods: list[MethodOutcome] = []
        self.missing: set[tuple[str, str, str, int]] = set()
        """Method, arm, workload and seed of runs that have no record."""
        self.fields: dict[tuple[str, str, str, int], dict] = {}
        """Other fields of their records."""

    def spec(self, method, of, target, seed, role):
        training = TrainingSettings(
            max_epochs=1, max_steps=target.max_steps, evaluate_every=target.evaluate_every, batch_size=32,
            patience=20, min_delta=0.0, restore="last", schedule=of.schedule.shape, warmup=of.schedule.warmup,
            target=target.target, threads=1,
        )  # fmt: skip
        return RunSpec(
            workload=target.name, algorithm="backprop", optimizer=method, hyperparameters=of.hyperparameters,
            seed=seed, training=training, measurement=MeasurementSettings(), device="cpu", role=role,
        )  # fmt: skip

    def run(self, method, of, target, seed, steps, role):
        """Write the record of a run that reaches its target at a step, or never; its id."""
        key = (method, of.name, target.name, seed)
        spec = self.spec(method, of, target, seed, role)
        if key not in self.missing:
            self.folder.write(Record(**{**self.figures(spec, target, steps), **self.fields.get(key, {})}))
        return spec.id

    def figures(self, spec, target, steps):
        last = target.max_steps if math.isinf(steps) else steps
        known = self.quality != "absent"
        better, worse = (0.95, 0.5) if target.higher_is_better else (target.target / 2, 2 * target.target)
        history = [
            Evaluation(
                stage="all", epoch=1, step=step, train_loss=0.5, validation_loss=0.5, seconds=step / 10,
                validation_metric=better if step >= steps else worse, joules=step / 2 if known else None,
            )
            for step in (max(1, int(last) // 2), int(last))
        ]  # fmt: skip
        reading = Reading(
            component="cpu", joules=last / 2 if known else None, method="cpu_seconds_model", quality=self.quality,
            resolution=None, reason="process CPU seconds × 4 W (an assumption)",
        )  # fmt: skip
        cost = Cost(
            steps=last, epochs=1, samples=32 * last, parameters=1000, flops_per_step=1e6, flops_total=1e6 * last,
            train_seconds=last / 10, train_joules=reading.joules, train_joules_net=None, joules_quality=self.quality,
            boundary=["cpu"], readings=[reading], idle_watts=None, peak_device_bytes=None, peak_host_bytes=None,
        )  # fmt: skip
        environment = {"bpfree": "0.1.0", "cpu": "Test CPU", "memory_bytes": 2**34, "packages": {"torch": "2.13.0"}}
        return {
            "id": spec.id, "status": "completed", "spec": spec, "environment": environment, "history": history,
            "phases": {"train": Phase(seconds=last / 10, readings=[reading])}, "cost": cost,
        }  # fmt: skip

    def method(self, name, *, naive, calibrated, table, selected="1", runner_up=None, left_out=None, copies=2.0):
        """A method: for each workload its steps, for each fresh seed, or one for all; `table`: the same by arm."""
        arms = []
        for key, row in table.items():
            of = arm(key, name)
            runs = {b.name: self.runs(name, of, b, row[b.name], self.table_seeds, "trial") for b in self.suite}
            arms.append(of.model_copy(update={"runs": runs}))
        chosen = {NAIVE: arms[0], CALIBRATED: next(a for a in arms if a.name == selected)}
        finals = {
            kind: {b.name: self.runs(name, chosen[kind], b, took[b.name], self.seeds, "final") for b in self.suite}
            for kind, took in ((NAIVE, naive), (CALIBRATED, calibrated))
        }
        self.methods.append(MethodOutcome(
            name=name, paper="a paper", knobs=KNOBS, copies=copies, arms=arms, selected=selected, runner_up=runner_up,
            left_out=left_out or {b.name: selected for b in self.suite}, finals=finals,
        ))  # fmt: skip

    def runs(self, method, of, target, steps, seeds, role):
        many = steps if isinstance(steps, list) else [steps] * len(seeds)
        return [self.run(method, of, target, seed, s, role) for seed, s in zip(seeds, many, strict=True)]

    def write(self, **fields):
        """Write the outcome; the folder's path."""
        whole = {
            "name": "made-up", "description": "A made-up calibration", "baseline": self.methods[0].name,
            "device": "cpu", "digest": "0123456789abcdef", "points": self.points, "confidence": 0.95,
            "table_seeds": self.table_seeds, "seeds": self.seeds, "workloads": self.suite, "methods": self.methods,
        }  # fmt: skip
        self.folder.write_text("calibration.json", Outcome(**whole | fields).model_dump_json(indent=1) + "\n")
        return self.folder.path


def random_calibration(path, methods, *, workloads=4, points=8, seeds=5, table_seeds=1, quality="modelled", seed=0):
    """A calibration of any size, drawn at random: every method has its own speed, and misses now and then."""
    draw = random.Random(seed)
    names = [f"digits-{kind}" for kind in ("mlp", "cnn", "recurrent", "autoencoder", "a", "b", "c", "d")][:workloads]
    suite = [
        budget(name, metric="squared_error", higher_is_better=False, target=0.01234) if "autoencoder" in name
        else budget(name)
        for name in names
    ]  # fmt: skip
    maker = Maker(
        path, suite, points=points, seeds=range(seeds), quality=quality,
        table_seeds=[TABLE_SEED + k for k in range(table_seeds)],
    )  # fmt: skip

    def steps(speed, miss, count):
        values = [EVERY * max(1, round(speed * draw.uniform(0.7, 1.4) / EVERY)) for _ in range(count)]
        return [INF if v > MAX_STEPS or draw.random() < miss else v for v in values]

    arms = [NAIVE, *map(str, range(1, points + 1))]
    for name in methods:
        speeds = {a: {b.name: draw.uniform(100, 900) for b in suite} for a in arms}
        table = {a: {b.name: steps(speeds[a][b.name], 0.15, table_seeds) for b in suite} for a in arms}
        naive, calibrated = ({b.name: steps(speeds[a][b.name], 0.05, seeds) for b in suite} for a in (NAIVE, "1"))
        maker.method(
            name, naive=naive, calibrated=calibrated, table=table, runner_up="2" if points > 1 else None,
            left_out={b.name: draw.choice(arms[:3]) for b in suite}, copies=draw.choice([1, 2, 3, 4]),
        )  # fmt: skip
    return maker.write()
