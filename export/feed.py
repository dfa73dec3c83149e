"""Batches of composed scenes, prefetched by other processes while a network is trained."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar

import cv2
import numpy as np
from torch.utils.data import DataLoader, Dataset

from export.glyphs import Glyphs
from export.scenes import Scene, compose
from export.sheets import Shape

PROCESSES: Final = 2

Batch = TypeVar("Batch")


class Scenes(Dataset[list[Scene]]):
    """Batches of scenes by index, each composed on access, and always the same."""

    def __init__(
        self, glyphs: Glyphs, shapes: Mapping[Shape, float], pixels: int, most: int, seed: int
    ) -> None:
        """Set up the batches; nothing is composed yet.

        Args:
            glyphs: the source of the digits and signs in the scenes.
            shapes: the share of the batches for each height and width of their scenes.
            pixels: the most pixels in a batch, which holds more of smaller scenes.
            most: the most scenes in a batch.
            seed: another one gives other scenes.
        """
        self._glyphs = glyphs
        self._shapes = list(shapes)
        self._shares = list(shapes.values())
        self._pixels, self._most, self._seed = pixels, most, seed

    def __getitem__(self, index: int) -> list[Scene]:
        """Return a batch; all of its scenes have one shape."""
        cv2.setNumThreads(1)  # the network is trained on the other cores
        chosen = np.random.default_rng([self._seed, index]).choice(
            len(self._shapes), p=self._shares
        )
        shape = self._shapes[chosen]
        count = min(self._most, self._pixels // (shape[0] * shape[1]))
        return [
            compose(self._glyphs, shape, np.random.default_rng([self._seed, index, scene]))
            for scene in range(count)
        ]


def ahead(batches: Dataset[Batch], indices: Iterable[int]) -> Iterator[Batch]:
    """Yield the batches at these indices, in order, prefetched by other processes."""
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            sampler=indices,
            num_workers=PROCESSES,
            prefetch_factor=4,
            collate_fn=_as_it_is,
        )
    )


def _as_it_is(batch: Batch) -> Batch:
    return batch
