"""Mutation fuzzing of the parsers: `python -m tests.attack.fuzz [count]`.

Every input is generated from its number alone, so failures are reproducible.
"""

import argparse
import io
import json
import sys
import traceback
from collections.abc import Callable
from random import Random

from PIL import Image

from server.batch.progress import Progress
from server.errors import ClientError
from server.image import Limits, decode
from server.model import load_locator
from server.settings import REPOSITORY, load_settings
from server.tensors import parse_request
from server.uploads import parse_body

Target = Callable[[bytes, Random], object]

SETTINGS = load_settings({})
# Small enough that no decode is slow; other tests check the limit itself.
LIMITS = Limits(2**20, load_locator(REPOSITORY / SETTINGS.locator).working_size)
FORM = "multipart/form-data; boundary=b"


def samples() -> list[bytes]:
    """Return a picture in every supported format and mode."""
    picture = Image.radial_gradient("L").resize((40, 30))
    made = []
    for form, modes in {
        "PNG": ("1", "L", "P", "RGB", "RGBA", "I;16"),
        "JPEG": ("L", "RGB", "CMYK"),
        "WEBP": ("RGB", "RGBA"),
        "GIF": ("L", "P"),
        "BMP": ("1", "L", "RGB"),
    }.items():
        for mode in modes:
            stream = io.BytesIO()
            extra = {"progressive": True} if (form, mode) == ("JPEG", "RGB") else {}
            picture.convert(mode).save(stream, form, **extra)
            made.append(stream.getvalue())
    return made


def bodies(pictures: list[bytes]) -> list[bytes]:
    """Return forms and JSON as clients send them."""
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    forms = [head + picture + b"\r\n--b--\r\n" for picture in pictures[:3]]
    return [*forms, b'{"image": "data:image/png;base64,iVBORw0KGgo="}', b'{"images": ["aGVsbG8="]}']


def requests() -> list[bytes]:
    """Return the JSON of requests of the Open Inference Protocol, some for binary data."""
    entry = {"name": "images", "datatype": "UINT8", "shape": [1, 784]}
    binary = {**entry, "parameters": {"binary_data_size": 784}}
    texts = {"name": "images", "datatype": "BYTES", "shape": [2], "data": ["aGVsbG8=", "a"]}
    documents = [{**entry, "data": [0] * 784}, binary, texts]
    return [json.dumps({"id": "a", "inputs": [one]}).encode() for one in documents]


def mutated(sample: bytes, random: Random) -> bytes:
    """Return a sample with a few bytes flipped, overwritten, deleted, repeated or truncated."""
    data = bytearray(sample)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at = random.randrange(len(data) + 1)
        length = random.choice((1, 1, 2, 4, 32))
        match random.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 1:
                data[at : at + length] = random.choice((b"\0", b"\xff", b"\x7f")) * length
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[max(at - length, 0) : at]
            case 4:
                del data[at:]
            case _:
                data[at : at + length] = random.randbytes(length)
    return bytes(data)


def targets() -> list[tuple[str, list[bytes], Target]]:
    """Return the targets: name, valid samples, and the function to call."""
    pictures = samples()
    return [
        ("decode", pictures, lambda data, _: decode(data, LIMITS)),
        (
            "uploads",
            bodies(pictures),
            lambda data, random: parse_body(
                data, random.choice((FORM, "application/json", "")), 64
            ),
        ),
        (
            "tensors",
            requests(),
            lambda data, random: parse_request(
                data, random.choice((None, random.randrange(len(data) + 2)))
            ),
        ),
    ]


def attack(number: int, attacked: list[tuple[str, list[bytes], Target]]) -> str | None:
    """Send an input to its target; return what went wrong, or None.

    The target must read it, or refuse it with a ClientError.
    """
    random = Random(number)
    name, known, target = attacked[number % len(attacked)]
    data = mutated(random.choice(known), random)
    try:
        target(data, random)
    except ClientError:
        return None
    # Any other exception is a bug.
    except Exception:  # noqa: BLE001
        return f"input {number}, {name}:\n{traceback.format_exc()}"
    return None


def main(argv: list[str]) -> int:
    """Fuzz with `count` inputs; return 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.fuzz", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    arguments = parser.parse_args(argv)
    attacked, harm = targets(), 0
    with Progress("fuzz", arguments.count) as bar:
        for done in range(arguments.count):
            if fault := attack(arguments.first + done, attacked):
                harm += 1
                sys.stderr.write(fault)
            if not done % 1000:
                bar.update(done + 1, f"{harm} faults")
    return int(harm > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
