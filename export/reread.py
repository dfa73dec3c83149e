"""What the server reads with the files in models/: `python -m export.reread`.

The card's first figures of the written files, measured again: they change with the server's code
and the strictness, too, which need no training.
"""

import os

import cv2

from export.data import DataSettings, load_test
from export.glyphs import Glyphs
from export.plan import CACHE, FULL, MODELS, VERIFYING_SEED
from export.trial import SEARCHED, scenes_of, try_out
from export.verify import finds


def main() -> None:
    """Print what is read rightly of MNIST's test pictures, of numbers, and of what is none.

    And what the locator alone finds in composed scenes.
    """
    cv2.setNumThreads(1)
    test = load_test(DataSettings.from_environment(os.environ, CACHE / "mnist"))
    files = MODELS / "locate.onnx", MODELS / "digit.onnx"
    trial = try_out(files, test, FULL.verifying, VERIFYING_SEED)
    print(
        f"{trial.accuracy:.2%} of PNG files, {trial.strings:.2%} of {trial.count} numbers, "
        f"{trial.refused:.2%} of {trial.count} pictures without digits"
    )
    glyphs = Glyphs(test.images, test.labels)
    scenes = scenes_of(glyphs, FULL.verifying, VERIFYING_SEED, SEARCHED)
    found, false = finds(files[0].read_bytes(), scenes)
    print(f"{found:.2%} of the digits found, {false:.2%} as many boxes without one")


if __name__ == "__main__":
    main()
