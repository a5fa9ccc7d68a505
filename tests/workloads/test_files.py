"""Files of the MNIST kind: where they are looked for, what is refused, and downloads from servers on this machine."""

import gzip
import hashlib
import io
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from bpfree.errors import DataError
from bpfree.workloads import data, files, idx
from bpfree.workloads.files import DataFile, Dataset, Package

Serve = Callable[..., Any]
Refusal = Callable[..., str]

FOLDER = "Tiny/raw"
NAMES = ("train-images", "train-labels", "test-images", "test-labels")
random = np.random.default_rng(0)
ARRAYS = tuple(random.integers(0, 256, shape, dtype=np.uint8) for shape in ((6, 4, 5), (6,), (3, 4, 5), (3,)))


def document(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


UNPACKED = {name: document(array) for name, array in zip(NAMES, ARRAYS, strict=True)}
PACKED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in UNPACKED.items()}
FILES = tuple(
    DataFile(name, array.shape, f"md5:{md5(UNPACKED[name])}", Package(f"{name}.gz", f"md5:{md5(PACKED[f'{name}.gz'])}"))
    for name, array in zip(NAMES, ARRAYS, strict=True)
)
TINY = Dataset("Tiny", (1, 4, 5), 10, (4, 2, 3), 255, idx.read, FOLDER, FILES)
FIRST = "train-images"


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(data.DATASETS, "tiny", TINY)


def put(root: Path, files: dict[str, bytes] = PACKED) -> Path:
    (root / FOLDER).mkdir(parents=True)
    for name, content in files.items():
        (root / FOLDER / name).write_bytes(content)
    return root


def garbage(root: Path) -> Path:
    return put(root, dict.fromkeys(PACKED, b"garbage"))


def check(arrays: data.Arrays) -> None:
    train_images, train_labels, test_images, test_labels = ARRAYS
    np.testing.assert_array_equal(arrays.train_inputs, train_images[:, None], strict=True)
    np.testing.assert_array_equal(arrays.train_targets, train_labels.astype(np.int64), strict=True)
    np.testing.assert_array_equal(arrays.test_inputs, test_images[:, None], strict=True)
    np.testing.assert_array_equal(arrays.test_targets, test_labels.astype(np.int64), strict=True)


# Where files are looked for


@pytest.mark.parametrize("files", [PACKED, UNPACKED], ids=["packed", "unpacked"])
def test_reads_both_forms(tmp_path: Path, files: dict[str, bytes]) -> None:
    check(data.load("tiny", put(tmp_path / "given", files)))


