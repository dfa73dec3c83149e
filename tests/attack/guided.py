"""Coverage-guided fuzzing of the parsers: `python -m tests.attack.guided decode 600`.

Atheris (libFuzzer) mutates inputs that reached new code. It instruments our Python code and
Pillow's, but not Pillow's C code. It needs its own environment: guided.txt.
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

# Generous, as instrumented code on a busy machine is slow.
LIMITS = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=8192"]


def main(argv: list[str]) -> None:
    """Fuzz one parser for some seconds; a failure ends the process with a report."""
    known = {name: (samples, target) for name, samples, target in targets()}
    parser = argparse.ArgumentParser(prog="python -m tests.attack.guided", description=__doc__)
    parser.add_argument("parser", choices=known)
    parser.add_argument("seconds", type=int, nargs="?", default=600)
    arguments = parser.parse_args(argv)
    samples, target = known[arguments.parser]

    def attack(data: bytes) -> None:
        # The first byte seeds the target's other choices, such as the content type.
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
