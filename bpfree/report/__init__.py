"""The report of a study or a calibration, from its records alone: one HTML file that works offline, figures as SVG.

A new chart of a study is a function in `figures.py` and its name in `described`; `calibration*.py` are the page of a
calibration, `comparison*.py` that of several studies side by side, and `tables.py` the tables of a paper.
"""

from bpfree.report.comparison_page import build_comparison
from bpfree.report.html import build_report

__all__ = ["build_comparison", "build_report"]
