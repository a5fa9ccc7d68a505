"""Benchmarks: `python -m bench` or `make bench`. Ratios measured side by side, beside what theory or a bar says."""
