"""The input and report of a client's script; needs only Python and numpy."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Check = Callable[[], Any]

BATCH = 50


@dataclass
class Report:
    """Collects the outcome of each of a client's calls.

    Attributes:
        url: the server's.
        crops: (3, 28, 28) uint8.
        probabilities: (3, 11), the classifier's output for them.
        pictures: further PNG files.
        numbers: the numbers that plain HTTP reads in them.
    """

    url: str
    crops: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    pictures: list[bytes]
    numbers: list[str]
    outcomes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_arguments(cls) -> "Report":
        """Return an empty report for the URL and folder on the command line."""
        url, folder = sys.argv[1], Path(sys.argv[2])
        files = sorted((folder / "pictures").iterdir())
        return cls(
            url,
            np.load(folder / "crops.npy"),
            np.load(folder / "probabilities.npy"),
            [file.read_bytes() for file in files],
            json.loads((folder / "numbers.json").read_text()),
        )

    def batches(self) -> Iterator[tuple[list[bytes], list[str]]]:
        """Yield batches of pictures and their numbers, as large as a request may be."""
        for k in range(0, len(self.pictures), BATCH):
            yield self.pictures[k : k + BATCH], self.numbers[k : k + BATCH]

    def check(self, call: str, does: Check) -> None:
        """Record whether a call returned without an error."""
        try:
            does()
        except Exception as error:
            self.outcomes[call] = f"{type(error).__name__}: {error}"[:300]
        else:
            self.outcomes[call] = "ok"

    def assert_probabilities(self, found: Any) -> None:
        """Fail unless the classifier's answer is as expected."""
        assert np.allclose(np.asarray(found, np.float32), self.probabilities, atol=1e-5), found

    def print(self) -> None:
        """Write the report for the calling process."""
        print(json.dumps(self.outcomes))
