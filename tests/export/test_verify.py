"""A written file passes if it matches its network, and is refused with all reasons if not."""

from pathlib import Path

import pytest
import torch

from export.contract import DIGIT_CONTRACT, LOCATE_CONTRACT, FallsShort
from export.data import Mnist, Split
from export.glyphs import Glyphs
from export.locator import Locator
from export.network import DigitNetwork
from export.placer import Placer
from export.scenes import Scene
from export.shrink import shrunk
from export.to_onnx import relabeled
from export.trial import PLACED, scenes_of
from export.verify import PARITY_TOLERANCE, verify_digit, verify_locator
from tests.export.conftest import CUTTER_STRICTNESS, TEMPERATURE


def test_a_right_file_passes(written: Path, classifier: DigitNetwork, test_split: Split) -> None:
    """The figures are the file's: its size, and its agreement with the network."""
    found = verify_digit(written, DIGIT_CONTRACT, (classifier, TEMPERATURE), test_split)
    assert found.size == written.stat().st_size
    assert found.differing == 0
    assert 0 < found.parity < PARITY_TOLERANCE


def test_the_file_of_another_network_is_refused(written: Path, test_split: Split) -> None:
    """Differences in answers and in probabilities are both reported."""
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
def test_a_truncated_file_is_refused(
    written: Path, classifier: DigitNetwork, test_split: Split, size: int
) -> None:
    """The error is our own, not the parser's."""
    written.write_bytes(written.read_bytes()[:size])
    with pytest.raises(FallsShort, match=r"digit.onnx is not a valid ONNX model"):
        verify_digit(written, DIGIT_CONTRACT, (classifier, TEMPERATURE), test_split)


@pytest.fixture
def located(tmp_path: Path, cutter: bytes) -> Path:
    """Return the locator's file on disk, with the metadata that it must have."""
    path = tmp_path / "locate.onnx"
    metadata = dict.fromkeys(LOCATE_CONTRACT.metadata, "1")
    path.write_bytes(relabeled(cutter, CUTTER_STRICTNESS, metadata))
    return path


@pytest.fixture(scope="module")
def scenes(mnist: Mnist) -> tuple[list[Scene], list[Scene]]:
    """A few scenes of several sizes, and a few small ones of one sign each."""
    glyphs = Glyphs(mnist.train.images, mnist.train.labels)
    return scenes_of(glyphs, 8, seed=1), scenes_of(glyphs, 8, seed=1, shapes=PLACED)


def test_a_right_locator_passes(
    located: Path,
    networks: tuple[Locator, Placer],
    scenes: tuple[list[Scene], list[Scene]],
) -> None:
    """The figures are the file's."""
    found = verify_locator(located, LOCATE_CONTRACT, networks, *scenes)
    assert found.size == located.stat().st_size
    assert 0 <= found.found <= 1


@pytest.mark.parametrize(
    ("other", "message"),
    [(0, "candidates differ"), (1, "places differ")],
    ids=["locator", "placer"],
)
def test_the_file_of_another_locator_or_placer_is_refused(
    located: Path,
    networks: tuple[Locator, Placer],
    scenes: tuple[list[Scene], list[Scene]],
    other: int,
    message: str,
) -> None:
    """Large pictures show a difference of the locator, small ones of the placer."""
    torch.manual_seed(5)
    locator, placer = networks
    others = [(shrunk(Locator()), placer), (locator, shrunk(Placer()))]
    with pytest.raises(FallsShort, match=message):
        verify_locator(located, LOCATE_CONTRACT, others[other], *scenes)
