"""Scores how well a running server reads sets of pictures.

    python -m benchmarks.score http://localhost:5000 SET.zip... [--misses FILE] [--markdown FILE]

A set is a zip file of pictures with a table `labels.csv` (file,label,source). A label is the digits
of the picture in reading order, or empty if it has none. Pictures are posted one at a time over
one connection. Needs only the standard library, so any Python can score any server.
"""

import argparse
import csv
import http.client
import io
import json
import statistics
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SURE = 0.9
BINS = 15
COVERED = 0.99


@dataclass(frozen=True)
class Reading:
    """A labeled picture and the server's answer to it.

    Attributes:
        file: its name in the set.
        label: the digits in it.
        source: where it comes from.
        number: the digits that were read; also empty if there was no answer.
        confidence: that the number is right.
        status: of the response.
        seconds: from sending the request to the complete response.
    """

    file: str
    label: str
    source: str
    number: str
    confidence: float
    status: int
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether the number is exactly the label; never if there was no answer."""
        return self.is_answered and self.number == self.label

    @property
    def is_answered(self) -> bool:
        """Whether the response has status 200."""
        return self.status == http.HTTPStatus.OK

    @property
    def is_sure(self) -> bool:
        """Whether a number was answered with high confidence."""
        return bool(self.number) and self.confidence > SURE


Readings = Sequence[Reading]

Read = Callable[[bytes], tuple[int, dict[str, Any], float]]
"""Takes a picture; returns the status, the decoded JSON answer, and the seconds it took."""


def share(readings: Readings, is_so: Callable[[Reading], bool]) -> float:
    """Return the fraction of readings for which a predicate holds."""
    return sum(map(is_so, readings)) / len(readings)


def digit_errors(readings: Readings) -> float:
    """Return the edit distance between numbers and labels, per digit of the labels."""
    edits = sum(distance(reading.label, reading.number) for reading in readings)
    return edits / max(sum(len(reading.label) for reading in readings), 1)


def distance(first: str, second: str) -> int:
    """Return the edit distance of two strings: insertions, deletions and substitutions.

    Source: Wagner and Fischer 1974, The String-to-String Correction Problem.
    """
    above = list(range(len(second) + 1))
    for row, mine in enumerate(first, 1):
        current = [row]
        for column, theirs in enumerate(second, 1):
            replaced = above[column - 1] + (mine != theirs)
            current.append(min(replaced, above[column] + 1, current[-1] + 1))
        above = current
    return above[-1]


def coverage(readings: Readings) -> float:
    """Return the largest share of the most confident answers of which 99 % are right."""
    ranked = sorted(readings, key=lambda reading: reading.confidence, reverse=True)
    right, most = 0, 0
    for count, reading in enumerate(ranked, 1):
        right += reading.is_right
        if right >= COVERED * count:
            most = count
    return most / len(readings)


def calibration_error(readings: Readings) -> float:
    """Return the expected calibration error, over bins of equal width.

    Over the pictures in which a number was read; see `export.evaluate.calibration_error`.
    """
    answered = [reading for reading in readings if reading.number]
    gaps = [0.0] * BINS
    for reading in answered:
        place = min(int(reading.confidence * BINS), BINS - 1)
        gaps[place] += reading.confidence - reading.is_right
    return sum(map(abs, gaps)) / max(len(answered), 1)


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, the figure for a set, and the figure's format.

    Attributes:
        needs_digits: whether it is meaningless for a set without any digits.
    """

    title: str
    figure: Callable[[Readings], float]
    form: str
    needs_digits: bool = False


COLUMNS = (
    Column("n", len, "{:d}"),
    Column("exact", lambda all_: share(all_, lambda one: one.is_right), "{:.2%}", True),
    Column("digit err", digit_errors, "{:.2%}", True),
    Column(
        "none", lambda all_: share(all_, lambda one: one.is_answered and not one.number), "{:.2%}"
    ),
    Column("sure", lambda all_: share(all_, lambda one: one.is_sure), "{:.2%}"),
    Column(
        "wrong",
        lambda all_: share(all_, lambda one: one.is_sure and not one.is_right),
        "{:.2%}",
    ),
    Column("cov 99", coverage, "{:.2%}", True),
    Column("ECE", calibration_error, "{:.3f}", True),
    Column("not 200", lambda all_: sum(not one.is_answered for one in all_), "{:d}"),
    Column("p50 ms", lambda all_: statistics.median(one.seconds for one in all_) * 1e3, "{:.1f}"),
)
LEGEND = """\
`exact`: every digit right. `digit err`: edit distance per digit. `none`: no digit read, which is
right for a set without digits. `sure`: a number with a confidence above 0.9; `wrong`: a wrong
number with such a confidence. `cov 99`: the largest share of the most confident answers of which
99 % are right. `ECE`: expected calibration error of the numbers read. `not 200`: other responses.
`p50 ms`: median latency."""


