"""Every forward and backward pass of a step and of a prediction, counted: none is made and thrown away.

Products are read off PyTorch's dispatcher and told apart by their shapes, since all widths are distinct. Notation:

    F1  W1  X1      forward, weight gradient and input gradient of block 1
    f1  w1  x1      the same of a linear map from block 1 to the classes: projection, predictor, feedback, on the last
                    block the head too
    fV  wV          the same of Forward-Forward's read-out, on all blocks but the first
    g1              HᵀH of block 1's output, of the closed form
    2F1             on twice the batch
    blur            one of the convolutions that draw a mask
"""

from collections import Counter

import pytest
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

B, C, D = 9, 3, 16
WIDTHS = {"mlp": (D, 7, 6, 5), "cnn": (2, 4, 3)}
FLAT = {"mlp": (7, 6, 5), "cnn": (64, 12)}
"""Flattened outputs of the blocks."""
READOUT = 6 + 5
UNSUPERVISED = {"negatives": "hybrid", "prediction": "readout"}


class Passes(TorchDispatchMode):
    """Counts matrix products and convolutions by what they are for."""

    def __init__(self, architecture):
        super().__init__()
        self.blocks = list(zip(WIDTHS[architecture], WIDTHS[architecture][1:], strict=False))
        self.flat = FLAT[architecture]
        self.maps = [("FWX", i, pair) for i, pair in enumerate(self.blocks, 1)]
        self.maps += [("fwx", i, (n, C)) for i, n in enumerate(self.flat, 1)] + [("fwx", "V", (READOUT, C))]
        self.counts = Counter()

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        name = op.overloadpacket.__name__
        if name in ("mm", "addmm"):
            left, right = args[-2:]
            self.counts[self.product(*left.shape, right.shape[1])] += 1
        elif name == "convolution":
            self.counts[self.convolution("F", args[1])] += 1
        elif name == "convolution_backward":
            for letter, wanted in zip("XW", args[-1], strict=False):
                if wanted:
                    self.counts[self.convolution(letter, args[2])] += 1
        else:
            assert not any(part in name for part in ("mm", "mv", "dot", "matmul", "conv", "linear")), name
        return op(*args, **(kwargs or {}))

    def product(self, rows, inner, columns):
        """(rows × inner) (inner × columns): a weight gradient adds up over the batch, all else has it on the outside.

        Outside it is in the rows or in the columns: (A B)ᵀ = Bᵀ Aᵀ is the same product.
        """
        if columns % B == 0:
            rows, columns = columns, rows
        for (forward, weight, pulled), which, (inputs, outputs) in self.maps:
            if rows % B == 0 and (inner, columns) == (inputs, outputs):
                return f"{times(rows)}{forward}{which}"
            if rows % B == 0 and (inner, columns) == (outputs, inputs):
                return f"{times(rows)}{pulled}{which}"
            if inner % B == 0 and {rows, columns} == {inputs, outputs}:
                return f"{times(inner)}{weight}{which}"
        assert (inner, rows) == (B, columns), f"{rows}×{inner} by {inner}×{columns} is none of the passes"
        return f"g{self.flat.index(rows) + 1}"

    def convolution(self, letter, weight):
        if tuple(weight.shape) == (1, 1, 3, 3):
            return "blur"
        outputs, inputs = weight.shape[:2]
        return f"{letter}{self.blocks.index((inputs, outputs)) + 1}"


def times(samples):
    """How many batches they are, where it is not one."""
    return "" if samples == B else samples // B


def doubled(algorithm):
    """The feedback matrices, which no module owns, in float64 too."""
    if hasattr(algorithm, "B"):
        algorithm.B = [matrix.double() for matrix in algorithm.B]
    return algorithm


def counted(architecture, action):
    with Passes(architecture) as passes:
        action()
    return passes.counts


