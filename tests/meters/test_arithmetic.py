"""The arithmetic limit, with a scripted clock."""

import itertools

import pytest
import torch

from bpfree.meters import arithmetic


def test_the_limit_is_that_of_the_fastest_product_but_the_first(monkeypatch):
    """Products of 16³ that take 1 µs (the first, which does not count), then 0.4, 0.2 and 0.3 s."""
    durations = itertools.chain([1e-6, 0.4, 0.2, 0.3], itertools.repeat(0.5))
    now = 0.0
    inside = False

    def clock():
        nonlocal now, inside
        if inside:
            now += next(durations)
        inside = False
        return now

    class Product:
        def __matmul__(self, other):
            nonlocal inside
            inside = True

    monkeypatch.setitem(arithmetic.SIZES, "cpu", 16)
    monkeypatch.setattr(torch, "ones", lambda *_, **__: Product())
    monkeypatch.setattr(arithmetic.time, "perf_counter", clock)
    assert arithmetic.peak_flops_per_second("cpu") == pytest.approx(2 * 16**3 / 0.2)
