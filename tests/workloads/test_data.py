"""Datasets: where files are looked for, what is refused, and downloads from a server on this machine."""

import gzip
import hashlib
import io
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from bpfree import workloads
from bpfree.errors import DataError, RequestError
from bpfree.workloads import data

FOLDER = "Tiny/raw"
NAMES = ("train-images", "train-labels", "test-images", "test-labels")
random = np.random.default_rng(0)
ARRAYS = tuple(random.integers(0, 256, shape, dtype=np.uint8) for shape in ((6, 4, 5), (6,), (3, 4, 5), (3,)))


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


UNPACKED = {name: idx(array) for name, array in zip(NAMES, ARRAYS, strict=True)}
PACKED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in UNPACKED.items()}
FILES = tuple(
    data.IdxFile(name, md5(PACKED[f"{name}.gz"]), md5(UNPACKED[name]), array.shape)
    for name, array in zip(NAMES, ARRAYS, strict=True)
)
TINY = data.Dataset("Tiny", (1, 4, 5), 10, (4, 2, 3), 255, data.read_idx_dataset, FOLDER, FILES)
FIRST = "train-images"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The table has a tiny dataset, there is no other place, and the user cache is empty."""
    monkeypatch.setattr(data.pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("BPFREE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(data.DATASETS, "tiny", TINY)
    return tmp_path / "cache" / "bpfree"


def put(root: Path, files: dict[str, bytes] = PACKED) -> Path:
    (root / FOLDER).mkdir(parents=True)
    for name, content in files.items():
        (root / FOLDER / name).write_bytes(content)
    return root


def garbage(root: Path) -> Path:
    return put(root, dict.fromkeys(PACKED, b"garbage"))


def check(arrays: data.Arrays) -> None:
    train_images, train_labels, test_images, test_labels = ARRAYS
    np.testing.assert_array_equal(arrays.train_images, train_images[:, None], strict=True)
    np.testing.assert_array_equal(arrays.train_labels, train_labels.astype(np.int64), strict=True)
    np.testing.assert_array_equal(arrays.test_images, test_images[:, None], strict=True)
    np.testing.assert_array_equal(arrays.test_labels, test_labels.astype(np.int64), strict=True)


def refusal(data_dir: Path | None = None) -> str:
    with pytest.raises(DataError) as caught:
        data.load("tiny", data_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Where files are looked for


@pytest.mark.parametrize("files", [PACKED, UNPACKED], ids=["packed", "unpacked"])
def test_reads_both_forms(tmp_path: Path, files: dict[str, bytes]) -> None:
    check(data.load("tiny", put(tmp_path / "given", files)))


def test_places_come_in_order(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cache)
    check(data.load("tiny"))
    monkeypatch.setenv("BPFREE_DATA", str(garbage(tmp_path / "named")))
    assert str(tmp_path / "named") in refusal()
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


@pytest.mark.parametrize(
    ("name", "content"),
    {
        "truncated": (f"{FIRST}.gz", PACKED[f"{FIRST}.gz"][:-9]),
        "one bit": (f"{FIRST}.gz", PACKED[f"{FIRST}.gz"][:-1] + bytes([PACKED[f"{FIRST}.gz"][-1] ^ 1])),
        "empty": (f"{FIRST}.gz", b""),
        "a web page": (f"{FIRST}.gz", b"<!DOCTYPE html>"),
        "unpacked, truncated": (FIRST, UNPACKED[FIRST][:-1]),
        "unpacked, wrong pixel": (FIRST, UNPACKED[FIRST][:-1] + bytes([UNPACKED[FIRST][-1] ^ 1])),
    }.values(),
)
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    root = put(tmp_path / "given", {name: content})
    message = refusal(root)
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
        data.read_idx(path, replace(FILES[0], packed_md5=md5(content)))


@settings(deadline=None)
@given(arrays(np.uint8, array_shapes(max_dims=3, max_side=5)))
def test_idx_is_parsed(array: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(data.parse_idx(idx(array), array.shape), array, strict=True)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_no_bytes_but_idx_are_taken(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"IDX|shape|buffer"):
        data.parse_idx(content, (7, 7))


@pytest.mark.parametrize(
    "content",
    {
        "magic": b"\1" + idx(ARRAYS[0])[1:],
        "signed bytes": b"\0\0\x09" + idx(ARRAYS[0])[3:],
        "dimensions": idx(ARRAYS[0].reshape(6, 20)),
        "sizes": idx(ARRAYS[0].reshape(6, 5, 4)),
        "too long": idx(ARRAYS[0]) + b"\0",
        "little-endian": bytes([0, 0, 8, 3]) + np.array((6, 4, 5), dtype="<u4").tobytes() + ARRAYS[0].tobytes(),
    }.values(),
)
def test_what_is_not_the_expected_idx_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"IDX|shape"):
        data.parse_idx(content, (6, 4, 5))


def test_every_truncation_is_refused() -> None:
    whole = idx(ARRAYS[1])
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"IDX|shape|buffer"):
            data.parse_idx(whole[:length], ARRAYS[1].shape)


@pytest.mark.parametrize("method", ["read_bytes", "is_file"])
def test_unreadable_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def deny(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    root = put(tmp_path / "given")
    monkeypatch.setattr(Path, method, deny)
    path = root / FOLDER / f"{FIRST}.gz"
    assert refusal(root) == f"{path} cannot be read (Permission denied): check its permissions"


@pytest.mark.parametrize("place", ["x" * 300, "~nobody-of-that-name/data"], ids=["too long", "unknown home"])
def test_an_impossible_folder_is_refused(place: str) -> None:
    assert place in refusal(Path(place))


# Downloads


@dataclass
class Mirror:
    """A server on this machine. What it does with a path is in `answers`: a body, a status, or part of a body."""

    address: str = ""
    answers: dict[str, bytes | int] = field(default_factory=dict)
    cut: bool = False
    silent: threading.Event | None = None
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def serve() -> Iterator[Callable[..., Mirror]]:
    servers: list[tuple[ThreadingHTTPServer, threading.Thread, Mirror]] = []

    def start(**options: object) -> Mirror:
        mirror = Mirror(**options)  # type: ignore[arg-type]
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(mirror))
        mirror.address = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread, mirror))
        return mirror

    yield start
    for server, thread, mirror in servers:
        if mirror.silent is not None:
            mirror.silent.set()
        server.shutdown()
        server.server_close()
        thread.join()


def handler(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.asked.append(self.path[1:])
            if mirror.silent is not None:
                mirror.silent.wait(10)
                return
            answer = mirror.answers.get(self.path[1:], 404)
            body = b"" if isinstance(answer, int) else answer
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if mirror.cut else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def use(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> None:
    monkeypatch.setitem(data.DATASETS, "tiny", replace(TINY, mirrors=mirrors))


def closed_address() -> str:
    """Where nobody listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_port}/"


