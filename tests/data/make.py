"""Makes the pictures in this folder from MNIST's test digits, as a record of their origin.

    DIGIT_DATA=folder-with-the-IDX-files python tests/data/make.py

MNIST (LeCun, Cortes, Burges) is licensed CC BY-SA 3.0, and so are these pictures.
"""

import gzip
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).parent
EXIF_ORIENTATION = 0x0112
TURNED_LEFT = 6

TEN = 10
# Indices into MNIST's test pictures.
SEVEN, THREE, EIGHT, ZERO, OTHER_ZERO = 0, 30, 61, 3, 10


def main() -> None:
    """Write every picture."""
    digits = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = idx("t10k-labels-idx1-ubyte.gz", 8)

    rows = [np.hstack(list(digits[labels == label][:TEN])) for label in range(10)]
    Image.fromarray(np.vstack(rows)).save(HERE / "digits.png", optimize=True)

    Image.fromarray(digits[SEVEN]).save(HERE / "mnist-7.png", optimize=True)
    on_paper(digits[[SEVEN]], 128).save(HERE / "7.png", optimize=True)
    on_paper(digits[[EIGHT, ZERO, OTHER_ZERO]], 80).save(HERE / "800.png", optimize=True)
    Image.new("L", (160, 120), 236).save(HERE / "blank.png", optimize=True)

    # Like a phone photo: paper in uneven light, stored on its side with an EXIF orientation.
    photo = shaded(on_paper(digits[[THREE]], 240)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = TURNED_LEFT
    photo.save(HERE / "photo-3.jpg", quality=70, exif=exif)


def idx(name: str, header: int) -> NDArray[np.uint8]:
    """Return the data of an IDX file, after its header."""
    content = gzip.decompress((Path(os.environ["DIGIT_DATA"]) / name).read_bytes())
    return np.frombuffer(content, np.uint8, offset=header)


def on_paper(digits: NDArray[np.uint8], side: int) -> Image.Image:
    """Return digits in a row, dark on white, each `side` pixels wide."""
    row = Image.fromarray(255 - np.hstack(list(digits)))
    return row.resize((side * len(digits), side), Image.Resampling.BICUBIC)


def shaded(image: Image.Image) -> Image.Image:
    """Return a color picture of a larger sheet, lit from the left."""
    sheet = Image.new("L", (image.width * 2, image.height * 2), 255)
    sheet.paste(image, (image.width // 3, image.height // 2))
    light = np.linspace(0.9, 0.5, sheet.width)
    gray = np.asarray(sheet) * light
    warm = np.array([1.0, 0.97, 0.9])
    return Image.fromarray((gray[:, :, np.newaxis] * warm).astype(np.uint8))


if __name__ == "__main__":
    main()
