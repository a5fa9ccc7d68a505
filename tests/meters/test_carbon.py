import json
import os
import socket
import subprocess
import sys

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


def test_carbon_of_a_region():
    carbon = carbon_of(3.6e6, MeasurementSettings(country="CAN", region="quebec"))
    assert carbon.co2e_kg == pytest.approx(3.94e-3, rel=0.01)
    assert "quebec" in carbon.source


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"region": "quebec"}, "name its country too"),
        ({"region": "quebec", "carbon_intensity": 3.0}, "name its country too"),
        ({"country": "CAN", "region": "Quebec"}, "did you mean quebec"),
        ({"country": "USA", "region": "New-York"}, "did you mean new york"),
        ({"country": "SWE", "region": "stockholm"}, "choose from SE1, SE2, SE3, SE4"),
        ({"country": "DEU", "region": "bayern"}, "leave the region out"),
        ({"country": "FRA", "pue": 0.5}, "1 or more"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(settings, hint):
    with pytest.raises(RequestError, match=hint) as raised:
        carbon_of(1.0, MeasurementSettings(**settings))
    assert "\n" not in str(raised.value)


def test_own_figure_may_say_where_it_holds():
    settings = MeasurementSettings(country="FRA", region="corse", carbon_intensity=400.0)
    assert carbon_of(3.6e6, settings).co2e_kg == pytest.approx(0.4)


TRACKED = """
import json, logging, time
logging.getLogger("codecarbon").setLevel("ERROR")
from codecarbon import OfflineEmissionsTracker
import bpfree

def tracked(seconds, **place):
    tracker = OfflineEmissionsTracker(
        **place, log_level="error", output_methods=[], measure_power_secs=1, tracking_mode="process", force_cpu_power=80
    )
    tracker.start()
    with bpfree.measure(country=place["country_iso_code"], region=place.get("region"), cpu_watts=80) as m:
        before = time.process_time()  # here: to open the meters takes CPU time too, which the load must not count
        while time.process_time() < before + seconds:
            sum(range(1000))
    tracker.stop()
    data = tracker.final_emissions_data
    return {"kwh": data.energy_consumed, "kg": data.emissions, **m.measured.document()}

print(json.dumps([
    tracked(2, country_iso_code="FRA"),
    *(tracked(0.2, country_iso_code=country, region=region) for country, region in PLACES),
]))
"""
PLACES = [("USA", "california"), ("CAN", "quebec"), ("SWE", "SE3"), ("CHN", "beijing")]


@pytest.fixture(scope="module")
def over_the_same_load():
    """CodeCarbon's tracker and our meters around one busy loop after another, in a process of their own."""
    code = TRACKED.replace("PLACES", repr(PLACES))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    places = [("FRA", None), *PLACES]
    return dict(zip(places, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("place", [("FRA", None), *PLACES], ids=str)
def test_our_carbon_is_that_of_codecarbons_tracker(over_the_same_load, place):
    found = over_the_same_load[place]
    country, region = place
    assert found["kwh"] > 0
    ours = carbon_of(found["kwh"] * 3.6e6, MeasurementSettings(country=country, region=region))
    assert ours.co2e_kg == pytest.approx(found["kg"], rel=1e-3)
    assert found["carbon"]["intensity_g_per_kwh"] == ours.intensity_g_per_kwh


def test_our_modelled_cpu_is_cpu_seconds_times_watts(over_the_same_load):
    found = over_the_same_load["FRA", None]
    assert found["cpu_seconds"] == pytest.approx(2.0, rel=0.1)
    (cpu,) = [reading for reading in found["readings"] if reading["component"] == "cpu"]
    if cpu["quality"] == "modelled":
        assert cpu["joules"] == pytest.approx(found["cpu_seconds"] * 80 / os.cpu_count(), rel=0.01)
