"""The page of compared studies in a real browser without network: drawn, silent, fit for a phone and the dark."""

import pytest
import test_browser
from test_browser import FIGURES, browser, emulate  # noqa: F401  # fixtures
from test_comparison import on_another_machine
from test_summary import changed

from bpfree.report import build_comparison

pytestmark = test_browser.pytestmark


@pytest.fixture(scope="module")
def page(browser, make_study, tmp_path_factory):  # noqa: F811
    """The comparison of three studies, opened; its address."""
    folder = tmp_path_factory.mktemp("page")
    paths = [make_study(folder / name, seeds=seeds) for name, seeds in (("a", 5), ("b", 4), ("c", 2))]
    for path in paths[1:]:
        on_another_machine(path, path.name)
    changed(paths[1], "final", "mono_forward", lambda r: r["spec"]["training"].update(max_epochs=99, patience=40))
    address = build_comparison(paths, folder / "report").as_uri()
    browser.get_log("performance")
    browser.get(address)
    return address


def test_every_figure_is_drawn(browser, emulate):  # noqa: F811
    emulate()
    figures = browser.execute_script(FIGURES)
    assert [f["title"] for f in figures] == ["Energy ratio, study by study", "Accuracy difference, study by study"]
    for figure in figures:
        assert figure["painted"] >= 2 * 9 + 1, "a dot and an interval for three methods and studies, and no effect"
        assert figure["texts"] > 6
        assert figure["width"] > 300
        assert figure["outside"] == []
        assert figure["overlapping"] == []


test_nothing_is_requested_and_nothing_complains = test_browser.test_nothing_is_requested_and_nothing_complains
test_no_page_is_wider_than_its_window = test_browser.test_no_page_is_wider_than_its_window
test_the_figures_follow_the_theme = test_browser.test_the_figures_follow_the_theme
