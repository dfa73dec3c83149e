"""What a client's script is given and prints; nothing here needs more than Python and numpy."""

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
    """Collects, for each of a client's calls, whether it did what it should.

    Attributes:
        url: where the server answers.
        crops: (3, 28, 28) uint8.
        probabilities: (3, 11), what the classifier says of them.
        pictures: further PNG files.
        numbers: what plain HTTP answers to each of them.
    """

    url: str
    crops: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    pictures: list[bytes]
    numbers: list[str]
    outcomes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_arguments(cls) -> "Report":
        """Return an empty report on what the command line names: a URL and a folder."""
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
        """Yield the pictures and their numbers, as many as a request may have at a time."""
        for k in range(0, len(self.pictures), BATCH):
            yield self.pictures[k : k + BATCH], self.numbers[k : k + BATCH]

    def check(self, call: str, does: Check) -> None:
        """Note whether something returned without an error."""
        try:
            does()
        except Exception as error:
            self.outcomes[call] = f"{type(error).__name__}: {error}"[:300]
        else:
            self.outcomes[call] = "ok"

    def assert_probabilities(self, found: Any) -> None:
        """Fail unless the classifier's answer came through."""
        assert np.allclose(np.asarray(found, np.float32), self.probabilities, atol=1e-5), found

    def print(self) -> None:
        """Write the report down for whoever started the script."""
        print(json.dumps(self.outcomes))
