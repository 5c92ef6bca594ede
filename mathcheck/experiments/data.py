"""Images of digits: MNIST and KMNIST from IDX files, as published, or the digits that scikit-learn brings."""

from __future__ import annotations

import gzip
import importlib
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class Images:
    """Images as rows of grey values in [0, 1], and some of another kind that a model of them has never seen.

    Attributes:
        name: of the set. `side`: of the square images, in pixels.
        train, validation, test: `(n, side * side)`, in single precision.
        train_labels, validation_labels, test_labels: `(n,)` integers.
        anomalies: `(m, side * side)` images of another kind; `anomalies_name`: of which.
    """

    name: str
    side: int
    train: Tensor
    validation: Tensor
    test: Tensor
    train_labels: Tensor
    validation_labels: Tensor
    test_labels: Tensor
    anomalies: Tensor
    anomalies_name: str


def read_idx(path: Path) -> Tensor:
    """The array of an IDX file, compressed or not.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no IDX file, or longer or shorter than its header says.
    """
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _DTYPES:
        raise ValueError(f"{path} is no IDX file: it begins with {raw[:4].hex(' ')}, expected 00 00, a type and a rank")
    dtype, rank = np.dtype(_DTYPES[raw[2]]), raw[3]
    start = 4 + 4 * rank
    if len(raw) < start:
        raise ValueError(f"{path} is truncated: {len(raw)} bytes, expected a header of {start}")
    shape = struct.unpack(f">{rank}I", raw[4:start])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        raise ValueError(f"{path} holds {len(raw)} bytes, expected {expected} for an array of shape {shape}")
    return torch.from_numpy(np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("=")))


def _pair(folder: Path, name: str) -> tuple[Tensor, Tensor]:
    """Images and labels of a set in any of the layouts that its files are published in."""
    found = []
    for part, rank in (("images", 3), ("labels", 1)):
        names = [f"t10k-{part}-idx{rank}-ubyte{end}" for end in ("", ".gz")]
        folders = [folder / name, folder / name / "raw", folder / name.upper() / "raw", folder / name.upper()]
        paths = [where / file for where in folders for file in names]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"data must hold {name}/{names[1]}, compressed or not; there is none in {folder}")
        array = read_idx(path)
        if array.ndim != rank or array.dtype != torch.uint8:
            raise ValueError(f"{path} holds {array.dtype} of rank {array.ndim}, expected uint8 of rank {rank} ({part})")
        found.append(array)
    images, labels = found
    if len(images) != len(labels):
        raise ValueError(f"{folder / name} has {len(images)} images and {len(labels)} labels, expected as many")
    if len(images) == 0:
        raise ValueError(f"{folder / name} has no images, expected at least one")
    if images.shape[1] != images.shape[2]:
        raise ValueError(f"{folder / name} has images of {tuple(images.shape[1:])} pixels, expected squares")
    if int(labels.max()) > 9:
        raise ValueError(f"{folder / name} has a label of {int(labels.max())}, expected 0 to 9")
    return images.flatten(1).float() / 255, labels.long()


def digits(data: Path | None, generator: torch.Generator) -> Images:
    """Digits in three parts, and anomalies.

    MNIST's 10,000 test images are split 7000 / 1500 / 1500, with KMNIST's as anomalies. Without `data` it is
    scikit-learn's 8 x 8 digits without the nines in 70 / 15 / 15 parts of a hundred, with the nines as anomalies.

    Args:
        data: the folder that holds `mnist` and `kmnist`.
        generator: that shuffles them.

    Raises:
        FileNotFoundError, ValueError: if a file is missing, damaged or something else.
    """
    if data is None:
        bunch: Any = importlib.import_module("sklearn.datasets").load_digits()
        images, labels = torch.from_numpy(bunch.data).float() / 16, torch.from_numpy(bunch.target).long()
        anomalies, names = images[labels == 9], ("scikit-learn's digits without the nines", "the nines")
        images, labels = images[labels != 9], labels[labels != 9]
    else:
        (images, labels), (anomalies, _) = _pair(data, "mnist"), _pair(data, "kmnist")
        names = ("MNIST's test set", "KMNIST's test set")
        if images.shape[1] != anomalies.shape[1]:
            raise ValueError(
                f"{data} holds images of {images.shape[1]} and of {anomalies.shape[1]} pixels, expected one size"
            )
    order = torch.randperm(len(images), generator=generator)
    images, labels = images[order], labels[order]
    ends = [round(0.7 * len(images)), round(0.85 * len(images))]
    parts, marks = images.tensor_split(ends), labels.tensor_split(ends)
    side = math.isqrt(images.shape[1])
    return Images(names[0], side, parts[0], parts[1], parts[2], marks[0], marks[1], marks[2], anomalies, names[1])
