"""`python -m export.reread`: how well the server reads with the files in models/.

Measures the model card's first figures of the written files again, as they also change with the
server's code and the strictness, which need no training.
"""

import os

import cv2

from export.data import DataSettings, load_test
from export.glyphs import Glyphs
from export.plan import CACHE, FULL, MODELS, VERIFYING_SEED
from export.trial import SEARCHED, scenes_of, try_out
from export.verify import finds


def main() -> None:
    """Print the shares of test pictures, numbers and pictures without digits that are read right.

    And what the locator alone finds in composed scenes.
    """
    cv2.setNumThreads(1)
    test = load_test(DataSettings.from_environment(os.environ, CACHE / "mnist"))
    files = MODELS / "locate.onnx", MODELS / "digit.onnx"
    trial = try_out(files, test, FULL.verifying, VERIFYING_SEED)
    print(
        f"{trial.accuracy:.2%} of PNG files, {trial.strings:.2%} of {trial.count} numbers, "
        f"{trial.refused:.2%} of {trial.count} pictures without digits are read right"
    )
    glyphs = Glyphs(test.images, test.labels)
    scenes = scenes_of(glyphs, FULL.verifying, VERIFYING_SEED, SEARCHED)
    found, false = finds(files[0].read_bytes(), scenes)
    print(f"{found:.2%} of the digits in scenes are found, with {false:.2%} as many false boxes")


if __name__ == "__main__":
    main()
