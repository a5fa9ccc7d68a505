"""Joules into kilograms of CO2 equivalent, with CodeCarbon's emission factors: offline, and the same every time.

    kg = J / 3.6e6 · PUE · g/kWh / 1000

The factors are averages over a year and a country (or region), not of the hour. CodeCarbon's own lookup is never
asked to guess a country: it would take the world's average, or the region of whoever answers.
"""

import difflib
import importlib.metadata
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bpfree.errors import RequestError
from bpfree.records import Carbon, MeasurementSettings

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Intensity:
    """Grams of CO2 equivalent a kWh, and where the figure comes from."""

    g_per_kwh: float
    source: str


def data_version() -> str:
    """The package and version that the factors come from."""
    return f"CodeCarbon {importlib.metadata.version('codecarbon')}"


def intensity(
    country: str | None = None, carbon_intensity: float | None = None, region: str | None = None
) -> Intensity:
    """The carbon intensity of electricity: the user's figure, else a region's, else a country's.

    `country` is an ISO 3166 alpha-3 code; regions are known for USA, CAN, CHN and the bidding zones of SWE, NOR, FIN.
    Beside the user's figure a country and its region say where it holds, and are not looked up.

    Raises
    ------
    RequestError
        Neither country nor figure is given, the country or region is not in the data, a region has no country, or the
        figure is no intensity.
    """
    if region is not None and country is None:
        raise RequestError(f"region '{region}' is of no country: name its country too, e.g. USA")
    if carbon_intensity is not None:
        if not (math.isfinite(carbon_intensity) and carbon_intensity >= 0):
            raise RequestError(f"carbon_intensity is {carbon_intensity}: give g CO2e per kWh, 0 or more")
        return Intensity(float(carbon_intensity), "given in the settings")
    if country is None:
        raise RequestError("no carbon intensity without a country or a carbon_intensity in g CO2e per kWh")
    from codecarbon.input import DataSource  # slow to import

    mixes: dict[str, dict[str, Any]] = DataSource().get_global_energy_mix_data()
    if country not in mixes:
        raise unknown_country(country, mixes)
    if region is not None:
        return _regional(country, region)
    mix = mixes[country]
    source = f"{mix['country_name']}, mean of {mix['year']}, Our World in Data, by {data_version()}"
    return Intensity(_grams_per_kwh(country, None), source)


def factor_of(settings: MeasurementSettings) -> Intensity | None:
    """The intensity that settings ask for; None if they name neither country nor intensity.

    Raises
    ------
    RequestError
        As of `intensity`, or the PUE is out of range.
    """
    if not (math.isfinite(settings.pue) and settings.pue >= 1):
        raise RequestError(f"pue is {settings.pue}: give facility energy over device energy, 1 or more")
    if settings.country is None and settings.region is None and settings.carbon_intensity is None:
        return None
    return intensity(settings.country, settings.carbon_intensity, settings.region)


def carbon_of(joules: float | None, settings: MeasurementSettings) -> Carbon | None:
    """Emissions of some joules; None if there are no joules, or if neither country nor intensity is set.

    Raises
    ------
    RequestError
        The country or region is not in the data, or the intensity or PUE is out of range.
    """
    factor = None if joules is None else factor_of(settings)
    if joules is None or factor is None:
        return None
    return Carbon(
        co2e_kg=joules / JOULES_PER_KWH * settings.pue * factor.g_per_kwh / 1000,
        intensity_g_per_kwh=factor.g_per_kwh,
        pue=settings.pue,
        source=factor.source,
    )


def country_name(country: str) -> str | None:
    """The name of an alpha-3 code in CodeCarbon's data; None if it is not there."""
    from codecarbon.input import DataSource

    mix = DataSource().get_global_energy_mix_data().get(country)
    return None if mix is None else str(mix["country_name"])


def unknown_country(country: str, mixes: Mapping[str, Mapping[str, Any]]) -> RequestError:
    """The error for a country that is not in the data, with the codes that were perhaps meant."""
    if country.upper() in mixes:
        return RequestError(f"no emission factor for country '{country}': did you mean {country.upper()}?")
    codes = {str(mix["country_name"]).lower(): code for code, mix in mixes.items()} | {
        code.lower(): code for code in mixes
    }
    meant = _near(country, codes)
    hint = f"did you mean {meant}?" if meant else "give an ISO 3166 alpha-3 code such as FRA, or a carbon_intensity"
    return RequestError(f"no emission factor for country '{country}': {hint}")


def _near(name: str, codes: Mapping[str, str]) -> str:
    """The codes whose lower-case names are nearest, joined by "or"; empty if none is near."""
    near = difflib.get_close_matches(name.lower(), codes, n=3, cutoff=0.6)
    return " or ".join(dict.fromkeys(codes[other] for other in near))


def _grams_per_kwh(country: str, region: str | None) -> float:
    """CodeCarbon's factor; country and region are known to it."""
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    place = GeoMetadata(country_iso_code=country, country_name=country, region=region)
    kilograms = Emissions(DataSource()).get_private_infra_emissions(Energy.from_energy(kWh=1.0), place)
    return round(1000 * float(kilograms), 6)


def _regional(country: str, region: str) -> Intensity:
    regions = _regions(country)
    if not regions:
        raise RequestError(f"there are no regional emission factors for {country}: leave the region out")
    if region not in regions:
        meant = _near(region, {name.lower(): name for name in regions})
        hint = f"did you mean {meant}?" if meant else f"choose from {', '.join(regions)}"
        raise RequestError(f"no emission factor for region '{region}' of {country}: {hint}")
    source = f"{region} ({country}), {regions[region]}, by {data_version()}"
    return Intensity(_grams_per_kwh(country, region), source)


def _regions(country: str) -> dict[str, str]:
    """Every region of a country that has a factor of its own, with the origin of the factor."""
    from codecarbon.input import DataSource

    source = DataSource()
    if country == "USA":
        table = source.get_country_emissions_data("usa")
        origin = f"EPA eGRID, {table['_source']['year']}"
        return {name: origin for name in table if not name.startswith("_")}
    if country == "CAN":
        return dict.fromkeys(source.get_country_energy_mix_data("can"), "mix of 2023, combustion alone")
    if country == "CHN":
        provinces = source.get_china_provincial_emissions_data()["data"].values()
        return {name: f"MEE and NBS, {entry['year']}" for entry in provinces for name in entry["names"]}
    prefix = {"SWE": "SE", "NOR": "NO", "FIN": "FI"}.get(country)
    zones = source.get_nordic_country_energy_mix_data()["data"].items()
    return {name: f"bidding zone, {zone['year']}" for name, zone in zones if prefix and name.startswith(prefix)}
