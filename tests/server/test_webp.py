"""WebP files, parsed without decoding."""

import io

import numpy as np
import pytest
from PIL import Image

from server.webp import first_frame, webp_size
from tests.drawings import drawing, encode
from tests.server.lossless import chunk, lossless, stream, webp

ANIMATION_FLAG, ALPHA_FLAG = 2, 16


@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}]
)
def test_webp_size(options: dict[str, object]) -> None:
    """The canvas size is found in the lossy, the lossless and the extended form."""
    assert webp_size(encode(Image.new("RGB", (321, 45)), "WebP", **options)) == (321, 45)


def test_webp_cut_short() -> None:
    """A WebP with a truncated header has size 0."""
    assert webp_size(b"RIFF\0\0\0\0WEBPVP8 ") == (0, 0)


def extended(side: int, flags: int) -> bytes:
    """Return the VP8X chunk of an extended WebP."""
    return chunk(b"VP8X", flags.to_bytes(4, "little") + (side - 1).to_bytes(3, "little") * 2)


def frame(side: int, *chunks: bytes) -> bytes:
    """Return a frame of an animation."""
    return chunk(
        b"ANMF", bytes(6) + (side - 1).to_bytes(3, "little") * 2 + bytes(4) + b"".join(chunks)
    )


def transparent(groups: int) -> bytes:
    """Return a lossy picture with lossless alpha."""
    lossy = encode(Image.new("RGB", (64, 64)), "WebP")[12:]
    return chunk(b"ALPH", b"\1" + stream(64, groups)) + lossy


ANIMATION = chunk(b"ANIM", bytes(6))
FILES = {
    "alone": webp(lossless(64, 60)),
    "extended": webp(extended(64, 0), lossless(64, 60)),
    "transparency": webp(extended(64, ALPHA_FLAG), transparent(60)),
    "animation": webp(extended(64, ANIMATION_FLAG), ANIMATION, frame(64, lossless(64, 60))),
    "transparent animation": webp(
        extended(64, ANIMATION_FLAG | ALPHA_FLAG), ANIMATION, frame(64, transparent(60))
    ),
}


@pytest.mark.parametrize("data", FILES.values(), ids=list(FILES))
def test_prefix_groups(data: bytes) -> None:
    """They are counted in any lossless part of a frame; libwebp reads the same file."""
    assert first_frame(data).groups == 60
    with Image.open(io.BytesIO(data)) as image:
        assert image.convert("RGB").getextrema() == ((0, 0), (0, 0), (0, 0))


@pytest.mark.parametrize("options", [{}, {"lossless": True}], ids=["lossy", "lossless"])
def test_no_prefix_groups(options: dict[str, object]) -> None:
    """A lossy picture has none, a plain lossless one has one."""
    data = encode(Image.new("RGB", (64, 64)), "WebP", **options)

    assert first_frame(data).groups == len(options)


def test_first_frame() -> None:
    """Only the first frame of an animation is kept, even if it does not fill the canvas."""
    pictures = [drawing((80, 60), (shift, 0)).convert("RGBA") for shift in range(3)]
    data = encode(pictures[0], "WebP", save_all=True, append_images=pictures[1:], lossless=True)
    small = webp(extended(96, ANIMATION_FLAG), ANIMATION, frame(64, lossless(64, 1)))

    assert len(first_frame(data).file) < len(data)
    for whole in (data, small):
        first = first_frame(whole).file
        with Image.open(io.BytesIO(whole)) as image, Image.open(io.BytesIO(first)) as alone:
            assert np.array_equal(np.asarray(alone), np.asarray(image))


def test_orientation_is_kept() -> None:
    """The first frame keeps the orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(drawing(), "WebP", exif=exif, icc_profile=bytes(999))

    with Image.open(io.BytesIO(first_frame(data).file)) as image:
        assert image.getexif() == exif
        assert "icc_profile" not in image.info


@pytest.mark.parametrize("data", [FILES["alone"], FILES["transparency"]])
def test_a_file_of_nothing_else(data: bytes) -> None:
    """A file with nothing else is not copied, ..."""
    assert first_frame(data).file is data


SPARE = chunk(b"VP8L", lossless(64, 1))
STILL, MOVING = extended(64, 0), extended(64, ANIMATION_FLAG)


@pytest.mark.parametrize(
    ("data", "left"),
    [
        (FILES["alone"] + SPARE, FILES["alone"]),
        (webp(STILL, chunk(b"XXXX", SPARE), lossless(64, 60), SPARE), FILES["extended"]),
        (
            webp(MOVING, ANIMATION, frame(64, chunk(b"XXXX", SPARE), lossless(64, 60), SPARE)),
            webp(MOVING, ANIMATION, frame(64, lossless(64, 60))),
        ),
    ],
    ids=["alone", "extended", "animation"],
)
def test_decoys(data: bytes, left: bytes) -> None:
    """... and all other chunks are removed before decoding."""
    assert first_frame(data).file == left
    assert first_frame(data).groups == 60


@pytest.mark.parametrize(
    "chunks",
    [(STILL,), (MOVING, ANIMATION, frame(64, frame(64, lossless(64, 60))))],
    ids=["none", "a frame in a frame"],
)
def test_no_picture(chunks: tuple[bytes, ...]) -> None:
    """A file without a frame at the top level is refused."""
    with pytest.raises(ValueError):
        first_frame(webp(*chunks))
