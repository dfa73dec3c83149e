"""Crops for the classifier, cut from composed scenes by `locate.onnx` itself.

So the classifier is trained on what it will be given, the locator's mistakes included: boxes a
little off, a neighbor's stroke, another sign or a stain taken for a digit, ink taken for paper.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from export.checkpoint import Checkpoint, State
from export.crops import Strictness
from export.data import SIDE, Split
from export.feed import Scenes, ahead
from export.glyphs import NO_DIGIT, Glyphs
from export.scenes import Scene
from export.sheets import ONE_SIGN, Shape
from server.batch.progress import Progress

HIT, MISS = 0.55, 0.45
"""Overlap from which a crop shows a digit, and below which none; in between, it is dropped."""

PART: Final = 0.5
"""A box with more than this share of it inside a sign shows a part of it, and is dropped."""

SLIM: Final = 0.22
"""The greatest ratio of a bar's standard deviations, across over along."""

BROAD: Final = 0.65
"""The same for a bar of solid ink."""

SOLID: Final = 0.85
"""The least ink of a solid bar, over the area of a rectangle with the same deviations."""

MISTAKES: Final = 2
"""The most crops without a digit that are kept per scene."""

LOOSE: Final = Strictness(threshold=0.1, nearest=1.0)
"""Looser than in use, so that more crops are hard to tell from digits."""

SHAPES: Final[dict[Shape, float]] = {
    (192, 192): 0.18,
    (64, 192): 0.24,
    (96, 160): 0.08,
    (64, 64): 0.06,
    (40, 40): 0.07,
    (32, 32): 0.12,
    (28, 28): 0.17,
    (16, 16): 0.08,
}
"""The share of the scenes for each height and width; a small scene gives one crop."""

BATCH: Final = 25
"""Number of scenes that are composed and cut at once."""


@dataclass(frozen=True)
class Reading:
    """The outputs of `locate.onnx` for a picture: boxes (M, 4), scores (M,), crops (M, 28, 28)."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    crops: NDArray[np.uint8]


@lru_cache(maxsize=1)
def open_locator(content: bytes) -> onnxruntime.InferenceSession:
    """Return a session that runs a `locate.onnx` on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def locate(session: onnxruntime.InferenceSession, pixels: NDArray[np.uint8]) -> Reading:
    """Return the outputs of a locator for a picture (H, W)."""
    return Reading(*session.run(None, {"pixels": pixels[..., np.newaxis]}))