# One line a variant, stages divided by |.
STEPS = [
    ("mlp", "backprop", {}, "F1 F2 F3 f3 w3 x3 W3 X3 W2 X2 W1"),
    ("mlp", "forward_forward", {}, "2F1 2F2 2F3 2W1 2W2 2W3"),
    ("mlp", "forward_forward", {"goodness": "mean"}, "2F1 2F2 2F3 2W1 2W2 2W3"),
    ("mlp", "forward_forward", {"peer_normalisation": 0.03}, "2F1 2F2 2F3 2W1 2W2 2W3"),
    ("mlp", "forward_forward", {"prediction": "readout"}, "F1 F2 F3 fV wV 2F1 2F2 2F3 2W1 2W2 2W3"),
    ("mlp", "forward_forward", {"negatives": "hard"}, "F1 F2 F3 fV wV 2F1 2F2 2F3 2W1 2W2 2W3"),
    ("mlp", "forward_forward", UNSUPERVISED, 6 * "blur " + "fV wV 2F1 2F2 2F3 2W1 2W2 2W3"),
    ("mlp", "forward_forward", {"schedule": "greedy"}, "2F1 2W1 | 2F1 2F2 2W2 | 2F1 2F2 2F3 2W3"),
    ("mlp", "forward_forward", {"schedule": "greedy", "prediction": "readout"},
     "2F1 2W1 | 2F1 2F2 2W2 | F1 F2 F3 fV wV 2F1 2F2 2F3 2W3"),
    ("mlp", "cascaded_forward", {}, "F1 f1 w1 | F1 F2 f2 w2 | F1 F2 F3 f3 w3"),
    ("mlp", "cascaded_forward", {"schedule": "simultaneous"}, "F1 f1 w1 F2 f2 w2 F3 f3 w3"),
    ("mlp", "cascaded_forward", {"loss": "sparsemax"}, "F1 f1 w1 | F1 F2 f2 w2 | F1 F2 F3 f3 w3"),
    ("mlp", "cascaded_forward", {"loss": "squared_error"}, "F1 f1 g1 w1 | F1 F2 f2 g2 w2 | F1 F2 F3 f3 g3 w3"),
    ("mlp", "cascaded_forward", {"blocks": "feedback", "schedule": "simultaneous"},
     "F1 F2 F3 f3 w3 x1 x2 x3 W1 W2 W3 | F1 f1 w1 F2 f2 w2 F3 f3 w3"),
    ("mlp", "cascaded_forward", {"blocks": "feedback"},
     "F1 F2 F3 f3 w3 x1 x2 x3 W1 W2 W3 | F1 f1 w1 | F1 F2 f2 w2 | F1 F2 F3 f3 w3"),
    ("mlp", "mono_forward", {}, "F1 f1 w1 x1 W1 F2 f2 w2 x2 W2 F3 f3 w3 x3 W3"),
    ("mlp", "mono_forward", {"schedule": "greedy"},
     "F1 f1 w1 x1 W1 | F1 F2 f2 w2 x2 W2 | F1 F2 F3 f3 w3 x3 W3"),
    ("mlp", "deep_supervision", {"readout": "head"},
     "F1 F2 F3 f1 f2 f3 f3 w1 w2 w3 w3 x1 x2 x3 x3 W3 X3 W2 X2 W1"),
    ("mlp", "deep_supervision", {"readout": "last"}, "F1 F2 F3 f1 f2 f3 w1 w2 w3 x1 x2 x3 W3 X3 W2 X2 W1"),
    ("cnn", "backprop", {}, "F1 F2 f2 w2 x2 W2 X2 W1"),
    ("cnn", "cascaded_forward", {}, "F1 f1 w1 | F1 F2 f2 w2"),
    ("cnn", "cascaded_forward", {"schedule": "simultaneous"}, "F1 f1 w1 F2 f2 w2"),
    ("cnn", "cascaded_forward", {"blocks": "feedback"}, "F1 F2 f2 w2 x1 x2 W1 W2 | F1 f1 w1 | F1 F2 f2 w2"),
    ("cnn", "mono_forward", {}, "F1 f1 w1 x1 W1 F2 f2 w2 x2 W2"),
    ("cnn", "mono_forward", {"schedule": "greedy"}, "F1 f1 w1 x1 W1 | F1 F2 f2 w2 x2 W2"),
    ("cnn", "deep_supervision", {"readout": "head"}, "F1 F2 f1 f2 f2 w1 w2 w2 x1 x2 x2 W2 X2 W1"),
    ("cnn", "deep_supervision", {"readout": "last"}, "F1 F2 f1 f2 w1 w2 x1 x2 W2 X2 W1"),
]  # fmt: skip

