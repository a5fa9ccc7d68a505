"""Figures saved from the page, in a real browser: the same as the files beside it, whatever the page's theme."""

import re
from xml.etree import ElementTree

import test_browser
from test_browser import browser  # noqa: F401  # fixture

from bpfree.report import build_report

pytestmark = test_browser.pytestmark

SAVED = """
const done = arguments[0];
const links = [...document.querySelectorAll('figure a[download]')];
links.forEach(link => link.addEventListener('click', event => event.preventDefault()));
links.forEach(link => link.click());
Promise.all(links.map(async link => [link.download, await (await fetch(link.href)).text()])).then(done);
"""


def marks(svg):
    """What is drawn: every shape and text with its place and colours."""
    kept = ("d", "fill", "stroke", "transform", "opacity", "x1", "x2", "y1", "y2")
    found = ElementTree.fromstring(svg).iter()
    return [(e.tag, e.text, *(e.get(name) for name in kept)) for e in found if e.tag.endswith(("path", "text", "line"))]


def test_they_are_those_beside_the_page(browser, made, tmp_path):  # noqa: F811
    page = build_report(made(), tmp_path / "report")
    browser.get(page.as_uri())
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    saved = dict(browser.execute_async_script(SAVED))
    files = {file.name: file.read_text() for file in (page.parent / "figures").iterdir()}
    assert saved.keys() == files.keys()
    for name, text in saved.items():
        assert "var(" not in text
        assert marks(text) == marks(files[name])
        assert re.search(r'<svg[^>]* width="\d', text)