def harvest(content: bytes, glyphs: Glyphs, count: int, seed: int, checkpoint: Checkpoint) -> State:
    """Return the crops that a locator cuts from composed scenes, and their labels.

    Args:
        content: a `locate.onnx`, as strict as LOOSE.
        glyphs: the source of the digits and signs in the scenes.
        count: the number of scenes.
        seed: another one gives other scenes.
        checkpoint: where the crops so far are kept.

    Returns:
        `images` (N, 28, 28) and `labels` (N,), uint8: the parts of a `Split`.
    """
    scenes = Scenes(glyphs, SHAPES, BATCH * max(h * w for h, w in SHAPES), BATCH, seed)
    batches = _Cut(content, scenes)
    total = -(-count // BATCH)
    state = checkpoint.load() or {
        "step": 0,
        "images": torch.empty(0, SIDE, SIDE, dtype=torch.uint8),
        "labels": torch.empty(0, dtype=torch.uint8),
    }
    done, images, labels = state["step"], [state["images"]], [state["labels"]]
    with Progress(f"harvest crops, seed {seed}", total, done=done) as bar:
        for step, split in enumerate(ahead(batches, range(done, total)), done + 1):
            images.append(torch.from_numpy(split.images))
            labels.append(torch.from_numpy(split.labels))
            bar.update(step, f"{sum(map(len, labels)):,} crops")
            if checkpoint.is_due():
                images, labels = [torch.cat(images)], [torch.cat(labels)]
                checkpoint.save({"step": step, "images": images[0], "labels": labels[0]})
    return {"images": torch.cat(images), "labels": torch.cat(labels)}


class _Cut(Dataset[Split]):
    """Batches of the crops that are cut from batches of scenes, each made on access."""

    def __init__(self, content: bytes, scenes: Scenes) -> None:
        self._content = content
        self._scenes = scenes

    def __getitem__(self, index: int) -> Split:
        return crops_of(open_locator(self._content), self._scenes[index])


def crops_of(session: onnxruntime.InferenceSession, scenes: Iterable[Scene]) -> Split:
    """Return the crops of all scenes with their labels, NO_DIGIT for crops without a digit."""
    crops = [np.empty((0, SIDE, SIDE), np.uint8)]
    labels: list[int] = []
    for scene in scenes:
        reading = locate(session, scene.pixels)
        mistakes = 0
        # The likeliest come first, so the mistakes kept are the hardest to tell from digits.
        for box, crop in zip(reading.boxes, reading.crops, strict=True):
            label = label_of(box, scene)
            if label is None or (label == NO_DIGIT and is_bar(crop)):
                continue
            mistakes += label == NO_DIGIT
            if label != NO_DIGIT or mistakes <= MISTAKES:
                crops.append(crop[np.newaxis])
                labels.append(label)
    return Split(np.concatenate(crops), np.array(labels, np.uint8))


def split_of(state: State) -> Split:
    """Return a harvest as pictures and labels."""
    return Split(state["images"].numpy(), state["labels"].numpy())


def label_of(box: NDArray[np.float32], scene: Scene) -> int | None:
    """Return the label of a box (4,), or None if it is debatable."""
    if max(scene.pixels.shape) <= ONE_SIGN and len(scene.labels) == 1:
        return int(scene.labels[0]) if _holds(box, scene.boxes[0]) else None
    # Compare squares, as crops are: a pixel more or less is a third of a thin 1's box.
    overlaps = overlap(_square(box), _square(scene.boxes))
    best = float(overlaps.max(initial=0.0))
    if best >= HIT:
        return int(scene.labels[overlaps.argmax()])
    # The stem of a 4 looks like a 1: as NO_DIGIT, it would teach the classifier to reject 1s.
    is_part = bool((_common(box, scene.boxes) > PART * np.prod(box[2:])).any())
    return NO_DIGIT if best < MISS and not is_part else None


def is_bar(crop: NDArray[np.uint8]) -> bool:
    """Return whether a crop (28, 28) shows an upright bar, judging by second moments of its ink.

    Rules, folds and edges of the paper look like 1s, and some people's 1s are as broad as a stain.
    In a crop they are indistinguishable; only the locator sees more. A classifier that is taught
    that such bars are not digits rejects people's 1s.
    """
    moments = cv2.moments((crop > 127).astype(np.uint8), binaryImage=True)
    if not moments["m00"]:
        return False
    level, tilt, upright = (moments[name] / moments["m00"] for name in ("mu20", "mu11", "mu02"))
    # A pixel is not a point: add its own variance, 1 / 12, each way.
    across, along = np.linalg.eigvalsh([[level, tilt], [tilt, upright]]) + 1 / 12
    # A rectangle's area is 12 times the product of its standard deviations.
    is_solid = moments["m00"] > SOLID * 12 * np.sqrt(across * along)
    most = BROAD if is_solid else SLIM
    return bool(upright > level and across < most**2 * along)


def _holds(box: NDArray[np.float32], sign: NDArray[np.float32]) -> bool:
    """Return whether most of a sign (4,) is in the crop that is cut for a box (4,)."""
    crop = _square(box)
    crop = np.concatenate([crop[:2] - 0.2 * crop[2:], 1.4 * crop[2:]])
    return bool(_common(crop, sign) >= 0.75 * np.prod(sign[2:]))


def _square(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squares around the centers of boxes (..., 4), as wide as their longer sides."""
    middle = boxes[..., :2] + boxes[..., 2:] / 2
    side = boxes[..., 2:].max(axis=-1, keepdims=True)
    return np.concatenate([middle - side / 2, side, side], axis=-1)


def overlap(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the intersection over union (n,) of a box (4,) with others (n, 4)."""
    common = _common(box, others)
    union = np.prod(box[2:]) + np.prod(others[:, 2:], axis=1) - common
    return np.asarray(common / union, np.float32)


def _common(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the areas (...) of the intersections of a box (4,) with others (..., 4)."""
    low = np.maximum(box[:2], others[..., :2])
    high = np.minimum(box[:2] + box[2:], others[..., :2] + others[..., 2:])
    return np.asarray(np.prod(np.clip(high - low, 0, None), axis=-1), np.float32)
