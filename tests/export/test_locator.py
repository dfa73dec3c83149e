"""The locator, which runs on an image pyramid."""

import pytest
import torch

from export.locator import (
    CHANNELS,
    GRAIN,
    LEVELS,
    MOST_CANDIDATES,
    PATCH,
    STRIDE,
    UNIT,
    Locator,
    Patches,
    Peaks,
    normalize,
)


@pytest.fixture(scope="module")
def locator() -> Locator:
    """An untrained locator in evaluation mode."""
    torch.manual_seed(0)
    return Locator().eval()


def test_outputs_have_a_cell_for_four_pixels_of_each_level(locator: Locator) -> None:
    """Each level is half the size of the one before."""
    outputs = locator(torch.zeros(2, 1, 2 * GRAIN, 3 * GRAIN))
    assert [output.shape for output in outputs] == [
        (2, CHANNELS, 2 * GRAIN // cell, 3 * GRAIN // cell)
        for cell in (STRIDE * 2**level for level in range(LEVELS))
    ]


def test_light_and_contrast_do_not_matter() -> None:
    """A picture in half the light, or with a fifth of the contrast, is normalized much the same."""
    generator = torch.Generator().manual_seed(1)
    pixels = (torch.rand(1, 1, 128, 128, generator=generator) > 0.9).float()
    plain = normalize(1 - pixels)
    assert (normalize(0.5 - 0.5 * pixels) - plain).abs().mean() < 0.1 * plain.abs().mean()
    assert (
        torch.corrcoef(torch.stack([normalize(0.6 - 0.2 * pixels).flatten(), plain.flatten()]))[
            0, 1
        ]
        > 0.95
    )


def test_a_uniform_picture_is_normalized_to_zero() -> None:
    """Nothing is amplified where there is no contrast."""
    assert normalize(torch.full((1, 1, 64, 64), 0.7)).abs().max() < 1e-2


def test_candidates_come_likeliest_first(locator: Locator) -> None:
    """Their number is fixed."""
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (GRAIN, 2 * GRAIN, 1), generator=generator, dtype=torch.uint8)
    with torch.inference_mode():
        candidates = Peaks(locator)(pixels)
    assert candidates.shape == (MOST_CANDIDATES, 6)
    assert (candidates[:-1, 4] >= candidates[1:, 4]).all()


def test_the_likeliest_candidate_is_decoded_from_its_cell(locator: Locator) -> None:
    """Its box is relative to the cell's middle, in pixels of the picture, whatever the level."""
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (GRAIN, 2 * GRAIN, 1), generator=generator, dtype=torch.uint8)
    with torch.inference_mode():
        candidate = Peaks(locator)(pixels)[0]
        levels = locator(pixels.permute(2, 0, 1).unsqueeze(0))
    index = max(range(LEVELS), key=lambda index: float(levels[index][0, 0].max()))
    outputs, pixels_of_cell = levels[index][0], STRIDE * 2**index
    row, column = divmod(int(outputs[0].argmax()), outputs.shape[2])
    logit, x, y, width, height, bright = outputs[:, row, column]
    scale = UNIT * 2**index
    middle = torch.stack(
        [(column + 0.5) * pixels_of_cell + x * scale, (row + 0.5) * pixels_of_cell + y * scale]
    )
    half = torch.stack([width, height]).exp() * scale / 2
    expected = torch.cat([middle - half, middle + half, torch.stack([logit, bright])])
    torch.testing.assert_close(candidate, expected, rtol=1e-4, atol=1e-3)


def test_a_cell_with_a_likelier_neighbor_is_no_peak(locator: Locator) -> None:
    """Diagonal neighbors count, too."""
    generator = torch.Generator().manual_seed(2)
    level = torch.rand(1, 1, 2 * PATCH, 3 * PATCH, generator=generator)
    with torch.inference_mode():
        logits = locator.network(normalize(level))[0, 0].numpy()
        _, peaks, _ = Patches(locator.network)(level)
    rows, columns = logits.shape
    outdone = [
        logits[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].max() > logits[y, x]
        for y in range(rows)
        for x in range(columns)
    ]
    assert (peaks < -50).tolist() == outdone
    assert not all(outdone)


def test_outputs_move_with_the_picture(locator: Locator) -> None:
    """Moved by a coarsest patch, the picture has the same outputs there, away from its edges."""
    paper = torch.full((1, 1, 6 * GRAIN, 6 * GRAIN), 200.0)
    digit = torch.zeros(1, 1, 20, 12)
    first, second = paper.clone(), paper.clone()
    first[..., 150:170, 150:162] = digit
    second[..., 150 + GRAIN : 170 + GRAIN, 150:162] = digit
    with torch.inference_mode():
        before, after = locator(first)[0], locator(second)[0]
    moved = GRAIN // STRIDE
    inside = before[..., 28:52, 28:52]
    torch.testing.assert_close(
        inside, after[..., 28 + moved : 52 + moved, 28:52], atol=0.02, rtol=0
    )
