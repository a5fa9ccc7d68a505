"""Both pages held to axe-core's rules, in both themes, on a phone and on a desk."""

import re
from importlib import resources

import pytest
import test_browser
from calibrations import random_calibration
from test_browser import COLOURS, FIGURES, browser, emulate  # noqa: F401  # fixtures

from bpfree.report import build_report
from bpfree.report.calibration_runs import NAMES

pytestmark = test_browser.pytestmark

RUN = "const done = arguments[0]; axe.run({resultTypes: ['violations']}).then(done, error => done(String(error)));"
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module", params=["study", "calibration"])
def page(request, browser, make_study, tmp_path_factory):  # noqa: F811
    """A report with everything in it opened, and the rules in the page."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "study":
        path = make_study(folder / "results", seeds=3)
    else:
        path = random_calibration(folder / "results", list(NAMES)[:3], workloads=2)
    browser.get(build_report(path, folder / "report").as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.execute_script(resources.files("axe_core_python").joinpath("axe.min.js").read_text())
    return request.param


def graves(browser):  # noqa: F811
    """What is serious or critical: rule, impact, and the first place of each."""
    found = browser.execute_async_script(RUN)
    assert found["passes"], "else the rules did not run"
    return [(v["id"], v["impact"], v["nodes"][0]["html"]) for v in found["violations"] if v["impact"] in GRAVE]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_grave_stands_in_anyones_way(browser, emulate, width, theme):  # noqa: F811
    emulate(width, theme)
    assert graves(browser) == []


def luminance(colour):
    """WCAG's, of a computed colour."""
    shares = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_of_figures_stand_out(browser, emulate, theme):  # noqa: F811
    """The rules do not judge text inside of a figure."""
    emulate(theme=theme)
    paper, _ = browser.execute_script(COLOURS)
    fills = {fill for figure in browser.execute_script(FIGURES) for fill in figure["fills"]}
    assert fills
    for fill in fills:
        dark, light = sorted((luminance(paper), luminance(fill)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (fill, paper)


def test_the_rules_see_what_is_wrong(browser, emulate):  # noqa: F811
    emulate()
    browser.execute_script("const i = document.createElement('img'); i.id = 'bare'; document.body.append(i)")
    try:
        assert ("image-alt", "critical") in [found[:2] for found in graves(browser)]
    finally:
        browser.execute_script("document.getElementById('bare').remove()")
