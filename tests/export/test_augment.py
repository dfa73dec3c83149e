"""Augmentations: what they change, and what they leave unchanged."""

import pytest
import torch
from torch import Generator, Tensor

from export import augment
from export.augment import Change

CHANGES = [
    augment.restroke,
    augment.broaden,
    augment.enlarge,
    augment.erase,
    augment.damage,
    augment.lay_down,
]


@pytest.fixture
def ink() -> Tensor:
    """Sixty crops with an upright bar of ink each, not quite in the middle."""
    batch = torch.zeros(60, 1, 28, 28)
    batch[..., 5:23, 11:14] = 1.0
    return batch


def generator() -> Generator:
    """Return a generator with a fixed seed."""
    return Generator().manual_seed(7)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_keeps_shape_and_range(ink: Tensor, change: Change) -> None:
    """Changed crops keep their shape, and their values stay within [0, 1]."""
    before = ink.clone()
    after = change(ink, generator())
    assert after.shape == ink.shape
    assert after.dtype == torch.float32
    assert after.min() >= 0
    assert after.max() <= 1
    assert not torch.equal(after, before)
    assert torch.equal(ink, before)


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_seed_gives_the_same_change(ink: Tensor, change: Change) -> None:
    """All randomness comes from the generator."""
    assert torch.equal(change(ink, generator()), change(ink, generator()))


def test_sometimes_changes_about_a_share(ink: Tensor) -> None:
    """The other crops stay unchanged."""
    after = augment.sometimes(augment.enlarge, 0.3, ink, generator())
    changed = (after != ink).flatten(1).any(dim=1)
    assert 8 <= changed.sum() <= 28


@pytest.mark.parametrize("change", CHANGES)
def test_sometimes_may_choose_no_crop(ink: Tensor, change: Change) -> None:
    """With a share of 0, the batch stays unchanged."""
    assert torch.equal(augment.sometimes(change, 0.0, ink, generator()), ink)


def test_broadening_keeps_the_center() -> None:
    """A bar becomes wider by as much to the left as to the right."""
    bar = torch.zeros(1, 1, 28, 28)
    bar[..., 6:22, 13:15] = 1.0
    _, _, rows, columns = augment.broaden(bar, generator()).nonzero().T
    assert (rows.min(), rows.max()) == (5, 22)
    assert columns.min() in (11, 10, 9)
    assert columns.min() + columns.max() == 27


def test_enlarged_crops_have_more_ink(ink: Tensor) -> None:
    """As digits do that were cut out without any paper around them."""
    after = augment.enlarge(ink, generator())
    assert (after.sum(dim=(1, 2, 3)) > 1.3 * ink.sum(dim=(1, 2, 3))).all()


def test_an_upright_bar_laid_down_is_a_dash(ink: Tensor) -> None:
    """It is three pixels high then, as it was wide."""
    rows = (augment.lay_down(ink, generator()) > 0.5).any(dim=3).sum(dim=2)
    assert (rows == 3).all()
