"""The page in a real browser without network: drawn, silent, readable on a phone and in the dark."""

import json
import re
import shutil

import pytest

from bpfree.report import build_report

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-dev-shm-usage", "--window-size=1200,900",
]  # fmt: skip

# For each figure: its size, how many marks have an extent and a colour, its texts' colours, and texts that are cut off.
FIGURES = """
return [...document.querySelectorAll('figure svg')].map(svg => {
  const box = e => e.getBoundingClientRect();
  const drawn = e => (box(e).width > 0 || box(e).height > 0);
  const texts = [...svg.querySelectorAll('text')].filter(drawn);
  const marks = [...svg.querySelectorAll('[class*="mark-"] path, [class*="mark-"] line')].filter(drawn);
  return {
    title: svg.getAttribute('aria-label'), width: box(svg).width, height: box(svg).height,
    marks: marks.length, texts: texts.length, fills: [...new Set(texts.map(e => getComputedStyle(e).fill))],
    painted: marks.map(e => getComputedStyle(e)).filter(s => s.fill !== 'none' || s.stroke !== 'none').length,
    outside: texts.filter(e => box(e).left < box(svg).left - 1 || box(e).right > box(svg).right + 1)
      .map(e => e.textContent),
    overlapping: texts.filter((e, i) => texts.slice(i + 1).some(o => box(e).left < box(o).right
      && box(o).left < box(e).right && box(e).top < box(o).bottom - 2 && box(o).top < box(e).bottom - 2))
      .map(e => e.textContent),
  };
});
"""
NAMES = ["Backprop", "Forward-Forward", "Cascaded-Forward", "Mono-Forward"]
COLOURS = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color];"
OVERFLOW = "return document.documentElement.scrollWidth - innerWidth;"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    try:
        driver.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def page(browser, make_study, tmp_path_factory):
    """The report, opened; its address."""
    folder = tmp_path_factory.mktemp("page")
    evil = "A study with <script>alert(1)</script> in its text"
    address = build_report(make_study(folder / "results", description=evil), folder / "report").as_uri()
    browser.get_log("performance")  # of the browser's own start
    browser.get(address)
    return address


@pytest.fixture
def emulate(browser, page):
    """Sets the width of the window and the theme; undone afterwards."""

    def set_to(width=1200, theme="light"):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": theme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    yield set_to
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_every_figure_is_drawn(browser, emulate):
    emulate()
    figures = browser.execute_script(FIGURES)
    assert [f["title"] for f in figures] == [
        "Accuracy against energy", "Energy to each accuracy", "Where the energy difference comes from",
        "Learning curves by epoch", "Learning curves by time", "Learning curves by energy", "Validation loss by epoch",
        "Energy by phase", "Energy of tuning", "Tuning and so many trainings",
        "How tuning went", *(f"Trials of {name}" for name in NAMES),
    ]  # fmt: skip
    least = {
        "Accuracy against energy": 20 + 3 * 4, "Where the energy difference comes from": 3 * (4 + 4 + 1),
        "Energy by phase": 16, "Energy of tuning": 8,
        "Tuning and so many trainings": 8, **{f"Trials of {name}": 4 for name in NAMES},
    }  # fmt: skip
    for figure in figures:
        assert figure["marks"] >= least.get(figure["title"], 20)
        assert figure["painted"] >= least.get(figure["title"], 20)
        assert figure["texts"] > 5
        assert figure["width"] > 300
        assert figure["height"] > 100
        assert figure["outside"] == []
        assert figure["overlapping"] == []


def test_nothing_is_requested_and_nothing_complains(browser, page):
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert page in asked
    assert [address for address in asked if address != page and not address.startswith("data:")] == []
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.scripts.length") == 1


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_no_page_is_wider_than_its_window(browser, emulate, width):
    emulate(width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script(OVERFLOW) <= 0
    for figure in browser.execute_script(FIGURES):
        assert 0 < figure["width"] <= width
        assert figure["outside"] == []


def brightness(colour):
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3


def test_the_figures_follow_the_theme(browser, emulate):
    seen = {}
    for theme in ("light", "dark"):
        emulate(theme=theme)
        fills = {fill for figure in browser.execute_script(FIGURES) for fill in figure["fills"]}
        seen[theme] = (*map(brightness, browser.execute_script(COLOURS)), [brightness(fill) for fill in fills])
    (paper, ink, labels), (night, chalk, glowing) = seen["light"], seen["dark"]
    assert paper > 200 > 100 > ink
    assert night < 60 < 180 < chalk
    assert labels
    assert max(labels) < 130
    assert min(glowing) > 150