def left_behind(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_downloads_once_into_the_cache_and_quietly(
    cache: Path, serve: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mirror = serve(answers=PACKED)
    use(monkeypatch, mirror.address)
    check(data.load("tiny"))
    check(data.load("tiny"))
    assert mirror.asked == list(PACKED)
    assert left_behind(cache) == sorted(PACKED)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_a_progress_bar(serve: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    use(monkeypatch, serve(answers=PACKED).address)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    check(data.load("tiny"))
    assert "100%" in terminal.getvalue()


def test_the_next_mirror_is_tried(
    cache: Path, serve: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
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
    cache: Path, serve: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch, options: dict[str, object], reason: str
) -> None:
    mirror = serve(**options)
    use(monkeypatch, mirror.address)
    assert f"({mirror.address[7:-1]}: {reason})" in refusal()
    assert left_behind(cache) == []


def test_a_silent_mirror_is_given_up(serve: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "READ_SECONDS", 0.2)
    use(monkeypatch, serve(silent=threading.Event()).address)
    assert "no answer in time" in refusal()


def test_offline_says_where_it_looked_and_what_to_do(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BPFREE_DATA", str(tmp_path / "named"))
    use(monkeypatch, closed_address(), closed_address())
    message = refusal(tmp_path / "given")
    for root in (tmp_path / "given", tmp_path / "named", cache):
        assert str(root / FOLDER) in message
    assert f"{FIRST}.gz of Tiny is not in" in message
    assert f"name the folder that holds {FOLDER} with --data-dir or BPFREE_DATA" in message
    assert capfd.readouterr() == ("", "")


def test_an_unwritable_cache_is_named(
    cache: Path, serve: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    mirror = serve(answers=PACKED)
    use(monkeypatch, mirror.address)
    message = refusal()
    assert f"{FIRST}.gz cannot be downloaded to {cache / FOLDER}" in message
    assert "BPFREE_DATA" in message
    assert mirror.asked == []


def test_downloads_at_the_same_time_do_not_disturb_each_other(
    cache: Path, serve: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, serve(answers=PACKED).address)
    with ThreadPoolExecutor(4) as pool:
        for arrays in pool.map(data.load, ["tiny"] * 8):
            check(arrays)
    assert left_behind(cache) == sorted(PACKED)


# The table


def test_digits_are_divided_once_and_for_all() -> None:
    arrays = data.load("digits")
    assert arrays.train_images.shape == (1437, 1, 10, 10)
    assert arrays.test_images.shape == (360, 1, 10, 10)
    assert arrays.train_images.dtype == arrays.test_images.dtype == np.uint8
    assert arrays.train_labels.dtype == arrays.test_labels.dtype == np.int64
    assert arrays.train_images.max() == data.DATASETS["digits"].white
    assert set(np.bincount(arrays.test_labels)) <= {35, 36, 37}
    for images in (arrays.train_images, arrays.test_images):
        assert images.sum() == images[:, :, 1:-1, 1:-1].sum(), "the border is black"
    assert (
        md5(inner(arrays.train_images).tobytes() + arrays.train_labels.tobytes()) == "32febb4aecd3e5f788304c570d445164"
    )
    assert md5(inner(arrays.test_images).tobytes() + arrays.test_labels.tobytes()) == "2aefadba76fe951410e648f40aa16c97"


def inner(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images[:, :, 1:-1, 1:-1])


def test_digits_training_and_test_sets_are_apart() -> None:
    from sklearn.datasets import load_digits

    arrays = data.load("digits")
    images = np.concatenate([inner(arrays.train_images), inner(arrays.test_images)])
    parts = images.reshape(-1, 64).tolist()
    assert sorted(parts) == sorted(load_digits().data.astype(int).tolist())


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion"])
def test_rows_agree_with_themselves(name: str) -> None:
    row = data.DATASETS[name]
    assert all(mirror.endswith("/") for mirror in row.mirrors)
    if row.files:
        train, validation, test = row.samples
        assert [file.shape[0] for file in row.files] == [train + validation] * 2 + [test] * 2
        assert all(len(digest) == 32 for file in row.files for digest in (file.packed_md5, file.unpacked_md5))


CLASS_SIZES = {
    "mnist": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    "fashion": [1000] * 10,
}


@pytest.mark.parametrize("name", CLASS_SIZES)
def test_real_files(name: str, data_dir: Path) -> None:
    row, read = data.DATASETS[name], data.load(name, data_dir)
    assert read.train_images.shape == (60_000, 1, 28, 28)
    assert read.test_images.shape == (10_000, 1, 28, 28)
    assert read.train_images.max() == row.white
    assert np.bincount(read.test_labels).tolist() == CLASS_SIZES[name]
    for file in row.files:
        packed = (data_dir / row.folder / f"{file.name}.gz").read_bytes()
        assert md5(gzip.decompress(packed)) == file.unpacked_md5


@pytest.mark.parametrize(("name", "shape"), [("fashion-mlp", (784,)), ("fashion-cnn", (1, 28, 28))])
def test_validation_is_the_end_of_the_training_set(name: str, shape: tuple[int, ...], data_dir: Path) -> None:
    parts, read = workloads.find(name).load("cpu", data_dir), data.load("fashion", data_dir)
    for split, samples in ((parts.train, 50_000), (parts.validation, 10_000), (parts.test, 10_000)):
        assert split.inputs.shape == (samples, *shape)
        assert split.inputs.dtype == torch.float32
        assert (split.inputs.min(), split.inputs.max()) == (0, 1)
    labels = torch.cat((parts.train.targets, parts.validation.targets)).numpy()
    np.testing.assert_array_equal(labels, read.train_labels, strict=True)
    np.testing.assert_array_equal(parts.test.targets.numpy(), read.test_labels, strict=True)


@pytest.mark.parametrize(
    ("name", "sizes"),
    {"mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], "fashion": [6000] * 10}.items(),
)
def test_labels_of_the_training_set(name: str, sizes: list[int], data_dir: Path) -> None:
    assert np.bincount(data.load(name, data_dir).train_labels).tolist() == sizes


def test_the_splits_of_digits() -> None:
    loaded = workloads.find("digits-mlp").load("cpu")
    parts = (loaded.train, loaded.validation, loaded.test)
    assert [len(part) for part in parts] == [1149, 288, 360]
    assert all(part.inputs.shape == (len(part), 100) for part in parts)
    assert all((part.inputs.min(), part.inputs.max()) == (0, 1) for part in parts)
    assert loaded.validation.targets.bincount(minlength=10).min() > 15, "every class is in the validation set"
    samples = [{tuple(row) for row in part.inputs.tolist()} for part in parts]
    assert sum(map(len, samples)) == len(set.union(*samples)) == 1797, "no sample is in two splits"


def test_an_unknown_workload_suggests_the_nearest() -> None:
    with pytest.raises(RequestError, match="unknown workload 'fashion-mpl': did you mean fashion-mlp"):
        workloads.find("fashion-mpl")
