"""Figures as files: SVG always, and for papers PDF or PNG, made from it without a browser."""

import re
from collections.abc import Callable, Iterable, Sequence

import vl_convert

from bpfree.errors import find
from bpfree.report.drawing import PAPER, Figure
from bpfree.results import ResultsFolder

PIXELS_PER_INCH = 300


def png(svg: str) -> bytes:
    """On white paper: the renderer falsifies colours that are half transparent on nothing."""
    paper = f'<rect width="100%" height="100%" fill="{PAPER[2]}"/>'
    svg = re.sub("<svg[^>]*>", lambda tag: tag.group() + paper, svg, count=1)
    return bytes(vl_convert.svg_to_png(svg, ppi=PIXELS_PER_INCH))


FORMATS: dict[str, Callable[[str], bytes]] = {"svg": str.encode, "pdf": vl_convert.svg_to_pdf, "png": png}


def check(formats: Iterable[str]) -> None:
    """Refuse a format that there is not.

    Raises
    ------
    RequestError
        There is one; the message names those that there are.
    """
    for name in formats:
        find("format of figures", name, FORMATS)


def write(figures: Iterable[Figure], target: ResultsFolder, formats: Sequence[str]) -> None:
    """Write `figures/*.svg`, and the same in further formats.

    Raises
    ------
    WorldError
        The folder cannot be written.
    """
    for figure in figures:
        for name in dict.fromkeys(("svg", *formats)):
            target.write_bytes(f"figures/{figure.name}.{name}", FORMATS[name](figure.standalone))
