"""Fine-tuning a trained locator with normalization folded."""

from pathlib import Path

import torch

from export.checkpoint import Checkpoint
from export.data import Mnist
from export.glyphs import Glyphs
from export.locator import Locator
from export.settle import AFTER, settle, settled_of
from export.shrink import shrunk
from export.train import Recipe
from export.train_locator import teach
from tests.export.conftest import with_statistics


def test_settled_weights_lie_between_those_before_and_after(mnist: Mnist, tmp_path: Path) -> None:
    """Fine-tuning starts from the folded weights, and its result counts for a share."""
    torch.manual_seed(0)
    locator = with_statistics(Locator())
    glyphs, recipe = Glyphs(mnist.train.images, mnist.train.labels), Recipe(steps=3, batch=1)
    before = shrunk(locator).state_dict()
    after = teach(shrunk(locator), glyphs, recipe, 0, Checkpoint(tmp_path / "taught"))
    settled = settle(glyphs, recipe, locator.state_dict(), 0, Checkpoint(tmp_path / "settled"))
    assert settled.keys() == before.keys()
    assert not all(torch.equal(after[name], value) for name, value in before.items())
    for name, value in before.items():
        torch.testing.assert_close(settled[name] - value, AFTER * (after[name] - value))


def test_settled_weights_load_without_normalization() -> None:
    """It is folded into them, so the outputs are those of the folded locator."""
    torch.manual_seed(0)
    locator = with_statistics(Locator())
    pixels = torch.rand(1, 1, 64, 64) * 255
    folded = shrunk(locator)
    with torch.inference_mode():
        for ours, theirs in zip(
            settled_of(folded.state_dict())(pixels), folded(pixels), strict=True
        ):
            torch.testing.assert_close(ours, theirs)
