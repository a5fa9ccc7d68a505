"""The table of all runs in a real browser: sorted, filtered and saved, with the mouse and the keyboard."""

import csv
import io
import time

import pytest
import test_browser
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_browser import browser  # noqa: F401  # fixture

from bpfree.report import build_report
from bpfree.results import ResultsFolder

pytestmark = test_browser.pytestmark

SHOWN = """
return [...document.querySelectorAll('table[data-file] tbody tr')].filter(r => r.checkVisibility())
  .map(r => [...r.cells].map(c => c.textContent));
"""
SORTS = "return [...document.querySelectorAll('table[data-file] thead th')].map(h => h.getAttribute('aria-sort'));"
METHOD, SEED, STATUS, ACCURACY, JOULES = 0, 3, 4, 5, 8


@pytest.fixture(scope="module")
def results(make_study, tmp_path_factory):
    """A study of which one run failed, so that its figures are absent, and one took thousands of joules."""
    failed = {"status": "failed", "error": "RuntimeError: none"}
    path = make_study(tmp_path_factory.mktemp("runs") / "results", seeds=10, fields={("backprop", 2): failed})
    folder = ResultsFolder(path)
    dearest = next(r for r in folder.records() if r.cost and r.spec.role == "final")
    dearest.cost.train_joules = 12345.0
    folder.write(dearest)
    return path


@pytest.fixture
def opened(browser, results, tmp_path):  # noqa: F811
    """The browser with the report and its table open."""
    browser.get(build_report(results, tmp_path / "report").as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    return browser


def column(browser, index):  # noqa: F811
    return [row[index] for row in browser.execute_script(SHOWN)]


def header(browser, index):  # noqa: F811
    return browser.find_elements(By.CSS_SELECTOR, "table[data-file] th button")[index]


def as_number(text):
    return float(text.replace(",", "").replace("−", "-"))


def test_a_click_sorts_up_then_down_then_not(opened):
    before = opened.execute_script(SHOWN)
    for direction, reverse in (("ascending", False), ("descending", True)):
        header(opened, JOULES).click()
        found = column(opened, JOULES)
        assert found[-1] == "–", "absent ones last either way"
        numbers = [as_number(text) for text in found[:-1]]
        assert numbers == sorted(numbers, reverse=reverse)
        assert opened.execute_script(SORTS) == [direction if i == JOULES else None for i in range(11)]
    assert [str(number) for number in numbers] != sorted(map(str, numbers), reverse=True), "else it shows nothing"
    header(opened, JOULES).click()
    assert opened.execute_script(SHOWN) == before
    assert opened.execute_script(SORTS) == [None] * 11


def test_the_keyboard_sorts_and_only_one_column_says_so(opened):
    header(opened, SEED).send_keys(Keys.ENTER)
    assert column(opened, SEED) == [str(seed) for seed in range(10) for _ in range(4)]
    header(opened, METHOD).send_keys(Keys.SPACE)
    found = column(opened, METHOD)
    assert found == sorted(found)
    assert opened.execute_script(SORTS) == ["ascending", *[None] * 10]


def count(browser):  # noqa: F811
    return browser.find_element(By.CSS_SELECTOR, ".tools output").text


def test_a_filter_keeps_the_runs_with_all_its_words(opened):
    field = opened.find_element(By.CSS_SELECTOR, ".tools input")
    assert field.accessible_name == "Only runs with"
    assert count(opened) == "40 of 40 runs"
    field.send_keys("MONO completed")
    assert count(opened) == "10 of 40 runs"
    assert set(column(opened, METHOD)) == {"Mono-Forward"}
    header(opened, ACCURACY).click()
    assert len(opened.execute_script(SHOWN)) == 10, "sorting shows no more"
    field.send_keys(" nowhere")
    assert count(opened) == "0 of 40 runs"
    field.clear()
    field.send_keys(Keys.SPACE)
    assert count(opened) == "40 of 40 runs"


def saved(folder):
    """The one file that a download leaves."""
    for _ in range(100):
        done = [path for path in folder.glob("*.csv") if path.stat().st_size]
        if done:
            return done[0]
        time.sleep(0.1)
    raise AssertionError("nothing was saved")


def test_what_is_shown_is_saved_as_csv(opened, tmp_path):
    downloads = {"behavior": "allow", "downloadPath": str(tmp_path)}
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", downloads)
    header(opened, JOULES).click()
    header(opened, JOULES).click()
    odd = 'a "failed", name\nin two lines'
    opened.execute_script("document.querySelector('table[data-file] tbody th').textContent = arguments[0]", odd)
    opened.find_element(By.CSS_SELECTOR, ".tools input").send_keys("failed")
    shown = opened.execute_script(SHOWN)
    opened.find_element(By.CSS_SELECTOR, ".tools button").click()
    path = saved(tmp_path)
    assert path.name == "made-up-runs.csv"
    rows = list(csv.reader(io.StringIO(path.read_text(), newline="")))
    assert rows[0] == [
        "method", "workload", "optimizer", "seed", "status", "test accuracy, %", "epochs", "s", "J", "energy is", "id",
    ]  # fmt: skip
    assert rows[1][JOULES] == "12345", "as programs read it"
    plain = {"–": "", "12,345": "12345"}
    assert rows[1:] == [[plain.get(cell, cell) for cell in row] for row in shown]
    assert len(rows) == 3, "the odd one and the failed one"
