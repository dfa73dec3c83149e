"""A written file is used if it is what it should be, and refused with every reason if not."""

from pathlib import Path

import onnx
import pytest
import torch

from export.__main__ import DIGIT_CONTRACT, LOCATE_CONTRACT
from export.contract import FallsShort
from export.data import Mnist, Split
from export.glyphs import Glyphs
from export.locator import Locator
from export.network import DigitNetwork
from export.placer import Placer
from export.scenes import Scene
from export.shrink import shrunk
from export.to_onnx import finish, relabeled
from export.trial import PLACED, scenes_of
from export.verify import PARITY_TOLERANCE, verify_digit, verify_locator
from tests.export.conftest import CUTTER_STRICTNESS, TEMPERATURE

METADATA = dict.fromkeys(DIGIT_CONTRACT.metadata, "1")


@pytest.fixture
def written(tmp_path: Path, digit_file: bytes) -> Path:
    """Return the classifier's file on disk."""
    path = tmp_path / "digit.onnx"
    path.write_bytes(finish(onnx.load_from_string(digit_file), METADATA))
    return path


def test_a_right_file_passes(written: Path, classifier: DigitNetwork, test_split: Split) -> None:
    """The figures are of the file: its size, its checksum, its agreement with the network."""
    found = verify_digit(written, DIGIT_CONTRACT, (classifier, TEMPERATURE), test_split)
    assert found.size == written.stat().st_size
    assert found.differing == 0
    assert 0 < found.parity < PARITY_TOLERANCE


def test_the_file_of_another_network_is_refused(written: Path, test_split: Split) -> None:
    """Answers and probabilities that are not the network's are both told."""
    torch.manual_seed(1)
    other = shrunk(DigitNetwork())
    with pytest.raises(FallsShort, match=r"answers differ(.|\n)*probabilities differ"):
        verify_digit(written, DIGIT_CONTRACT, (other, TEMPERATURE), test_split)


def test_another_temperature_is_refused(
    written: Path, classifier: DigitNetwork, test_split: Split
) -> None:
    """The same answers with other probabilities are not the same model."""
    with pytest.raises(FallsShort) as refusal:
        verify_digit(written, DIGIT_CONTRACT, (classifier, 2 * TEMPERATURE), test_split)
    assert "answers differ" not in str(refusal.value)


@pytest.mark.parametrize("size", [0, 7, 1000, 100_000])
def test_half_a_file_is_refused(
    written: Path, classifier: DigitNetwork, test_split: Split, size: int
) -> None:
    """A file that ends too soon gives the designed error, not the parser's."""
    written.write_bytes(written.read_bytes()[:size])
    with pytest.raises(FallsShort, match=r"digit.onnx is no valid ONNX model"):
        verify_digit(written, DIGIT_CONTRACT, (classifier, TEMPERATURE), test_split)


def labeled(cutter: bytes, path: Path) -> Path:
    """Return a locate.onnx with the metadata that it has to have, on disk."""
    metadata = dict.fromkeys(LOCATE_CONTRACT.metadata, "1")
    path.write_bytes(relabeled(cutter, CUTTER_STRICTNESS, metadata))
    return path


@pytest.fixture(scope="module")
def scenes(mnist: Mnist) -> list[Scene]:
    """A few scenes of several sizes."""
    return scenes_of(Glyphs(mnist.train.images, mnist.train.labels), 8, seed=1)


@pytest.fixture(scope="module")
def small(mnist: Mnist) -> list[Scene]:
    """A few of one sign each."""
    return scenes_of(Glyphs(mnist.train.images, mnist.train.labels), 8, seed=1, shapes=PLACED)


def test_a_right_locator_passes(
    cutter: bytes,
    networks: tuple[Locator, Placer],
    scenes: list[Scene],
    small: list[Scene],
    tmp_path: Path,
) -> None:
    """The figures are of the file."""
    path = labeled(cutter, tmp_path / "locate.onnx")
    found = verify_locator(path, LOCATE_CONTRACT, networks, scenes, small)
    assert found.size == path.stat().st_size
    assert 0 <= found.found <= 1


def test_the_file_of_another_locator_is_refused(
    cutter: bytes,
    networks: tuple[Locator, Placer],
    scenes: list[Scene],
    small: list[Scene],
    tmp_path: Path,
) -> None:
    """Candidates that are not the network's are told."""
    torch.manual_seed(5)
    path = labeled(cutter, tmp_path / "locate.onnx")
    with pytest.raises(FallsShort, match="candidates differ"):
        verify_locator(path, LOCATE_CONTRACT, (shrunk(Locator()), networks[1]), scenes, small)


def test_the_file_of_another_placer_is_refused(
    cutter: bytes,
    networks: tuple[Locator, Placer],
    scenes: list[Scene],
    small: list[Scene],
    tmp_path: Path,
) -> None:
    """Of a large picture it has nothing to say: small ones tell."""
    torch.manual_seed(5)
    path = labeled(cutter, tmp_path / "locate.onnx")
    with pytest.raises(FallsShort, match="places differ"):
        verify_locator(path, LOCATE_CONTRACT, (networks[0], shrunk(Placer())), scenes, small)
