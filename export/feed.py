"""Batches of composed scenes, made ahead in other processes while a network learns."""

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
    """Batches of scenes by index, each composed when it is asked for, and always the same."""

    def __init__(
        self, glyphs: Glyphs, shapes: Mapping[Shape, float], pixels: int, most: int, seed: int
    ) -> None:
        """Set what the batches hold.

        Args:
            glyphs: what is put into the scenes.
            shapes: shares of the batches by height and width of their scenes.
            pixels: of all scenes in a batch, at most: there are more of smaller ones.
            most: how many scenes a batch has at most.
            seed: another one gives other scenes.
        """
        self._glyphs = glyphs
        self._shapes = list(shapes)
        self._shares = list(shapes.values())
        self._pixels, self._most, self._seed = pixels, most, seed

    def __getitem__(self, index: int) -> list[Scene]:
        """Return a batch; all of its scenes have one shape."""
        cv2.setNumThreads(1)  # the network learns on the other cores
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
    """Yield the batches of these indices, in order, made ahead by other processes."""
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
