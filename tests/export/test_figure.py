"""The figures of docs/reading.md."""

from xml.etree import ElementTree

import numpy as np

from export.data import Mnist
from export.figure import DRAWN, reading, scenes
from export.glyphs import Glyphs

SVG = "{http://www.w3.org/2000/svg}"


def test_reading() -> None:
    """The likeliest candidates, what is left of them, each crop, and the number are drawn."""
    drawing = ElementTree.fromstring(reading())
    texts = [text.text or "" for text in drawing.iter(f"{SVG}text")]
    assert "3507" in texts
    assert len(list(drawing.iter(f"{SVG}rect"))) == DRAWN + len("3507")
    crops = [image for image in drawing.iter(f"{SVG}image") if "png" in image.attrib["href"]]
    assert len(crops) == len("3507")


def test_scenes(mnist: Mnist) -> None:
    """They are composed anew, and the same each time."""
    glyphs = Glyphs(mnist.train.images, mnist.train.labels)
    sheet = scenes(glyphs)
    assert sheet.std() > 0
    assert np.array_equal(sheet, scenes(glyphs))
