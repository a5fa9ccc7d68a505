"""Figures as files for papers: as many in each format as there are figures, whole and in their colours."""

import struct
import zlib
from xml.etree import ElementTree

import pytest
from calibrations import random_calibration

from bpfree.errors import RequestError
from bpfree.report import build_report, figure_files
from bpfree.report.decomposition import waterfall
from bpfree.report.summary import summarise
from bpfree.results import ResultsFolder

BEGINNINGS = {"svg": b"<svg", "pdf": b"%PDF", "png": b"\x89PNG\r\n\x1a\n"}


def header(png):
    """Width, height and the bytes of a pixel."""
    width, height, _, kind = struct.unpack(">IIBB", png[16:26])
    return width, height, {2: 3, 6: 4}[kind]


def first_pixel(png):
    """As stored: no filter changes the first one, as there is nothing before it."""
    position, content = 8, b""
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        if png[position + 4 : position + 8] == b"IDAT":
            content += png[position + 8 : position + 8 + length]
        position += 12 + length
    return tuple(zlib.decompress(content)[1 : 1 + header(png)[2]])


def test_every_figure_is_written_in_the_formats_asked_for(made, tmp_path):
    page = build_report(made(), tmp_path, ["pdf", "svg", "pdf"]).read_text()
    files = {suffix: sorted((tmp_path / "figures").glob(f"*.{suffix}")) for suffix in ("svg", "pdf")}
    assert len(files["svg"]) == page.count("<figure>") > 10
    assert [file.stem for file in files["pdf"]] == [file.stem for file in files["svg"]]
    assert len(list((tmp_path / "figures").iterdir())) == 2 * len(files["svg"])
    for suffix, found in files.items():
        assert all(file.read_bytes().startswith(BEGINNINGS[suffix]) for file in found)


def test_pixels_are_enough_for_print(made, tmp_path):
    figure = waterfall(summarise(made()).workloads[0])
    figure_files.write([figure], ResultsFolder(tmp_path), ["png"])
    content = (tmp_path / "figures" / f"{figure.name}.png").read_bytes()
    assert content.startswith(BEGINNINGS["png"])
    box = [float(n) for n in ElementTree.fromstring(figure.standalone).get("viewBox").split()[2:]]
    assert header(content)[:2] == pytest.approx([300 / 72 * side for side in box], abs=2)


def test_half_transparent_colours_are_kept_in_pixels():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4" viewBox="0 0 4 4">'
        '<rect width="4" height="4" fill="#0067a8" opacity="0.4"/></svg>'
    )
    on_white = [0.4 * part + 0.6 * 255 for part in (0x00, 0x67, 0xA8)]
    assert first_pixel(figure_files.FORMATS["png"](svg))[:3] == pytest.approx(on_white, abs=1.5)


def test_a_calibration_has_them_too(tmp_path):
    path = random_calibration(tmp_path / "results", ["nadamw", "prodigy"], workloads=2, points=2, seeds=2)
    build_report(path, tmp_path / "report", ["pdf"])
    folder = tmp_path / "report" / "figures"
    assert len(list(folder.glob("*.pdf"))) == len(list(folder.glob("*.svg"))) > 0


def test_an_unknown_format_is_refused_before_anything_is_written(made, tmp_path):
    with pytest.raises(RequestError, match="choose from svg, pdf, png"):
        build_report(made(), tmp_path / "report", ["eps!"])
    assert not (tmp_path / "report").exists()


def test_the_command_line_writes_them(made, bpfree, tmp_path):
    wrong = bpfree("report", made(), "--output", tmp_path / "report", "--figures", "tiff")
    assert (wrong.returncode, wrong.stdout, len(wrong.stderr.splitlines())) == (2, "", 1)
    done = bpfree("report", tmp_path / "results" / "made-up", "--output", tmp_path / "report", "--figures", "pdf")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "report" / "figures").glob("*.pdf"))) > 10