def test_places_come_in_order(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    put(cache)
    check(data.load("tiny"))
    monkeypatch.setenv("BPFREE_DATA", str(garbage(tmp_path / "named")))
    assert str(tmp_path / "named") in refusal("tiny")
    check(data.load("tiny", put(tmp_path / "given")))


def test_named_folder_comes_before_the_cache(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    garbage(cache)
    monkeypatch.setenv("BPFREE_DATA", str(put(tmp_path / "named")))
    check(data.load("tiny"))


def test_falls_through_where_a_place_lacks_files(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = dict(list(PACKED.items())[:2])
    rest = dict(list(UNPACKED.items())[2:])
    monkeypatch.setenv("BPFREE_DATA", str(put(tmp_path / "named", half)))
    put(cache, rest)
    check(data.load("tiny", tmp_path / "nowhere"))


# What is refused


DAMAGED = {
    "truncated": (f"{FIRST}.gz", PACKED[f"{FIRST}.gz"][:-9]),
    "one bit": (f"{FIRST}.gz", PACKED[f"{FIRST}.gz"][:-1] + bytes([PACKED[f"{FIRST}.gz"][-1] ^ 1])),
    "empty": (f"{FIRST}.gz", b""),
    "a web page": (f"{FIRST}.gz", b"<!DOCTYPE html>"),
    "unpacked, truncated": (FIRST, UNPACKED[FIRST][:-1]),
    "unpacked, wrong pixel": (FIRST, UNPACKED[FIRST][:-1] + bytes([UNPACKED[FIRST][-1] ^ 1])),
}


@pytest.mark.parametrize(("name", "content"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes, refusal: Refusal) -> None:
    root = put(tmp_path / "given", {name: content})
    message = refusal("tiny", root)
    assert message.startswith(f"{root / FOLDER / name} is damaged (MD5 {md5(content)} instead of ")
    assert message.endswith("delete it and it will be downloaded again")


WRONG_FORMS = {
    "cut short": PACKED[f"{FIRST}.gz"][:-9],
    "no gzip": b"no gzip at all",
    "another file": PACKED[f"{NAMES[1]}.gz"],
}


@pytest.mark.parametrize("content", WRONG_FORMS.values(), ids=WRONG_FORMS)
def test_a_known_md5_does_not_excuse_a_wrong_form(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"file\.gz is damaged .*: delete it"):
        idx.read_file(path, replace(FILES[0], package=Package("file.gz", f"md5:{md5(content)}")))


@given(arrays(np.uint8, array_shapes(max_dims=3, max_side=5)))
def test_idx_is_parsed(array: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(idx.parse(document(array), array.shape), array, strict=True)


@given(st.binary(max_size=40))
def test_no_bytes_but_idx_are_taken(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"IDX|shape|buffer"):
        idx.parse(content, (7, 7))


OTHER_DOCUMENTS = {
    "magic": b"\1" + document(ARRAYS[0])[1:],
    "signed bytes": b"\0\0\x09" + document(ARRAYS[0])[3:],
    "dimensions": document(ARRAYS[0].reshape(6, 20)),
    "sizes": document(ARRAYS[0].reshape(6, 5, 4)),
    "too long": document(ARRAYS[0]) + b"\0",
    "little-endian": bytes([0, 0, 8, 3]) + np.array((6, 4, 5), dtype="<u4").tobytes() + ARRAYS[0].tobytes(),
}


@pytest.mark.parametrize("content", OTHER_DOCUMENTS.values(), ids=OTHER_DOCUMENTS)
def test_what_is_not_the_expected_idx_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"IDX|shape"):
        idx.parse(content, (6, 4, 5))


def test_every_truncation_is_refused() -> None:
    whole = document(ARRAYS[1])
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"IDX|shape|buffer"):
            idx.parse(whole[:length], ARRAYS[1].shape)


@pytest.mark.parametrize("method", ["read_bytes", "is_file"])
def test_unreadable_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, refusal: Refusal
) -> None:
    def deny(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    root = put(tmp_path / "given")
    monkeypatch.setattr(Path, method, deny)
    path = root / FOLDER / f"{FIRST}.gz"
    assert refusal("tiny", root) == f"{path} cannot be read (Permission denied): check its permissions"


@pytest.mark.parametrize("place", ["x" * 300, "~nobody-of-that-name/data"], ids=["too long", "unknown home"])
def test_an_impossible_folder_is_refused(place: str, refusal: Refusal) -> None:
    assert place in refusal("tiny", Path(place))


# Downloads


def use(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> None:
    monkeypatch.setitem(data.DATASETS, "tiny", replace(TINY, mirrors=mirrors))


def closed_address() -> str:
    """Where nobody listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_port}/"


def left_behind(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_downloads_once_into_the_cache_and_quietly(
    cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mirror = serve(answers=PACKED)
    use(monkeypatch, mirror.address)
    check(data.load("tiny"))
    check(data.load("tiny"))
    assert mirror.asked == list(PACKED)
    assert left_behind(cache) == sorted(PACKED)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_a_progress_bar(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    use(monkeypatch, serve(answers=PACKED).address)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    check(data.load("tiny"))
    assert "100%" in terminal.getvalue()


def test_the_next_mirror_is_tried(
    cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    absent, wrong = serve(), serve(answers=dict.fromkeys(PACKED, b"something else"))
    broken, good = serve(answers=PACKED, cut=True), serve(answers=PACKED)
    use(monkeypatch, absent.address, closed_address(), wrong.address, broken.address, good.address)
    check(data.load("tiny"))
    assert absent.asked == wrong.asked == broken.asked == good.asked == list(PACKED)
    assert left_behind(cache) == sorted(PACKED)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "HTTP status 404"),
        ({"answers": dict.fromkeys(PACKED, 503)}, "HTTP status 503"),
        ({"answers": dict.fromkeys(PACKED, b"<html>")}, "the file there has another MD5"),
        ({"answers": PACKED, "cut": True}, "no connection, or it broke"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_why(
    cache: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
    reason: str,
    refusal: Refusal,
) -> None:
    mirror = serve(**options)
    use(monkeypatch, mirror.address)
    assert f"({mirror.address[7:-1]}: {reason})" in refusal("tiny")
    assert left_behind(cache) == []


def test_a_silent_mirror_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    monkeypatch.setattr(files, "READ_SECONDS", 0.2)
    use(monkeypatch, serve(silent=threading.Event()).address)
    assert "no answer in time" in refusal("tiny")


def test_offline_says_where_it_looked_and_what_to_do(
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    refusal: Refusal,
) -> None:
    monkeypatch.setenv("BPFREE_DATA", str(tmp_path / "named"))
    use(monkeypatch, closed_address(), closed_address())
    message = refusal("tiny", tmp_path / "given")
    for root in (tmp_path / "given", tmp_path / "named", cache):
        assert str(root / FOLDER) in message
    assert f"{FIRST}.gz of Tiny is not in" in message
    assert f"name the folder that holds {FOLDER} with --data-dir or BPFREE_DATA" in message
    assert capfd.readouterr() == ("", "")


def test_an_unwritable_cache_is_named(
    cache: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Refusal,
) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    mirror = serve(answers=PACKED)
    use(monkeypatch, mirror.address)
    message = refusal("tiny")
    assert f"{FIRST}.gz cannot be downloaded to {cache / FOLDER}" in message
    assert "BPFREE_DATA" in message
    assert mirror.asked == []


def test_downloads_at_the_same_time_do_not_disturb_each_other(
    cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, serve(answers=PACKED).address)
    with ThreadPoolExecutor(4) as pool:
        for arrays in pool.map(data.load, ["tiny"] * 8):
            check(arrays)
    assert left_behind(cache) == sorted(PACKED)
