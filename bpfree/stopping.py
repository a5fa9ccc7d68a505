"""When a stage of a training ends, which weights it ends with, and its learning rate on the way: one rule for all."""

import math
from collections.abc import Sequence

from torch import Tensor

from bpfree.algorithms import Algorithm
from bpfree.records import TrainingSettings
from bpfree.workloads import Metric


def shares(max_epochs: int, stages: int) -> list[int]:
    """Passes over the training set for each stage: equal shares, the remainder to the first, at least one."""
    share, remainder = divmod(max_epochs, stages)
    return [max(1, share + (remainder if i == 0 else 0)) for i in range(stages)]


def epoch_limits(own: Sequence[int | None], training: TrainingSettings) -> list[int]:
    """Passes that each stage may take: its own limit, if any, in the place of epochs a stage; of shares the less.

    With a budget of steps these are intervals between evaluations.
    """
    each = training.epochs_per_stage
    if training.max_steps:
        return shares(training.max_steps // (training.evaluate_every or training.max_steps), len(own))
    if each:
        return [limit or each for limit in own]
    given = shares(training.max_epochs, len(own))
    return [min(epochs, limit or epochs) for epochs, limit in zip(given, own, strict=True)]


def cooldown(epoch: int, limit: int) -> float:
    """Factor on the learning rate in epoch e of E, from 1: 1 in the first half, then 2 (1 + E − e) / E."""
    return min(1.0, 2 * (1 + limit - epoch) / limit)


def schedule_factor(training: TrainingSettings, step: int, steps: int) -> float:
    """Factor on the learning rate in step t of T, from 0: up over the warm-up, then down to zero by the schedule."""
    rising = training.warmup * steps
    if step < rising:
        return (step + 1) / (math.floor(rising) + 1)
    progress = (step - rising) / (steps - rising)
    if training.schedule == "linear":
        return 1 - progress
    return (1 + math.cos(math.pi * progress)) / 2 if training.schedule == "cosine" else 1.0


def scale_learning_rates(algorithm: Algorithm, factor: float) -> None:
    """Set the learning rate of every optimizer to a multiple of the one that it began with."""
    for optimizer in algorithm.optimizers.values():
        for group in optimizer.param_groups:
            rate = group.setdefault("initial_lr", group["lr"]) * factor
            if isinstance(group["lr"], Tensor):  # in place, where a CUDA graph reads it
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


class Stopping:
    """The early stopping of one stage.

    Parameters
    ----------
    training
        Patience, least gain, and whether the validation metric or the validation loss is monitored.
    metric
        The workload's.
    limit
        Epochs that the stage may take.
    patient
        Whether patience may end it.
    aims
        Whether it may reach the target, if there is one.
    """

    def __init__(
        self, training: TrainingSettings, metric: Metric, limit: int, *, patient: bool = True, aims: bool = True
    ) -> None:
        self.training = training
        self.metric = metric
        self.limit = limit
        self.patience = training.patience if patient else limit
        self.target = training.target if aims else None
        self.epoch = 0
        self.best_epoch = 0
        """Of the best validation metric."""
        self.best = metric.worst
        self.improved_epoch = 0
        """The last one that improved what is monitored."""
        self.least_loss = math.inf
        self.target_reached = False

    @property
    def over(self) -> bool:
        """Whether the stage is to end: limit, patience or target."""
        waited = self.epoch - self.improved_epoch
        return self.epoch >= self.limit or waited >= self.patience or self.target_reached

    @property
    def early(self) -> bool:
        """Whether patience ended it."""
        return self.over and self.epoch < self.limit and not self.target_reached

    def update(self, value: float, loss: float) -> bool:
        """Note an epoch's validation metric and loss; True if the metric is the best so far."""
        training, metric = self.training, self.metric
        self.epoch += 1
        if self.target is not None:
            self.target_reached = value == self.target or metric.better(value, self.target)
        gain = training.min_delta if training.monitor == "metric" else 0.0
        best = metric.better(value, self.best, by=gain) or self.target_reached
        if best:
            self.best, self.best_epoch = value, self.epoch
        if training.monitor == "metric":
            self.improved_epoch = self.best_epoch
        elif self.least_loss - loss > training.min_delta:
            self.least_loss, self.improved_epoch = loss, self.epoch
        return best
