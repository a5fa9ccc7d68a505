"""How figures are printed."""

import pytest

from bpfree.report import form
from bpfree.statistics import Interval


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,234"), (0.98765, "0.988"), (-0.5, "−0.500"), (1e-8, "1.00e-08"), (123456, "123,456")],
)
def test_digits(value, text):
    assert form.digits(value) == text


@pytest.mark.parametrize(("joules", "unit"), [([], "J"), ([5, 50], "J"), ([35_999.0], "J"), ([12.0, 36_000.0], "Wh")])
def test_a_column_of_energies_has_one_unit(joules, unit):
    name, scale = form.energy_unit(joules)
    assert name == unit
    assert 3600 * scale == pytest.approx({"J": 3600, "Wh": 1}[unit])


@pytest.mark.parametrize(
    ("grams", "unit", "shown"),
    [([], "g", 1), ([2000.0], "kg", 2), ([0.5], "g", 0.5), ([0.0002], "mg", 0.2), ([2e-6, 1e-7], "µg", 2)],
)
def test_a_column_of_emissions_has_one_unit(grams, unit, shown):
    name, scale = form.mass_unit(grams)
    assert name == unit
    assert max(grams, default=1) * scale == pytest.approx(shown)


@pytest.mark.parametrize(("level", "text"), [(0.95, "95 %"), (0.9875, "98.75 %"), (1 - 0.05 / 6, "99.17 %")])
def test_levels(level, text):
    assert form.level(level) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-0.0067, -0.00004, "−0.670 to −0.004"),  # else a bound that excludes 0 would be printed as 0
        (-0.0067, 0.0012, "−0.67 to +0.12"),
        (0.0, 0.0012, "+0.00 to +0.12"),
        (1e-12, 0.01, "+0.000000 to +1.000000"),
    ],
)
def test_a_bound_beside_zero_is_not_printed_as_zero(low, high, text):
    assert form.signed_bounds(low, high) == text


def test_no_interval_is_printed_beyond_what_its_figure_can_be():
    wide = Interval(0.9, -0.2, 1.4, 0.95, 2)
    assert form.accuracy(wide) == ("90.00", "0.00 to 100.00")
    assert form.interval(wide) == ("0.900", "0 to 1.40")
    assert form.interval(wide, signed=True) == ("0.900", "−0.200 to 1.40")
    assert form.signed_bounds(-1.04, 1.2) == "−100.00 to +100.00"
