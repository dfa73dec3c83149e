"""Runs every call of third-party Open Inference Protocol clients: `make conformance`.

Prints which of them did what they should, as a table, and puts it into the README. Each client has
an environment of its own, as their dependencies exclude each other.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import httpx2
import numpy as np
from numpy.typing import NDArray

from export.data import DataSettings, load_test
from export.sources import DataError
from server.image import encode_png
from server.model import load_classifier
from server.settings import REPOSITORY, load_settings
from tests.processes import serving

CLIENTS = {
    "triton": ("tritonclient", "tritonclient[http]"),
    "triton_aio": ("tritonclient", "tritonclient[http], asyncio"),
    "kserve_rest": ("kserve", "kserve, InferenceRESTClient"),
    "open_inference_rest": ("open-inference-openapi", "open-inference-openapi"),
}
"""For each script, the client's package, which names its environment, and its name in the table."""

ENVIRONMENTS = REPOSITORY / ".venv" / "clients"
PICTURES = 1000
BATCH = 50
BEGIN, END = "<!-- conformance: make conformance -->\n", "<!-- conformance -->"


def main() -> int:
    """Run all clients; return 1 if any call failed."""
    test = load_test(
        DataSettings.from_environment(os.environ, REPOSITORY / ".cache" / "mnist")
    ).head(PICTURES)
    with serving() as service, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = _prepare(folder, test.images, service.url)
        right = sum(n == str(label) for n, label in zip(numbers, test.labels, strict=True))
        outcomes = {client: _run(client, service.url, folder) for client in CLIENTS}
    table = _table(outcomes, f"{right / len(numbers):.1%}")
    print(table)
    for client, calls in outcomes.items():
        for call, outcome in calls.items():
            if outcome != "ok":
                print(f"{client}, {call}: {outcome}", file=sys.stderr)
    _write(REPOSITORY / "README.md", table)
    return int(any(outcome != "ok" for calls in outcomes.values() for outcome in calls.values()))


def _prepare(folder: Path, images: NDArray[np.uint8], url: str) -> list[str]:
    """Write the clients' inputs and expected outputs; return the numbers in the pictures."""
    files = [encode_png(255 - image) for image in images]
    (folder / "pictures").mkdir()
    for k, content in enumerate(files):
        (folder / "pictures" / f"{k:04}.png").write_bytes(content)
    numbers: list[str] = []
    for k in range(0, len(files), BATCH):
        form = [("images", file) for file in files[k : k + BATCH]]
        answers = httpx2.post(f"{url}/recognize.json", files=form).json()["answers"]
        numbers += [answer["number"] for answer in answers]
    (folder / "numbers.json").write_text(json.dumps(numbers))
    classifier = load_classifier(REPOSITORY / load_settings({}).classifier)
    crops = images[:3]
    np.save(folder / "crops.npy", crops)
    np.save(folder / "probabilities.npy", classifier.classify(crops))
    return numbers


def _run(client: str, url: str, folder: Path) -> dict[str, str]:
    """Return the outcome of each of a client's calls."""
    python = ENVIRONMENTS / CLIENTS[client][0] / "bin" / "python"
    command = [str(python), "-m", f"tests.conformance.{client}", url, str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        return {"health, metadata": done.stderr[-1000:]}
    outcomes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return outcomes


def _table(outcomes: Mapping[str, Mapping[str, str]], accuracy: str) -> str:
    """Return a table: a row for each client, a column for each call."""
    calls = list(dict.fromkeys(call for found in outcomes.values() for call in found))
    lines = [f"| client | {' | '.join(calls)} |", f"| --- |{' :-: |' * len(calls)}"]
    for client, found in outcomes.items():
        marks = ["yes" if found.get(c) == "ok" else "no" if c in found else "" for c in calls]
        lines.append(f"| {CLIENTS[client][1]} | {' | '.join(marks)} |")
    note = (
        f"`pictures`: {PICTURES:,} of MNIST's test pictures as PNG files; each client got the "
        f"numbers that\n`POST /recognize.json` gives, {accuracy} of them right. Empty: the client "
        "does not offer it."
    )
    return "\n".join([*lines, "", note, ""])


def _write(path: Path, table: str) -> None:
    """Insert the table between its two markers."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(before + BEGIN + table + END + after)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DataError as error:
        sys.exit(f"data: {error}")
