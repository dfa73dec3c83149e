"""What the server reads with the files in models/: `python -m export.reread`.

The card's first figures of the written files, measured again: they change with the server's code,
too, which needs no training.
"""

import os

import cv2

from export.__main__ import CACHE, FULL, MODELS, VERIFYING_SEED
from export.data import DataSettings, load_test
from export.trial import try_out


def main() -> None:
    """Print what is read rightly of MNIST's test pictures, of numbers, and of what is none."""
    cv2.setNumThreads(1)
    test = load_test(DataSettings.from_environment(os.environ, CACHE / "mnist"))
    files = MODELS / "locate.onnx", MODELS / "digit.onnx"
    trial = try_out(files, test, FULL.verifying, VERIFYING_SEED)
    print(
        f"{trial.accuracy:.2%} of PNG files, {trial.strings:.2%} of {trial.count} numbers, "
        f"{trial.refused:.2%} of {trial.count} pictures without digits"
    )


if __name__ == "__main__":
    main()
