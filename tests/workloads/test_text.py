"""The reader of texts: on one whose characters are their positions, on damaged ones, on the real tiny Shakespeare."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpfree import workloads
from bpfree.workloads import data, text
from bpfree.workloads.files import DataFile, Dataset, Package

Serve = Callable[..., Any]
Refusal = Callable[..., str]

CONTENT = bytes(range(10, 210))
"""200 characters, each another, so that one says where it stood."""
CONTEXT = 3
FOLDER, NAME = "tinytext", "input.txt"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = DataFile(
    NAME, (200,), f"sha256:{DIGEST}", Package(NAME, f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}")
)
TINY = Dataset("Tiny text", (CONTEXT,), 200, (59, 3, 3), None, text.read, FOLDER, (FILE,))


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(data.DATASETS, "tiny", TINY)


def put(root: Path, content: bytes = CONTENT) -> Path:
    (root / FOLDER).mkdir(parents=True)
    (root / FOLDER / NAME).write_bytes(content)
    return root


def parts(arrays: data.Arrays, samples: tuple[int, int, int]) -> list[tuple[list[list[int]], list[list[int]]]]:
    """Inputs and targets of training, validation and test."""
    inputs = np.concatenate((arrays.train_inputs, arrays.test_inputs)).tolist()
    targets = np.concatenate((arrays.train_targets, arrays.test_targets)).tolist()
    assert len(inputs) == len(targets) == sum(samples)
    ends = np.cumsum(samples)
    return [(inputs[a:b], targets[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def test_windows_and_their_next_characters(tmp_path: Path) -> None:
    arrays = data.load("tiny", put(tmp_path))
    assert arrays.train_inputs.dtype == arrays.test_inputs.dtype == np.uint8
    assert arrays.train_targets.dtype == arrays.test_targets.dtype == np.int64
    for (inputs, targets), start, end in zip(parts(arrays, TINY.samples), (0, 180, 190), (180, 190, 200), strict=True):
        for k, (window, following) in enumerate(zip(inputs, targets, strict=True)):
            position = start + k * CONTEXT
            assert window == list(range(position, position + CONTEXT))
            assert following == [position + 1, position + 2, position + 3]
        assert end - CONTEXT <= following[-1] < end, "no more windows fit"


def test_the_parts_share_no_character(tmp_path: Path) -> None:
    seen = [
        {position for rows in part for row in rows for position in row}
        for part in parts(data.load("tiny", put(tmp_path)), TINY.samples)
    ]
    assert sum(map(len, seen)) == len(set.union(*seen)) > 190


def test_symbols_are_counted_in_the_order_of_their_codes() -> None:
    assert text.parse(b"banana b", (8,), 4).tolist() == [2, 1, 3, 1, 3, 1, 0, 2]


# What is refused


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c + b" ", lambda c: b""], ids=["cut", "long", "empty"])
@pytest.mark.parametrize("known", [True, False], ids=["checksum", "no checksum"])
def test_another_length_is_refused(
    tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes], known: bool
) -> None:
    changed = change(CONTENT)
    if not known:
        monkeypatch.setitem(data.DATASETS, "tiny", replace(TINY, files=(replace(FILE, checksum=None),)))
    message = refusal("tiny", put(tmp_path, changed))
    reason = f"SHA-256 {hashlib.sha256(changed).hexdigest()} instead of {DIGEST}"
    assert message == (
        f"{tmp_path / FOLDER / NAME} is damaged ({reason if known else f'{len(changed)} bytes instead of 200'}): "
        "delete it and it will be downloaded again"
    )


def test_other_characters_are_refused(tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(data.DATASETS, "tiny", replace(TINY, files=(replace(FILE, checksum=None),)))
    message = refusal("tiny", put(tmp_path, CONTENT[:-1] + CONTENT[:1]))
    assert "input.txt is damaged (199 different characters instead of 200)" in message


def test_the_real_name_refuses_a_truncated_file(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text("First Citizen:\nBefore we proceed any furth")
    assert "input.txt is damaged (SHA-256 " in refusal("shakespeare", tmp_path)


# Downloads


def test_downloads_once_into_the_cache(cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = serve(answers={NAME: CONTENT})
    monkeypatch.setitem(data.DATASETS, "tiny", replace(TINY, mirrors=(mirror.address,)))
    for _ in range(2):
        assert data.load("tiny").train_inputs.shape == (62, CONTEXT)
    assert mirror.asked == [NAME]
    assert (cache / FOLDER / NAME).read_bytes() == CONTENT


def test_nowhere_says_where_it_looked(tmp_path: Path, refusal: Refusal) -> None:
    message = refusal("tiny", tmp_path)
    assert f"input.txt of Tiny text is not in {tmp_path / FOLDER}" in message
    assert f"name the folder that holds {FOLDER} with --data-dir or BPFREE_DATA" in message


# The real one


def test_tiny_shakespeare(shakespeare_dir: Path) -> None:
    row = data.DATASETS["shakespeare"]
    content = (shakespeare_dir / row.folder / "input.txt").read_text(encoding="ascii")
    symbols = sorted(set(content))
    assert (len(content), len(symbols)) == (row.files[0].shape[0], row.classes) == (1_115_394, 65)
    md5 = hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()
    assert row.files[0].package.checksum == f"md5:{md5}"
    loaded = workloads.find("shakespeare-transformer").load("cpu", shakespeare_dir)
    ends = (0, len(content) * 90 // 100, len(content) * 95 // 100)
    for part, start, samples in zip((loaded.train, loaded.validation, loaded.test), ends, row.samples, strict=True):
        assert part.inputs.shape == part.targets.shape == (samples, 64)
        assert not part.inputs.is_floating_point()
        read, following = ("".join(symbols[i] for i in x.flatten().tolist()) for x in (part.inputs, part.targets))
        assert read == content[start : start + 64 * samples]
        assert following == content[start + 1 : start + 64 * samples + 1]
