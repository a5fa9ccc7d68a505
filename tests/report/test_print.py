"""The page on paper: whole, black on white, nothing cut off at the side."""

import base64
import re
import zlib

import pytest
import test_browser
from test_browser import brightness, browser, emulate, page  # noqa: F401  # fixtures

pytestmark = test_browser.pytestmark

A4_PIXELS = round((210 - 2 * 12) / 25.4 * 96)
"""Width of the text on a sheet of A4, without the margins of the style sheet."""
CUT_OFF = """
const edge = document.documentElement.clientWidth + 1;
return [...document.querySelectorAll('table, pre, figure svg, p, dl')]
  .filter(e => e.getBoundingClientRect().right > edge || (e.tagName !== 'svg' && e.scrollWidth > e.clientWidth + 1))
  .map(e => e.outerHTML.slice(0, 80));
"""
PLAIN = """
const style = e => getComputedStyle(document.querySelector(e));
return {
  ink: style('body').color, paper: style('body').backgroundColor, tools: style('.tools').display,
  figure: style('figure').breakInside, link: style('figcaption a').display,
  rows: [...document.querySelectorAll('details tr')].filter(e => e.getBoundingClientRect().height > 0).length,
};
"""


@pytest.fixture
def on_paper(browser, emulate):  # noqa: F811
    """The page as it is printed from a dark screen, as wide as a sheet."""
    emulate(A4_PIXELS)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": dark})
    return browser


def test_it_is_black_on_white_and_closed_parts_are_printed(on_paper):
    found = on_paper.execute_script(PLAIN)
    assert brightness(found["ink"]) < 10
    assert brightness(found["paper"]) == 255
    assert found["figure"] == "avoid"
    assert (found["tools"], found["link"]) == ("none", "none")
    assert found["rows"] == 1 + 20
    assert not on_paper.execute_script("return document.querySelector('#runs ~ details').open")


def test_no_table_is_cut_off(on_paper):
    assert on_paper.execute_script("return document.querySelectorAll('table').length") > 5
    assert on_paper.execute_script(CUT_OFF) == []
    assert on_paper.execute_script(test_browser.OVERFLOW) <= 0


def streams(pdf):
    """The contents of a PDF, unpacked."""
    for packed in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            yield zlib.decompress(packed)
        except zlib.error:
            continue  # a font or a picture


def test_the_pdf_has_pages_of_text(browser, page):  # noqa: F811
    sheet = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True}
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", sheet)["data"])
    sheets = len(re.findall(rb"/Type\s*/Page\b", pdf))
    texts = [stream for stream in streams(pdf) if re.search(rb"\bT[jJ]\b", stream)]
    assert sheets >= 3
    assert len(texts) >= sheets, "every page shows text, not a picture of it"
    assert b"/URI" not in pdf, "no link leads anywhere"
