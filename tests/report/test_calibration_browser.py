"""The page of a calibration in a real browser without network: drawn, silent, readable on a phone and in the dark."""

import pytest
import test_browser
from calibrations import random_calibration
from test_browser import FIGURES, browser, emulate  # noqa: F401  # fixtures

from bpfree.report import build_report
from bpfree.report.calibration_runs import NAMES

pytestmark = test_browser.pytestmark


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):  # noqa: F811
    """The report of all optimizers on eight workloads, opened; its address."""
    folder = tmp_path_factory.mktemp("page")
    path = random_calibration(folder / "results", list(NAMES), workloads=8)
    address = build_report(path, folder / "report").as_uri()
    browser.get_log("performance")
    browser.get(address)
    return address


def test_every_figure_is_drawn(browser, emulate):  # noqa: F811
    emulate()
    figures = browser.execute_script(FIGURES)
    assert [f["title"] for f in figures] == [
        "Performance profiles, naive", "Performance profiles, calibrated", "What fewer points would have found",
    ]  # fmt: skip
    for figure in figures:
        assert figure["painted"] >= len(NAMES), "a line each"
        assert figure["texts"] > len(NAMES), "all in the legend"
        assert figure["width"] > 300
        assert figure["outside"] == []
        assert figure["overlapping"] == []


test_nothing_is_requested_and_nothing_complains = test_browser.test_nothing_is_requested_and_nothing_complains
test_no_page_is_wider_than_its_window = test_browser.test_no_page_is_wider_than_its_window
test_the_figures_follow_the_theme = test_browser.test_the_figures_follow_the_theme
