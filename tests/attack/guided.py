"""Broken input, guided by what of the code it reaches: `python -m tests.attack.guided decode 600`.

Atheris (libFuzzer) goes on from inputs that reached something new. It sees our Python, Pillow's and
the forms parser's; Pillow's C code it does not. It needs an environment of its own: guided.txt.
"""

import argparse
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["server", "PIL"]):
    from server.errors import ClientError
    from tests.attack.fuzz import targets

# An input may take longer or more than any request should on a busy, instrumented machine.
LIMITS = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=8192"]


def main(argv: list[str]) -> None:
    """Fuzz one parser for some time; the process ends with what was found, or with success."""
    known = {name: (samples, target) for name, samples, target in targets()}
    parser = argparse.ArgumentParser(prog="python -m tests.attack.guided", description=__doc__)
    parser.add_argument("parser", choices=known)
    parser.add_argument("seconds", type=int, nargs="?", default=600)
    arguments = parser.parse_args(argv)
    samples, target = known[arguments.parser]

    def attack(data: bytes) -> None:
        # The first byte decides what a request leaves open, such as its content type.
        with suppress(ClientError):
            target(data[1:], Random(data[0] if data else 0))

    with tempfile.TemporaryDirectory() as corpus:
        for number, sample in enumerate(samples):
            for first in range(8):
                Path(corpus, f"{number}-{first}").write_bytes(bytes([first]) + sample)
        atheris.Setup(
            [sys.argv[0], *LIMITS, f"-max_total_time={arguments.seconds}", corpus], attack
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
