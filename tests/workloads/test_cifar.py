"""The CIFAR reader: on tiny files in both forms, on archives from a server on this machine, on the real CIFAR-10."""

import errno
import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bpfree import workloads
from bpfree.workloads import cifar, data, files
from bpfree.workloads.files import DataFile, Dataset, Package

Serve = Callable[..., Any]
Refusal = Callable[..., str]

HEIGHT, WIDTH = 2, 4
random = np.random.default_rng(0)
# Images as one sees them: height, width, colour.
IMAGES = {
    name: random.integers(0, 256, (samples, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for name, samples in (("one.bin", 3), ("two.bin", 3), ("test.bin", 2))
}
LABELS = {"one.bin": [9, 0, 3], "two.bin": [1, 1, 7], "test.bin": [5, 9]}
COARSE = {"one.bin": [19, 0, 11], "two.bin": [2, 5, 6], "test.bin": [19, 0]}
ARCHIVE = "tiny-binary.tar.gz"


def encoded(image: NDArray[np.uint8], *labels: int) -> bytes:
    planes = [image[y, x, colour] for colour in range(3) for y in range(HEIGHT) for x in range(WIDTH)]
    return bytes([*labels, *planes])


def contents(*labels: dict[str, list[int]]) -> dict[str, bytes]:
    return {
        name: b"".join(encoded(image, *(of[name][i] for of in labels)) for i, image in enumerate(images))
        for name, images in IMAGES.items()
    }


def archive(folder: str, members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in {**members, "readme.html": b"<html>"}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}"


# CIFAR-10 has one label and known checksums, CIFAR-100 two labels and none.
CONTENTS = {"ten": contents(LABELS), "hundred": contents(COARSE, LABELS)}
ARCHIVES = {name: archive(name, members) for name, members in CONTENTS.items()}


def row(name: str) -> Dataset:
    package = Package(ARCHIVE, md5(ARCHIVES[name]))
    rows = [
        DataFile(
            file, (len(IMAGES[file]), len(content) // len(IMAGES[file])),
            f"sha256:{hashlib.sha256(content).hexdigest()}" if name == "ten" else None, package,
        )
        for file, content in CONTENTS[name].items()
    ]  # fmt: skip
    classes = {"ten": 10, "hundred": 100}[name]
    return Dataset(f"Tiny {name}", (3, HEIGHT, WIDTH), classes, (5, 1, 2), 255, cifar.read, name, rows)


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CONTENTS:
        monkeypatch.setitem(data.DATASETS, name, row(name))


both = pytest.mark.parametrize("name", CONTENTS)


def put(root: Path, name: str, **changed: bytes) -> Path:
    (root / name).mkdir(parents=True)
    for file, content in CONTENTS[name].items():
        (root / name / file).write_bytes(changed.get(Path(file).stem, content))
    return root


def check(arrays: data.Arrays) -> None:
    train_images, test_images = (
        np.concatenate([IMAGES[file] for file in part]).transpose(0, 3, 1, 2)
        for part in (("one.bin", "two.bin"), ("test.bin",))
    )
    np.testing.assert_array_equal(arrays.train_inputs, train_images, strict=True)
    np.testing.assert_array_equal(arrays.train_targets, np.array([9, 0, 3, 1, 1, 7]), strict=True)
    np.testing.assert_array_equal(arrays.test_inputs, test_images, strict=True)
    np.testing.assert_array_equal(arrays.test_targets, np.array([5, 9]), strict=True)


@both
def test_images_and_labels(tmp_path: Path, name: str) -> None:
    check(data.load(name, put(tmp_path, name)))


# What is refused


@both
@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c + b"\0", lambda c: b""], ids=["cut", "long", "empty"])
def test_another_size_is_refused(tmp_path: Path, refusal: Refusal, name: str, change: Callable[[bytes], bytes]) -> None:
    whole = CONTENTS[name]["two.bin"]
    message = refusal(name, put(tmp_path, name, two=change(whole)))
    reason = "SHA-256 " if name == "ten" else f"{len(change(whole))} bytes instead of {len(whole)}"
    assert message.startswith(f"{tmp_path / name / 'two.bin'} is damaged ({reason}")
    assert message.endswith("): delete it and it will be downloaded again")


def test_a_changed_pixel_is_refused_where_the_checksum_is_known(tmp_path: Path, refusal: Refusal) -> None:
    whole = CONTENTS["ten"]["one.bin"]
    changed = whole[:-1] + bytes([whole[-1] ^ 1])
    digests = f"SHA-256 {hashlib.sha256(changed).hexdigest()} instead of {hashlib.sha256(whole).hexdigest()}"
    assert digests in refusal("ten", put(tmp_path, "ten", one=changed))


@pytest.mark.parametrize(
    ("name", "place", "label", "highest"), [("ten", 0, 10, 9), ("hundred", 0, 20, 19), ("hundred", 1, 100, 99)]
)
def test_a_label_out_of_range_is_refused(
    tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch, name: str, place: int, label: int, highest: int
) -> None:
    wrong = bytearray(CONTENTS[name]["one.bin"])
    wrong[len(wrong) // 3 + place] = label  # of the second record
    unchecked = [replace(file, checksum=None) for file in row(name).files]
    monkeypatch.setitem(data.DATASETS, name, replace(row(name), files=unchecked))
    message = refusal(name, put(tmp_path, name, one=bytes(wrong)))
    assert f"one.bin is damaged (label {label} where {highest} is the highest)" in message
    wrong[len(wrong) // 3 + place] = highest
    (tmp_path / name / "one.bin").write_bytes(wrong)
    assert data.load(name, tmp_path).train_targets.shape == (6,)


# Downloads


def use(monkeypatch: pytest.MonkeyPatch, name: str, *mirrors: str) -> None:
    monkeypatch.setitem(data.DATASETS, name, replace(row(name), mirrors=mirrors))


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@both
def test_downloads_once_into_the_cache_and_quietly(
    cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    mirror = serve(answers={ARCHIVE: ARCHIVES[name]})
    use(monkeypatch, name, mirror.address)
    check(data.load(name))
    check(data.load(name))
    assert mirror.asked == [ARCHIVE]
    assert left_behind(cache / name) == sorted(CONTENTS[name]), "neither the archive nor what else was in it"
    assert capfd.readouterr() == ("", "")


def test_what_a_named_folder_lacks_comes_from_the_cache(
    tmp_path: Path, cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = serve(answers={ARCHIVE: ARCHIVES["ten"]})
    use(monkeypatch, "ten", mirror.address)
    root = put(tmp_path / "given", "ten")
    check(data.load("ten", root))
    assert mirror.asked == []
    (root / "ten" / "two.bin").unlink()
    check(data.load("ten", root))
    assert mirror.asked == [ARCHIVE]
    assert left_behind(root / "ten") == ["one.bin", "test.bin"]


def test_the_remedy_for_a_damaged_file_works(
    cache: Path, serve: Serve, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, "ten", serve(answers={ARCHIVE: ARCHIVES["ten"]}).address)
    put(cache, "ten", two=b"garbage")
    assert "delete it" in refusal("ten")
    (cache / "ten" / "two.bin").unlink()
    check(data.load("ten"))


@both
def test_a_failed_download_names_archive_reason_and_remedy(
    tmp_path: Path, cache: Path, serve: Serve, refusal: Refusal, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    absent, cut = serve(), serve(answers={ARCHIVE: ARCHIVES[name]}, cut=True)
    wrong = serve(answers={ARCHIVE: b"something else"})
    use(monkeypatch, name, absent.address, cut.address, wrong.address)
    hosts = [mirror.address[7:-1] for mirror in (absent, cut, wrong)]
    assert refusal(name, tmp_path / "given") == (
        f"one.bin of Tiny {name} is not in {tmp_path / 'given' / name}, {cache / name} and {ARCHIVE} cannot be "
        f"downloaded ({hosts[0]}: HTTP status 404; {hosts[1]}: no connection, or it broke; {hosts[2]}: the file there "
        f"has another MD5): put its files there, or name the folder that holds {name} with --data-dir or BPFREE_DATA"
    )
    assert left_behind(cache / name) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_unpacking_leaves_nothing(
    cache: Path, serve: Serve, refusal: Refusal, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    whole = files.pooch.Untar

    def stopped(**options: Any) -> Callable[..., object]:
        def unpack(*arguments: Any) -> object:
            whole(**options)(*arguments)
            raise error

        return unpack

    use(monkeypatch, "ten", serve(answers={ARCHIVE: ARCHIVES["ten"]}).address)
    with monkeypatch.context() as patched:
        patched.setattr(files.pooch, "Untar", stopped)
        if isinstance(error, KeyboardInterrupt):
            with pytest.raises(KeyboardInterrupt):
                data.load("ten")
        else:
            assert "No space left on device" in refusal("ten")
    assert left_behind(cache / "ten") == []
    check(data.load("ten"))


def test_downloads_at_the_same_time_do_not_disturb_each_other(
    cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, "hundred", serve(answers={ARCHIVE: ARCHIVES["hundred"]}).address)
    with ThreadPoolExecutor(4) as pool:
        for arrays in pool.map(data.load, ["hundred"] * 8):
            check(arrays)
    assert left_behind(cache / "hundred") == sorted(CONTENTS["hundred"])


# The real rows


def test_the_size_of_cifar100(tmp_path: Path, refusal: Refusal) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for name, samples in (("train.bin", 50_000), ("test.bin", 10_000)):
        with (folder / name).open("wb") as file:
            file.truncate(samples * 3074)  # zeros that take no space
    arrays = data.load("cifar100", tmp_path)
    assert arrays.train_inputs.shape == (50_000, 3, 32, 32)
    assert arrays.test_inputs.shape == (10_000, 3, 32, 32)
    assert arrays.train_targets.shape == (50_000,)
    os.truncate(folder / "test.bin", 10_000 * 3073)  # as CIFAR-10's
    assert "30730000 bytes instead of 30740000" in refusal("cifar100", tmp_path)


def test_the_real_cifar10(cifar_dir: Path) -> None:
    arrays = data.load("cifar10", cifar_dir)
    assert arrays.train_inputs.shape == (50_000, 3, 32, 32)
    assert arrays.test_inputs.shape == (10_000, 3, 32, 32)
    assert arrays.train_inputs.dtype == arrays.test_inputs.dtype == np.uint8
    assert np.bincount(arrays.train_targets).tolist() == [5000] * 10
    assert np.bincount(arrays.test_targets).tolist() == [1000] * 10
    assert arrays.train_targets[:5].tolist() == [6, 9, 9, 4, 1], "a frog, two trucks, a deer, a car"
    # The means that everyone normalises with: red, green, blue.
    np.testing.assert_allclose(arrays.train_inputs.mean((0, 2, 3)) / 255, [0.4914, 0.4822, 0.4465], atol=1e-4)


@pytest.mark.parametrize(("name", "shape"), [("cifar10-mlp", (3072,)), ("cifar10-cnn", (3, 32, 32))])
def test_the_splits_of_cifar10(name: str, shape: tuple[int, ...], cifar_dir: Path) -> None:
    parts, read = workloads.find(name).load("cpu", cifar_dir), data.load("cifar10", cifar_dir)
    for split, samples in ((parts.train, 45_000), (parts.validation, 5_000), (parts.test, 10_000)):
        assert split.inputs.shape == (samples, *shape)
        assert (split.inputs.min(), split.inputs.max()) == (0, 1)
    np.testing.assert_array_equal(parts.train.targets, read.train_targets[:45_000], strict=True)
    np.testing.assert_array_equal(parts.validation.targets, read.train_targets[45_000:], strict=True)
