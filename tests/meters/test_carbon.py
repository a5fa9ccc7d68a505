import socket

import pytest

from bpfree.errors import RequestError
from bpfree.meters import carbon_of, intensity
from bpfree.records import MeasurementSettings


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize(
    ("country", "g_per_kwh"), [("FRA", 56.0), ("DEU", 381.0), ("USA", 369.5), ("SWE", 40.7), ("GBR", 237.6)]
)
def test_country_factors(country, g_per_kwh):
    factor = intensity(country)
    assert factor.g_per_kwh == pytest.approx(g_per_kwh, rel=0.01)
    assert "CodeCarbon 3.3" in factor.source
    assert "202" in factor.source


@pytest.mark.parametrize(
    ("country", "region", "g_per_kwh"),
    [("USA", "california", 179.06), ("CAN", "quebec", 3.94), ("SWE", "SE3", 27.0), ("CHN", "beijing", 555.4)],
)
def test_regional_factors(country, region, g_per_kwh):
    assert intensity(country, region=region).g_per_kwh == pytest.approx(g_per_kwh, rel=0.01)
    assert region in intensity(country, region=region).source


@pytest.mark.parametrize(
    ("country", "hint"), [("fra", "FRA"), ("France", "FRA"), ("FR", "FRA"), ("XXX", "alpha-3"), ("", "alpha-3")]
)
def test_unknown_country_is_an_error_never_the_world_average(country, hint):
    with pytest.raises(RequestError, match=hint):
        intensity(country)


@pytest.mark.parametrize(("country", "region"), [("USA", "atlantis"), ("DEU", "bayern"), ("SWE", "NO1")])
def test_unknown_region_is_an_error(country, region):
    with pytest.raises(RequestError):
        intensity(country, region=region)


def test_own_figure_comes_first():
    factor = intensity("FRA", carbon_intensity=123.0)
    assert factor.g_per_kwh == 123.0
    assert "given" in factor.source


@pytest.mark.parametrize("figure", [-1.0, float("nan"), float("inf")])
def test_impossible_figure(figure):
    with pytest.raises(RequestError, match="carbon_intensity"):
        intensity(carbon_intensity=figure)


def test_carbon_of_a_kilowatt_hour():
    carbon = carbon_of(3.6e6, MeasurementSettings(country="FRA", pue=1.5))
    assert carbon.co2e_kg == pytest.approx(0.056039 * 1.5, rel=1e-4)
    assert (carbon.pue, carbon.intensity_g_per_kwh) == (1.5, pytest.approx(56.039))
    assert "France" in carbon.source


def test_carbon_is_absent_unless_asked_for():
    assert carbon_of(3.6e6, MeasurementSettings()) is None
    assert carbon_of(None, MeasurementSettings(country="FRA")) is None
    assert carbon_of(3.6e6, MeasurementSettings(carbon_intensity=0.0)).co2e_kg == 0.0
