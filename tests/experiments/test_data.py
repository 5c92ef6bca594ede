"""IDX files as they are published, and every way in which they come broken."""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mathcheck.cli import main
from mathcheck.experiments.data import digits, read_idx

# Type code of the header -> big-endian type, written down here again from the format's description.
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# Of each type, values whose bytes read otherwise in the other byte order or with the other sign.
VALUES = {
    0x08: [0, 1, 128, 255],
    0x09: [-128, -1, 0, 127],
    0x0B: [-32768, -2, 258, 32767],
    0x0C: [-(2**31), -3, 16909060, 2**31 - 1],
    0x0D: [-1.5, 0.0, 2.0**-126, 3e38],
    0x0E: [-0.1, 1e-300, 1.0, 1e300],
}
IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
COUNT, SIDE = 40, 4


def idx(array: np.ndarray, code: int = 0x08) -> bytes:
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(TYPES[code]).tobytes()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pictures(count: int = COUNT, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side))


def marks(count: int = COUNT) -> np.ndarray:
    return np.arange(count) % 10


def dataset(folder: Path, places: tuple[str, str] = ("mnist", "kmnist")) -> Path:
    """A folder with two sound sets: compressed images, plain labels."""
    for place in places:
        write(folder / place / f"{IMAGES}.gz", gzip.compress(idx(pictures())))
        write(folder / place / LABELS, idx(marks()))
    return folder


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("code", TYPES, ids=TYPES.values())
def test_every_type_is_read_to_the_last_bit(tmp_path: Path, code: int, compressed: bool) -> None:
    array = np.array(VALUES[code], TYPES[code]).reshape(2, 2)
    content = idx(array, code)
    found = read_idx(write(tmp_path / "file", gzip.compress(content) if compressed else content))
    assert found.shape == (2, 2)
    assert found.numpy().dtype == np.dtype(TYPES[code]).newbyteorder("=")
    assert found.flatten().tolist() == array.flatten().tolist()


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (1, 1, 1, 2), (0, 3)])
def test_every_rank_is_read_in_row_major_order(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    found = read_idx(write(tmp_path / "file", idx(array)))
    assert found.tolist() == array.tolist()
    assert tuple(found.shape) == shape


def test_what_is_read_can_be_changed(tmp_path: Path) -> None:
    found = read_idx(write(tmp_path / "file", idx(marks())))
    found += 1
    assert found.tolist() == [(n % 10) + 1 for n in range(COUNT)]


def test_a_compressed_file_need_not_be_called_so_and_a_plain_one_may(tmp_path: Path) -> None:
    found = read_idx(write(tmp_path / "a", gzip.compress(idx(marks()))))
    assert torch.equal(found, read_idx(write(tmp_path / "b.gz", idx(marks()))))


WHOLE = idx(pictures())
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no IDX file: it begins with"),
    "header cut": (WHOLE[:9], "truncated: 9 bytes, expected a header of 16"),
    "values cut": (WHOLE[:-1], rf"holds {len(WHOLE) - 1} bytes, expected {len(WHOLE)} for an array of shape"),
    "values missing": (WHOLE[:16], rf"holds 16 bytes, expected {len(WHOLE)}"),
    "trailing byte": (WHOLE + b"\0", rf"holds {len(WHOLE) + 1} bytes, expected {len(WHOLE)}"),
    "a count of four billion": (WHOLE[:4] + b"\xff" * 12 + WHOLE[16:], "expected 7922816"),
    "wrong magic": (b"\x01" + WHOLE[1:], "no IDX file: it begins with 01 00 08 03"),
    "unknown type": (b"\0\0\x0a" + WHOLE[3:], "no IDX file: it begins with 00 00 0a 03"),
    "a web page": (b"<!DOCTYPE html><html>", "no IDX file: it begins with 3c 21 44 4f"),
    "gzip cut": (gzip.compress(WHOLE)[:-20], "is damaged"),
    "gzip with only its magic": (gzip.compress(WHOLE)[:2], "is damaged"),
    "gzip with a wrong checksum": (gzip.compress(WHOLE)[:-8] + b"\0" * 8, "is damaged"),
    "gzip with a bit changed": (bytes(b ^ (i == 30) for i, b in enumerate(gzip.compress(WHOLE))), "is damaged"),
    "gzip and something after it": (gzip.compress(WHOLE) + b"more", "is damaged"),
    "gzip of a file that is cut": (gzip.compress(WHOLE[:-1]), rf"holds {len(WHOLE) - 1} bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_and_the_fault_said(tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    path = write(tmp_path / "file", content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_idx(tmp_path / "nothing")


@pytest.mark.parametrize(
    "places",
    [("mnist", "kmnist"), ("mnist/raw", "kmnist/raw"), ("MNIST/raw", "KMNIST/raw"), ("MNIST", "kmnist/raw")],
    ids=str,
)
def test_sets_are_found_in_every_published_layout(tmp_path: Path, places: tuple[str, str]) -> None:
    found = digits(dataset(tmp_path, places), torch.Generator().manual_seed(0))
    assert [len(part) for part in (found.train, found.validation, found.test)] == [28, 6, 6]
    assert (found.side, found.train.dtype, found.train_labels.dtype) == (SIDE, torch.float32, torch.int64)
    assert found.anomalies.shape == (COUNT, SIDE * SIDE)


def test_the_parts_are_the_whole_and_labels_stay_with_their_images(tmp_path: Path) -> None:
    found = digits(dataset(tmp_path), torch.Generator().manual_seed(0))
    images = torch.cat([found.train, found.validation, found.test])
    labels = torch.cat([found.train_labels, found.validation_labels, found.test_labels])
    rows = [tuple(round(255 * v) for v in row) for row in images.tolist()]
    expected = [tuple(row) for row in pictures().reshape(COUNT, -1).tolist()]
    assert sorted(zip(rows, labels.tolist(), strict=True)) == sorted(zip(expected, marks().tolist(), strict=True))
    assert not torch.equal(labels, torch.from_numpy(marks()))


def test_the_same_random_numbers_give_the_same_parts(tmp_path: Path) -> None:
    one, same, other = (digits(dataset(tmp_path), torch.Generator().manual_seed(seed)).train for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_without_files_the_digits_are_those_of_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    found = digits(None, torch.Generator().manual_seed(0))
    labels = torch.cat([found.train_labels, found.validation_labels, found.test_labels])
    assert len(labels) + len(found.anomalies) == 1797
    assert set(labels.tolist()) == set(range(9))
    assert found.side == 8
    assert 0 <= float(found.train.min()) < float(found.train.max()) <= 1


def _swapped(folder: Path) -> None:
    images, labels = (folder / "mnist" / f"{IMAGES}.gz", folder / "mnist" / LABELS)
    content = images.read_bytes(), labels.read_bytes()
    labels.write_bytes(content[0])
    images.write_bytes(content[1])


def _replaced(name: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return change


def _emptied(folder: Path) -> None:
    (folder / "mnist" / f"{IMAGES}.gz").write_bytes(idx(pictures(0)))
    (folder / "mnist" / LABELS).write_bytes(idx(marks(0)))


def _marked(label: int) -> bytes:
    labels = marks()
    labels[7] = label
    return idx(labels)


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "labels for images": (_swapped, rf"mnist/{IMAGES}.gz holds torch.uint8 of rank 1, expected uint8 of rank 3"),
    "different counts": (_replaced(f"mnist/{LABELS}", idx(marks(39))), "has 40 images and 39 labels, expected as many"),
    "label 17": (_replaced(f"mnist/{LABELS}", _marked(17)), "has a label of 17, expected 0 to 9"),
    "label 17 of the anomalies": (_replaced(f"kmnist/{LABELS}", _marked(17)), "kmnist has a label of 17"),
    "no labels": (lambda folder: (folder / "mnist" / LABELS).unlink(), f"data must hold mnist/{LABELS}.gz"),
    "no images": (lambda folder: (folder / "kmnist" / f"{IMAGES}.gz").unlink(), f"data must hold kmnist/{IMAGES}.gz"),
    "floats for images": (
        _replaced(f"mnist/{IMAGES}.gz", idx(pictures(), 0x0D)),
        "holds torch.float32 of rank 3, expected uint8",
    ),
    "oblong images": (
        _replaced(f"mnist/{IMAGES}.gz", idx(np.zeros((40, 2, 8)))),
        r"images of \(2, 8\) pixels, expected squares",
    ),
    "anomalies of another size": (
        _replaced(f"kmnist/{IMAGES}.gz", idx(pictures(side=5))),
        "images of 16 and of 25 pixels, expected one size",
    ),
    "images truncated": (_replaced(f"mnist/{IMAGES}.gz", gzip.compress(WHOLE)[:-20]), f"mnist/{IMAGES}.gz is damaged"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_set_with_a_fault_is_refused(tmp_path: Path, name: str) -> None:
    change, message = FAULTS[name]
    change(dataset(tmp_path))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        digits(tmp_path, torch.Generator().manual_seed(0))


def test_a_set_without_images_is_refused(tmp_path: Path) -> None:
    _emptied(dataset(tmp_path))
    with pytest.raises(ValueError, match="mnist"):
        digits(tmp_path, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", FAULTS)
def test_the_command_says_so_in_one_line(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    change, message = FAULTS[name]
    change(dataset(tmp_path / "data"))
    arguments = ["experiment", "gan", "--quick", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 4, done.output
    assert re.search(message, done.stderr)
    assert done.stderr.startswith("mathcheck: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out" / "metrics.json").exists()
