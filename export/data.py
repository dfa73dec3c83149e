"""MNIST's pictures and labels, verified, in three separate splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from export.sources import IDX_FILES, DataError, fetch

SIDE = 28
# Validation is one contiguous block of the 60,000. MNIST's pictures come writer by writer, about
# 240 each: a picture's nearest neighbor (cosine) lies within 100 places 27 times as often as by
# chance. A random split would put every writer into both parts, while the test set's writers are
# all new. Why this block: a linear classifier fitted to the other 55,000 misses 14.8 % of it and
# 14.9 % of an average block, but only 11.5 % of the last 5,000, which are too easy to choose by.
VALIDATION = slice(50_000, 55_000)


@dataclass(frozen=True)
class Split:
    """Pictures and their labels.

    Attributes:
        images: (N, 28, 28) uint8, ink bright on 0.
        labels: (N,) uint8, 0 to 9, and for crops also 10, "no digit".
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.labels)

    def head(self, count: int | None) -> Self:
        """Return the first `count` pictures, for a trial run, or all of them if it is None."""
        return type(self)(self.images[:count], self.labels[:count])


@dataclass(frozen=True)
class Mnist:
    """What a model may be trained on and chosen by; deliberately without the test set."""

    train: Split
    validation: Split


@dataclass(frozen=True)
class DataSettings:
    """Where to look for the data.

    Attributes:
        folder: a folder with MNIST's IDX files, gzipped or not; if None, only the cache is searched
            before downloading.
        cache: where downloaded files are kept.
    """

    folder: Path | None
    cache: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], cache: Path) -> Self:
        """Return the settings with `folder` from DIGIT_DATA, if that is set and not empty."""
        folder = environ.get("DIGIT_DATA")
        return cls(Path(folder) if folder else None, cache)


def load_mnist(settings: DataSettings) -> Mnist:
    """Return MNIST's 60,000 training pictures as 55,000 to train on and 5,000 to choose by.

    Raises:
        DataError: a file is wrong, or none of the sources has it.

    Source: LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition, III.A.
    """
    images, labels = _load("train", settings)
    inside = np.zeros(len(labels), bool)
    inside[VALIDATION] = True
    return Mnist(
        train=Split(images[~inside], labels[~inside]),
        validation=Split(images[inside], labels[inside]),
    )


def load_test(settings: DataSettings) -> Split:
    """Return MNIST's 10,000 test pictures.

    Separate from `load_mnist`, so that no code that trains or chooses has access to them: the only
    caller is the end of the export, when nothing is left to choose.

    Raises:
        DataError: a file is wrong, or none of the sources has it.
    """
    return Split(*_load("t10k", settings))


def check_test(settings: DataSettings) -> None:
    """Fetch and verify the files of the test set without parsing them.

    So a missing file is reported before an hour of training, not after it.

    Raises:
        DataError: a file is wrong, or none of the sources has it.
    """
    for name in IDX_FILES:
        if name.startswith("t10k"):
            fetch(name, settings.folder, settings.cache)


def checksums() -> dict[str, str]:
    """Return the SHA-256 that each file must have when uncompressed, by file name."""
    return {file.name: file.sha256 for file in IDX_FILES.values()}


def _load(prefix: str, settings: DataSettings) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images, labels = (
        parse_idx(fetch(f"{prefix}-{kind}-ubyte", settings.folder, settings.cache))
        for kind in ("images-idx3", "labels-idx1")
    )
    return images, labels


def parse_idx(content: bytes) -> NDArray[np.uint8]:
    """Return the array in an uncompressed IDX file of unsigned bytes.

    Raises:
        DataError: the header is not that of an IDX file of bytes, or does not match the length.

    Source: LeCun and Cortes, The MNIST database: the magic number is 0, 0, 8 (unsigned byte) and
        the number of dimensions, then each dimension as a big-endian 32-bit number.
    """
    magic, dimensions = content[:3], int.from_bytes(content[3:4], "big")
    header = 4 + 4 * dimensions
    if magic != b"\0\0\x08" or not dimensions or len(content) < header:
        raise DataError("not an IDX file of unsigned bytes")
    shape = tuple(np.frombuffer(content, ">u4", count=dimensions, offset=4).tolist())
    if len(content) - header != np.prod(shape):
        raise DataError(f"an IDX file of {len(content):,} bytes cannot hold the shape {shape}")
    # A copy, because torch warns about read-only arrays.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
