"""Distortions of batches: what they change, and what they leave."""

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
    """Return one that always draws the same."""
    return Generator().manual_seed(7)


@pytest.mark.parametrize("change", CHANGES)
def test_ink_stays_ink(ink: Tensor, change: Change) -> None:
    """Whatever happens to crops, they keep their form, and their values stay within [0, 1]."""
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
    """All that is random comes from the generator."""
    assert torch.equal(change(ink, generator()), change(ink, generator()))


def test_sometimes_changes_about_a_share(ink: Tensor) -> None:
    """The other crops are as they were."""
    after = augment.sometimes(augment.enlarge, 0.3, ink, generator())
    changed = (after != ink).flatten(1).any(dim=1)
    assert 8 <= changed.sum() <= 28


@pytest.mark.parametrize("change", CHANGES)
def test_sometimes_may_find_nothing_to_change(ink: Tensor, change: Change) -> None:
    """A share of none is none."""
    assert torch.equal(augment.sometimes(change, 0.0, ink, generator()), ink)


def test_what_is_broadened_stays_in_its_place() -> None:
    """A bar becomes a broad one, as much to the left as to the right."""
    bar = torch.zeros(1, 1, 28, 28)
    bar[..., 6:22, 13:15] = 1.0
    _, _, rows, columns = augment.broaden(bar, generator()).nonzero().T
    assert (rows.min(), rows.max()) == (5, 22)
    assert columns.min() in (11, 10, 9)
    assert columns.min() + columns.max() == 27


def test_what_is_enlarged_reaches_the_edges(ink: Tensor) -> None:
    """As a digit does that was cut out without any paper around it."""
    after = augment.enlarge(ink, generator())
    assert (after.sum(dim=(1, 2, 3)) > 1.3 * ink.sum(dim=(1, 2, 3))).all()


def test_what_is_laid_down_is_level(ink: Tensor) -> None:
    """An upright bar becomes a dash."""
    rows = (augment.lay_down(ink, generator()) > 0.5).any(dim=3).sum(dim=2)
    assert (rows == 3).all()