# After all stages; what is predicted before is no more.
PREDICTIONS = [
    ("mlp", "backprop", {}, "F1 F2 F3 f3"),
    ("mlp", "forward_forward", {}, "3F1 3F2 3F3"),
    ("mlp", "forward_forward", {"negatives": "hard"}, "3F1 3F2 3F3"),
    ("mlp", "forward_forward", {"prediction": "readout"}, "F1 F2 F3 fV"),
    ("mlp", "forward_forward", UNSUPERVISED, "F1 F2 F3 fV"),
    ("mlp", "cascaded_forward", {}, "F1 f1 F2 f2 F3 f3"),
    ("mlp", "cascaded_forward", {"prediction": "logits"}, "F1 f1 F2 f2 F3 f3"),
    ("mlp", "cascaded_forward", {"prediction": "last"}, "F1 F2 F3 f3"),
    ("mlp", "mono_forward", {}, "F1 F2 F3 f3"),
    ("mlp", "mono_forward", {"prediction": "sum"}, "F1 f1 F2 f2 F3 f3"),
    ("mlp", "mono_forward", {"prediction": "average"}, "F1 f1 F2 f2 F3 f3"),
    ("mlp", "deep_supervision", {"readout": "head"}, "F1 F2 F3 f3"),
    ("mlp", "deep_supervision", {"readout": "last"}, "F1 F2 F3 f3"),
    ("cnn", "backprop", {}, "F1 F2 f2"),
    ("cnn", "cascaded_forward", {}, "F1 f1 F2 f2"),
    ("cnn", "mono_forward", {}, "F1 F2 f2"),
    ("cnn", "deep_supervision", {"readout": "head"}, "F1 F2 f2"),
]


def identify(row):
    architecture, name, values, _ = row
    return "-".join([architecture, name, *map(str, values.values())])


@pytest.mark.parametrize("row", STEPS, ids=identify)
def test_the_passes_of_a_step(make, batch, row):
    architecture, name, values, table = row
    inputs, labels = batch(architecture, D)
    algorithm = doubled(make(name, architecture, inputs=D, **values))
    for stage, line in zip(algorithm.stages(), table.split("|"), strict=True):
        algorithm.begin(stage)
        for _ in range(2):  # the first step is like all others
            assert counted(architecture, lambda: algorithm.step(inputs, labels)) == Counter(line.split()), stage.name


@pytest.mark.parametrize("row", PREDICTIONS, ids=identify)
def test_the_passes_of_a_prediction(make, batch, row):
    architecture, name, values, line = row
    inputs, _ = batch(architecture, D)
    algorithm = make(name, architecture, inputs=D, **values)
    algorithm.begin(algorithm.stages()[-1])
    assert counted(architecture, lambda: algorithm.predict(inputs)) == Counter(line.split())


@pytest.mark.parametrize(("name", "line"), [("mono_forward", "F3 f3 w3 x3 W3"), ("cascaded_forward", "F3 f3 w3")])
def test_a_kept_prefix_is_not_computed_again(make, batch, name, line):
    inputs, labels = batch("mlp", D)
    algorithm = make(name, inputs=D, schedule="greedy", cache=True)
    stage = algorithm.stages()[-1]
    algorithm.begin(stage)
    inputs, algorithm.entry = algorithm.prefix(inputs), stage.blocks.start
    assert counted("mlp", lambda: algorithm.step(inputs, labels)) == Counter(line.split())


DENSE = D * 7 + 7 * 6 + 6 * 5
"""Multiply-adds of one forward pass of one sample through the blocks."""


@pytest.mark.parametrize(
    ("name", "values", "multiply_adds"),
    [
        ("backprop", {}, 3 * DENSE - D * 7 + 3 * 5 * C),
        ("mono_forward", {}, 2 * DENSE + 3 * (7 + 6 + 5) * C),
        ("forward_forward", {}, 2 * 2 * DENSE),
        ("forward_forward", {"prediction": "readout"}, 5 * DENSE + 2 * READOUT * C),
        ("forward_forward", UNSUPERVISED, 4 * DENSE + 2 * READOUT * C + 6 * 9 * D),
    ],
    ids=["backprop", "mono_forward", "forward_forward", "readout", "unsupervised"],
)
def test_the_flops_of_a_step_are_those_of_the_formula(make, batch, name, values, multiply_adds):
    inputs, labels = batch("mlp", D)
    algorithm = make(name, inputs=D, **values)
    algorithm.begin(algorithm.stages()[0])
    with FlopCounterMode(display=False) as counter:
        algorithm.step(inputs, labels)
    assert counter.get_total_flops() == 2 * B * multiply_adds


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_an_input_gradient_that_none_needs_would_be_seen(make, batch, architecture):
    """The tests above can fail."""
    inputs, labels = batch(architecture, D)
    algorithm = make("backprop", architecture, inputs=D)
    algorithm.begin(algorithm.stages()[0])
    first = algorithm.blocks[0]
    vjp = first.vjp
    first.vjp = lambda x, through: vjp(x, through=True)
    found = counted(architecture, lambda: algorithm.step(inputs, labels))
    assert found["X1"] == 1
