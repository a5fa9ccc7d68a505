"""Trainings by hand: the operators of backprop's and Mono-Forward's steps in plain loops, and nothing around them.

What the harness computes is here, in the same order, so that both end with the same weights bit by bit: a new order of
the samples in every epoch, batches gathered by it, the forward pass, gradients, AdamW by torch's fused kernel, losses
added up on the device, a validation in large batches after every epoch, a copy of the best weights so far, which the
network ends with. What is not here: algorithms, blocks and optimizers as objects, stages, early stopping, phases,
meters, the history.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from bpfree.workloads import Data

ETA, LAMBDA, BETA_1, BETA_2, EPSILON = 1e-3, 1e-5, 0.9, 0.999, 1e-8
EVALUATION_BATCH = 1000

Layer = tuple[Tensor, Tensor]
"""W (N, D) and b (N,)."""
Step = Callable[[Tensor, Tensor], Tensor]
Predict = Callable[[Tensor], Tensor]


@torch.no_grad()
def train(
    step: Step, predict: Predict, weights: list[Tensor], data: Data, epochs: int, batch: int, order: torch.Generator
) -> None:
    """Epochs of steps; `weights`, which the steps change, end as they were at the best validation accuracy."""
    best, best_accuracy = weights, -1.0
    inputs, targets = data.train.inputs, data.train.targets
    n = len(targets)
    for _ in range(epochs):
        permutation = torch.randperm(n, generator=order, device=order.device)
        total = torch.zeros((), device=targets.device)
        for start in range(0, n - n % batch, batch):
            index = permutation[start : start + batch]
            total += step(inputs[index], targets[index])
        accuracy, _ = evaluate(predict, data.validation.inputs, data.validation.targets)
        (total / (n // batch)).item()
        if accuracy > best_accuracy:
            best, best_accuracy = [w.clone() for w in weights], accuracy
    for w, kept in zip(weights, best, strict=True):
        w.copy_(kept)


def evaluate(predict: Predict, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """Accuracy and cross-entropy."""
    totals = torch.zeros(2, dtype=torch.float64, device=targets.device)
    for start in range(0, len(targets), EVALUATION_BATCH):
        labels = targets[start : start + EVALUATION_BATCH]
        scores = predict(inputs[start : start + EVALUATION_BATCH])
        hits, loss = (scores.argmax(1) == labels).float().mean(), F.cross_entropy(scores, labels)
        totals += torch.stack([hits, loss]).double() * len(labels)
    accuracy, loss_mean = (totals / len(targets)).tolist()
    return accuracy, loss_mean


def affine(x: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """x Wᵀ + b, feature by feature in memory as the package's blocks have it."""
    return (W @ x.T).T.add_(b)


def log_probability_gradient(y: Tensor, classes: int) -> Tensor:
    """T = −Yᵀ / B, shape (C, B)."""
    return torch.zeros(classes, len(y), device=y.device).scatter_(0, y[None], -1 / len(y))


def softmax_error(o: Tensor, T: Tensor) -> tuple[Tensor, Tensor]:
    """log p, shape (C, B), and (softmax(o) − Y) / B, shape (B, C)."""
    log_p = o.T.log_softmax(0)
    return log_p, torch._log_softmax_backward_data(T, log_p, 0, log_p.dtype).T


def adamw(weights: list[Tensor], gradients: list[Tensor]) -> Callable[[], None]:
    """Moments of the weights, and the update that uses them."""
    m, v = [torch.zeros_like(w) for w in weights], [torch.zeros_like(w) for w in weights]
    t = torch.zeros((), device=weights[0].device)
    steps = [t] * len(weights)

    def update() -> None:
        t.add_(1)
        torch._fused_adamw_(
            weights, gradients, m, v, [], steps, lr=ETA, beta1=BETA_1, beta2=BETA_2,
            weight_decay=LAMBDA, eps=EPSILON, amsgrad=False, maximize=False,
        )  # fmt: skip

    return update


def backprop(layers: list[Layer], head: Layer) -> tuple[Step, Predict]:
    """One global loss; its gradient passes through all layers but the first."""
    V, c = head
    weights = [tensor for layer in (*layers, head) for tensor in layer]
    gradients = [torch.empty_like(w) for w in weights]
    dW, db = gradients[:-2:2], gradients[1:-2:2]
    dV, dc = gradients[-2:]
    update = adamw(weights, gradients)

    def step(x: Tensor, y: Tensor) -> Tensor:
        a = [x]
        for W, b in layers:
            a.append(affine(a[-1], W, b).relu_())
        o = affine(a[-1], V, c)
        log_p, e = softmax_error(o, log_probability_gradient(y, len(V)))
        torch.mm(e.T, a[-1], out=dV)
        torch.sum(e, 0, out=dc)
        da = (V.T @ e.T).T
        for i in reversed(range(len(layers))):
            dz = torch.ops.aten.threshold_backward.grad_input(da, a[i + 1], 0, grad_input=da)
            torch.mm(dz.T, a[i], out=dW[i])
            torch.sum(dz, 0, out=db[i])
            if i:
                da = (layers[i][0].T @ dz.T).T
        update()
        return F.nll_loss(log_p.T, y)

    def predict(x: Tensor) -> Tensor:
        for W, b in layers:
            x = torch.relu(affine(x, W, b))
        return affine(x, V, c)

    return step, predict


def mono_forward(layers: list[Layer], projections: list[Tensor]) -> tuple[Step, Predict]:
    """A loss for each layer through a projection M of its own."""
    trained = [(W, b, M) for (W, b), M in zip(layers, projections, strict=True)]
    gradients = [[torch.empty_like(w) for w in weights] for weights in trained]
    newest_first = [[w for each in reversed(tensors) for w in each] for tensors in (trained, gradients)]
    update = adamw(*newest_first)
    classes = len(projections[0])

    def step(x: Tensor, y: Tensor) -> Tensor:
        T = log_probability_gradient(y, classes)
        for (W, b, M), (dW, db, dM) in zip(trained, gradients, strict=True):
            a = affine(x, W, b).relu_()
            G = (M @ a.T).T
            log_p, S = softmax_error(G, T)
            torch.mm(S.T, a, out=dM)
            da = (M.T @ S.T).T
            dz = torch.ops.aten.threshold_backward.grad_input(da, a, 0, grad_input=da)
            torch.mm(dz.T, x, out=dW)
            torch.sum(dz, 0, out=db)
            x = a
        update()
        return F.nll_loss(log_p.T, y)

    def predict(x: Tensor) -> Tensor:
        for W, b in layers:
            x = torch.relu(affine(x, W, b))
        return (projections[-1] @ x.T).T

    return step, predict
