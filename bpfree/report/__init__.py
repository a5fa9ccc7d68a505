"""The report of a study, from its records alone: one HTML file that works offline, and its figures as SVG.

A new chart is a function in `figures.py` and its name in `all_figures`.
"""

from bpfree.report.html import build_report

__all__ = ["build_report"]
