"""The templates of the pages: what they share is in `base` and `macros`."""

from pathlib import Path
from typing import Any

import jinja2

from bpfree.report import drawing

HERE = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """The HTML text of a page; whatever comes from outside is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template(template).render(style=style(), script=script(), **values)


def style() -> str:
    """The style sheet, with the light theme's series colours put in."""
    colours = "; ".join(f"{variable}: {colour}" for _, variable, colour in drawing.SERIES)
    return (HERE / "style.css").read_text().replace("/* series */", f"{colours};")


def script() -> str:
    """What sorts the tables of runs and saves figures; the pages are whole without it."""
    named = (drawing.INK, drawing.MUTED, drawing.GRID, drawing.PAPER, *drawing.SERIES)
    light = ", ".join(f'"{variable}": "{colour}"' for _, variable, colour in named)
    figures = (HERE / "figures.js").read_text().replace("/* colours */", light)
    return (HERE / "runs.js").read_text() + figures