class Client:
    """Posts pictures over one connection."""

    def __init__(self, url: str) -> None:
        """Set the server's URL; nothing is sent yet."""
        parts = urlsplit(url)
        connect = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        self._link = connect[parts.scheme](parts.netloc, timeout=60)
        self._path = parts.path.rstrip("/") + "/recognize.json"

    def read(self, picture: bytes) -> tuple[int, dict[str, Any], float]:
        """Return the status (0 if the connection broke), the answer and the seconds it took."""
        start = time.perf_counter()
        try:
            self._link.request("POST", self._path, picture)
            response = self._link.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            self._link.close()  # the next request opens it again
            return 0, {}, time.perf_counter() - start
        return response.status, answer, time.perf_counter() - start

    def close(self) -> None:
        """Close the connection."""
        self._link.close()


def read_set(read: Read, path: Path) -> Iterator[Reading]:
    """Yield the reading of each picture in a set."""
    with zipfile.ZipFile(path) as pictures:
        table = csv.DictReader(io.TextIOWrapper(pictures.open("labels.csv"), "utf-8"))
        for row in table:
            status, answer, seconds = read(pictures.read(row["file"]))
            yield Reading(
                file=row["file"],
                label="".join(row["label"].split()),
                source=row["source"],
                number="".join(str(answer.get("number") or "").split()),
                confidence=float(answer.get("confidence") or 0),
                status=status,
                seconds=seconds,
            )


def cells(readings: Readings) -> list[str]:
    """Return a set's row of the table."""
    has_digits = any(reading.label for reading in readings)
    return [
        "-"
        if column.needs_digits and not has_digits
        else column.form.format(column.figure(readings))
        for column in COLUMNS
    ]


def as_markdown(rows: Mapping[str, Sequence[str]], model: Mapping[str, str]) -> str:
    """Return the table as a Markdown page that names the model."""
    titles = [column.title for column in COLUMNS]
    lines = [
        "# Pictures from other sources",
        "",
        f"How well a server with `{model['name']}.onnx`, SHA-256 `{model['sha256']}...`, reads "
        "pictures that were not used for training.",
        "",
        f"| set | {' | '.join(titles)} |",
        f"| --- |{' ---: |' * len(titles)}",
        *(f"| {name} | {' | '.join(row)} |" for name, row in rows.items()),
        "",
        LEGEND,
    ]
    return "\n".join(lines) + "\n"


def write_misses(path: Path, misses: Sequence[tuple[str, Reading]]) -> None:
    """Write the misread pictures as a CSV table, one per line."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["set", "file", "label", "number", "confidence", "status", "source"])
        for name, miss in misses:
            writer.writerow(
                [
                    name,
                    miss.file,
                    miss.label,
                    miss.number,
                    miss.confidence,
                    miss.status,
                    miss.source,
                ]
            )


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the exit status."""
    arguments = _parse(argv)
    rows: dict[str, list[str]] = {}
    misses = []
    print(f"{'set':20}" + "".join(f"{column.title:>10}" for column in COLUMNS))
    with closing(Client(arguments.url)) as client:
        model = _model(client)
        if model is None:
            sys.stderr.write(f"{arguments.url}: not a running digit recognition service\n")
            return 1
        for path in arguments.sets:
            readings = list(read_set(client.read, path))
            rows[path.stem] = row = cells(readings)
            misses += [(path.stem, reading) for reading in readings if not reading.is_right]
            print(f"{path.stem:20}" + "".join(f"{cell:>10}" for cell in row), flush=True)
    if arguments.misses:
        write_misses(arguments.misses, misses)
    if arguments.markdown:
        arguments.markdown.write_text(as_markdown(rows, model))
    return 0


def _model(client: Client) -> dict[str, str] | None:
    """Return the name and hash of a server's model, from its answer to a picture, if any."""
    # A minimal GIF, of one pixel.
    pixel = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002024401003b")
    _, answer, _ = client.read(pixel)
    model: dict[str, str] | None = answer.get("model")
    return model


def _url(text: str) -> str:
    if urlsplit(text).scheme not in {"http", "https"}:
        raise argparse.ArgumentTypeError(f"{text} starts with neither http:// nor https://")
    return text


def picture_set(text: str) -> Path:
    """Return the path of a set named on the command line."""
    if not zipfile.is_zipfile(text):
        raise argparse.ArgumentTypeError(f"{text} is not a zip file")
    return Path(text)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.score", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("url", type=_url, help="the server's, such as http://localhost:5000")
    parser.add_argument("sets", nargs="+", type=picture_set, metavar="SET.zip")
    parser.add_argument(
        "--misses", type=Path, metavar="FILE", help="write misread pictures to this CSV"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
