"""Texts that would be scripts or tags, wherever a study or its records may carry one, in a real browser."""

import json
from xml.etree import ElementTree

import pytest
import test_browser
from selenium.webdriver.common.by import By
from test_browser import browser  # noqa: F401  # fixture

from bpfree.report import build_report

pytestmark = test_browser.pytestmark

SCRIPT, IMAGE = "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'
ENDING = "</style></script></textarea><!--"
RAN = """
return [...document.querySelectorAll('*')].filter(e => e.localName === 'img' || e.localName === 'script'
  || e.getAttributeNames().some(n => n.startsWith('on'))).map(e => e.outerHTML.slice(0, 60));
"""


def escaped(text):
    """As it stands between the quotes of JSON and of TOML."""
    return json.dumps(text)[1:-1]


@pytest.fixture(scope="module")
def output(make_study, tmp_path_factory):
    """The report of a study whose files were changed by hand, so that no rule for names was in the way."""
    folder = tmp_path_factory.mktemp("hostile")
    fields = {
        ("backprop", 0): {"status": "failed", "error": f"ValueError: {SCRIPT}{IMAGE}"},
        ("backprop", 1): {"warnings": [f"odd {SCRIPT}{IMAGE}"]},
        ("backprop", 2): {"environment": {"cpu": SCRIPT + IMAGE, "packages": {}}},
    }
    path = make_study(folder / "results", description=SCRIPT + IMAGE + ENDING, fields=fields)
    names = {
        '"made-up"': f"A study {IMAGE}{SCRIPT}", '"digits-mlp"': IMAGE + SCRIPT, '"mono_forward"': SCRIPT + IMAGE,
        '"adamw"': IMAGE + ENDING, '"block 1"': SCRIPT + IMAGE, '"accuracy"': SCRIPT + IMAGE,
    }  # fmt: skip
    for file in (path / "study.toml", *path.glob("runs/*/record.json"), *path.glob("tuned/*.json")):
        text = file.read_text()
        for name, hostile in names.items():
            text = text.replace(name, f'"{escaped(hostile)}"')
        file.write_text(text)
    build_report(path, folder / "report")
    return folder / "report"


@pytest.fixture
def opened(browser, output):  # noqa: F811
    browser.get((output / "index.html").as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    return browser


def test_nothing_of_it_runs_and_all_of_it_is_shown(opened):
    ours = opened.execute_script(RAN)  # an alert would end this with an error
    assert len(ours) == 1
    assert "Tables of runs" in ours[0]
    shown = opened.find_element(By.TAG_NAME, "main").text
    assert shown.count(SCRIPT) > 20
    assert shown.count(IMAGE) > 20
    assert opened.title.startswith(f"A study {IMAGE}{SCRIPT}")
    assert opened.find_element(By.CSS_SELECTOR, ".lead").text == SCRIPT + IMAGE + ENDING


def test_the_figures_show_it_as_text(opened, output):
    labels = opened.execute_script("return [...document.querySelectorAll('figure svg text')].map(e => e.textContent)")
    assert any("<script>" in label for label in labels)
    for path in (output / "figures").iterdir():
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
        assert tags <= {"svg", "g", "path", "text", "line", "rect", "defs", "clipPath", "style", "tspan", "title"}


def test_sorting_filtering_and_saving_let_nothing_run(opened, tmp_path):
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    for header in opened.find_elements(By.CSS_SELECTOR, "table[data-file] th button"):
        header.click()
    opened.find_element(By.CSS_SELECTOR, ".tools input").send_keys(IMAGE)
    opened.find_element(By.CSS_SELECTOR, ".tools button").click()
    assert len(opened.execute_script(RAN)) == 1
    shown, of, whole, _ = opened.find_element(By.CSS_SELECTOR, ".tools output").text.split()
    assert (shown, of, whole) == ("20", "of", "20")
