"""Ablation study: reads sets of pictures once without each step of recognition.

    python -m benchmarks.ablation SET.zip...

Sets have the format that `benchmarks.score` describes. They are read in-process, without HTTP.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.score import picture_set, read_set
from server import recognize
from server.agreement import Reading
from server.answer import Answer
from server.recognize import load_recognizer
from server.settings import load_settings


def _classifier_alone(
    probabilities: NDArray[np.float32], scores: NDArray[np.float32]
) -> NDArray[np.float32]:
    return probabilities


def _no_doubles(boxes: NDArray[np.float32], labels: NDArray[np.intp]) -> NDArray[np.bool_]:
    return np.zeros(len(boxes), np.bool_)


def _surest(looks: Sequence[Sequence[Reading]]) -> Answer:
    answers = [reading.answer for look in looks for reading in look]
    return max(answers, key=lambda answer: answer.confidence)


# What replaces each step in `server.recognize`.
WITHOUT: Final[Mapping[str, Mapping[str, Any]]] = {
    "nothing": {},
    "the locator's score": {"weighed": _classifier_alone},
    "other scales of the picture": {"_AGAIN": (), "_NEARER": ()},
    "other views of the crops": {"_ZOOMS": (), "_TURNS": ()},
    "a second reading where boxes overlap": {"doubles": _no_doubles},
    "the sum over all readings, the likeliest one instead": {"agreed": _surest},
}


def main(argv: Sequence[str]) -> int:
    """Print how many pictures are read correctly without each step; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("sets", nargs="+", type=picture_set, metavar="SET.zip")
    paths: list[Path] = parser.parse_args(argv).sets
    recognizer = load_recognizer(load_settings(os.environ))

    def read(picture: bytes) -> tuple[int, dict[str, Any], float]:
        start = time.perf_counter()
        answer = recognizer.recognize(picture).as_json()
        return HTTPStatus.OK, answer, time.perf_counter() - start

    names = " | ".join(path.stem for path in paths)
    print(f"| without | {names} | all | confidently wrong | seconds |")
    print(f"| --- |{' ---: |' * (len(paths) + 3)}")
    for name, changes in WITHOUT.items():
        with patch.dict(vars(recognize), changes):
            sets = [list(read_set(read, path)) for path in paths]
        readings = [reading for each in sets for reading in each]
        figures = [sum(reading.is_right for reading in each) for each in (*sets, readings)]
        figures.append(sum(reading.is_sure and not reading.is_right for reading in readings))
        seconds = sum(reading.seconds for reading in readings)
        print(f"| {name} | {' | '.join(map(str, figures))} | {seconds:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
