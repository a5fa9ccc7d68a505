"""Knobs: bounds, names, search ranges; what every algorithm and optimizer declares."""

import math
from itertools import product
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from bpfree.algorithms import ALGORITHMS
from bpfree.errors import RequestError
from bpfree.hyperparameters import Choice, HyperparameterSet, LogUniform, Uniform, split
from bpfree.optimizers import OPTIMIZERS


class Own(HyperparameterSet):
    threshold: Annotated[float, Field(gt=0, le=100), LogUniform(0.01, 1)] = 0.1
    schedule: Annotated[str, Choice(("greedy", "simultaneous"))] = "greedy"
    layers: Annotated[int, Field(ge=1)] = 2


class Other(HyperparameterSet):
    learning_rate: Annotated[float, Field(gt=0, le=10), LogUniform(1e-4, 1e-1)] = 1e-3
    momentum: Annotated[float, Field(ge=0, lt=1), Uniform(0.5, 0.9)] = 0.9


SETS = {
    **{f"algorithm {name}": algorithm.Hyperparameters for name, algorithm in ALGORITHMS.items()},
    **{f"optimizer {name}": entry.hyperparameters for name, entry in OPTIMIZERS.items()},
}


def refused(values, *sets):
    with pytest.raises(RequestError) as caught:
        list(split(values, *(sets or (Own, Other))))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_flat_names_go_to_their_owners():
    own, other = split({"momentum": 0.5, "threshold": 3}, Own, Other)
    assert own == Own(threshold=3.0)
    assert other == Other(momentum=0.5)
    assert list(split({}, Own, Other)) == [Own(), Other()]


def test_strings_of_the_command_line_are_taken():
    own, other = split({"layers": "3", "learning_rate": "1e-2"}, Own, Other)
    assert (own.layers, other.learning_rate) == (3, 0.01)


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("threshold", 0, "greater than 0"),
        ("threshold", 101, "less than or equal to 100"),
        ("learning_rate", -1e-3, "greater than 0"),
        ("momentum", 1, "less than 1"),
        ("momentum", math.nan, ""),
        ("learning_rate", math.inf, ""),
        ("layers", 0, "greater than or equal to 1"),
        ("layers", 1.5, "integer"),
        ("learning_rate", "fast", "number"),
        ("learning_rate", None, "number"),
    ],
)
def test_a_value_out_of_bounds_is_refused(name, value, bound):
    message = refused({name: value})
    assert message.startswith(f"{name} = {value!r} is not accepted: it must be ")
    assert bound in message


@settings(deadline=None)
@given(st.floats(allow_nan=True))
def test_bounds_hold_for_every_number(value):
    if 0 < value <= 100:
        assert Own.build({"threshold": value}).threshold == value
    else:
        refused({"threshold": value})


@pytest.mark.parametrize(
    ("name", "nearest"), [("learnig_rate", "learning_rate"), ("treshold", "threshold"), ("moment", "momentum")]
)
def test_an_unknown_name_suggests_the_nearest(name, nearest):
    message = refused({name: 1})
    assert message.startswith(f"unknown hyperparameter '{name}': did you mean {nearest}")


def test_a_name_like_none_lists_all():
    assert refused({"xyz": 1}) == (
        "unknown hyperparameter 'xyz': choose from threshold, schedule, layers, learning_rate, momentum"
    )


def test_sets_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Own().threshold = 1


def test_search_space_has_the_knobs_with_a_range():
    assert Own.search_space() == {
        "threshold": LogUniform(0.01, 1),
        "schedule": Choice(("greedy", "simultaneous")),
    }
    assert list(Other.search_space()) == ["learning_rate", "momentum"]


def test_ranges_in_words():
    assert Uniform(0.5, 0.9).describe() == "0.5 to 0.9"
    assert LogUniform(1e-4, 1e-1).describe() == "0.0001 to 0.1 (log)"
    assert Choice(("greedy", 2)).describe() == "greedy | 2"


@settings(deadline=None)
@given(st.floats(0, 1))
def test_edges_are_two_per_cent_of_the_width(share):
    at_edge = min(share, 1 - share) < 0.02
    near = min(abs(share - 0.02), abs(share - 0.98)) < 1e-9
    assert near or Uniform(-3, 7).at_edge(-3 + 10 * share) == at_edge
    assert near or LogUniform(1e-6, 1e-2).at_edge(1e-6 * 10 ** (4 * share)) == at_edge
    assert not Choice((0, 1)).at_edge(share)


def ends(span):
    return span.values if isinstance(span, Choice) else (span.low, span.high)


@pytest.mark.parametrize("name", SETS)
def test_defaults_and_ranges_lie_within_the_bounds(name):
    owner = SETS[name]
    assert owner.build(owner().model_dump()) == owner()
    for knob, span in owner.search_space().items():
        for end in ends(span):
            assert getattr(owner.build({knob: end}), knob) == end
        if isinstance(span, Choice):
            assert getattr(owner(), knob) in span.values
        else:
            assert span.low < span.high
            assert span.low <= getattr(owner(), knob) <= span.high, "the default is one of the values that are sought"


def test_a_shared_knob_has_one_range():
    ranges = {}
    for owner in SETS.values():
        for knob, span in owner.search_space().items():
            assert ranges.setdefault(knob, span) == span


@pytest.mark.parametrize(("algorithm", "optimizer"), list(product(ALGORITHMS, OPTIMIZERS)))
def test_names_are_unique_within_a_pair(algorithm, optimizer):
    own, opt = ALGORITHMS[algorithm].Hyperparameters, OPTIMIZERS[optimizer].hyperparameters
    assert not own.model_fields.keys() & opt.model_fields.keys()
