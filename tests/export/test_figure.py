"""The figures of docs/reading.md."""

from xml.etree import ElementTree

import numpy as np

from export.data import Mnist
from export.figure import DRAWN, reading, scenes
from export.glyphs import Glyphs

SVG = "{http://www.w3.org/2000/svg}"


def test_the_figure_of_reading_shows_every_step() -> None:
    """It shows the likeliest candidates, the boxes that are left, their crops, and the number."""
    drawing = ElementTree.fromstring(reading())
    texts = [text.text or "" for text in drawing.iter(f"{SVG}text")]
    assert "3507" in texts
    assert len(list(drawing.iter(f"{SVG}rect"))) == DRAWN + len("3507")
    crops = [image for image in drawing.iter(f"{SVG}image") if "png" in image.attrib["href"]]
    assert len(crops) == len("3507")


def test_the_scenes_are_the_same_each_time(mnist: Mnist) -> None:
    """They are composed with a fixed seed."""
    glyphs = Glyphs(mnist.train.images, mnist.train.labels)
    sheet = scenes(glyphs)
    assert sheet.std() > 0
    assert np.array_equal(sheet, scenes(glyphs))
