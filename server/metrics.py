"""Metrics for Prometheus, in memory that all processes of the service share.

For several processes, prometheus-client uses files, but this service writes none. So each process
has its own row of counters, to which no other writes, and whichever process is scraped adds up the
rows. prometheus-client formats the response.
"""

import errno
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

SECONDS: Final = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
CHANCES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
COUNTER, GAUGE = "counter", "gauge"
EXPOSITION_TYPE: Final = CONTENT_TYPE_LATEST

_PROC: Final = Path("/proc")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """One metric, with all values of its labels, which are known from the start.

    Attributes:
        name: without the suffix `_total` that counters get.
        help: what it measures, in words.
        kind: COUNTER, GAUGE, or the upper bounds of a histogram's buckets.
        labels: the labels' names.
        values: each combination of their values.
    """

    name: str
    help: str
    kind: str | tuple[float, ...]
    labels: Labels = ()
    values: Sequence[Labels] = ((),)

    @property
    def width(self) -> int:
        """Numbers per combination of values: 1, or a histogram's buckets, +Inf and the sum."""
        return 1 if isinstance(self.kind, str) else len(self.kind) + 2


class Metrics(Collector):
    """The values of a list of series."""

    def __init__(self, series: Iterable[Series], info: dict[str, str], processes: int) -> None:
        """Set all values to 0.

        Args:
            series: the metrics.
            info: identifies the model.
            processes: the number of workers, each of which counts in a row of its own.
        """
        self._series = {one.name: one for one in series}
        self._info = info
        self._place: dict[tuple[str, Labels], int] = {}
        # The first number of a row is the ID of the process that owns it.
        columns = 1
        for one in self._series.values():
            for values in one.values:
                self._place[one.name, values] = columns
                columns += one.width
        self._columns = columns
        # During a renewal, new workers run while old ones are still stopping.
        self._rows = 4 * processes + 4
        self._numbers = memoryview(mmap.mmap(-1, 8 * columns * self._rows)).cast("d")
        self._begin = 0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def claim(self) -> None:
        """Take a row that no living process owns; the counts of a dead one there are kept."""
        free = (row for row in self._row_starts() if not _is_alive(int(self._numbers[row])))
        self._begin = next(free, self._row_starts()[-1])
        self._numbers[self._begin] = os.getpid()
        for one in self._series.values():
            if one.kind == GAUGE:
                for values in one.values:
                    self.set(one.name, 0.0, values)

    def has(self, name: str, values: Labels) -> bool:
        """Return whether a series has these values for its labels."""
        return (name, values) in self._place

    def add(self, name: str, amount: float = 1.0, values: Labels = ()) -> None:
        """Add to a counter or a gauge."""
        self._numbers[self._begin + self._place[name, values]] += amount

    def set(self, name: str, number: float, values: Labels = ()) -> None:
        """Set a gauge."""
        self._numbers[self._begin + self._place[name, values]] = number

    def observe(self, name: str, number: float, values: Labels = ()) -> None:
        """Add an observation to a histogram."""
        bounds = self._series[name].kind
        place = self._begin + self._place[name, values]
        self._numbers[place + bisect_left(bounds, number)] += 1
        self._numbers[place + len(bounds) + 1] += number

    def total(self, name: str, values: Labels = ()) -> list[float]:
        """Return the numbers of a series, summed over all processes."""
        first, width = self._place[name, values], self._series[name].width
        numbers = self._numbers
        return [
            sum(numbers[begin + column] for begin in self._row_starts())
            for column in range(first, first + width)
        ]

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """Describe nothing: without this, the registry would call `collect` on registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield every series, then the kernel's figures of the processes."""
        yield InfoMetricFamily("digit_model", "The network that answers.", self._info)
        for one in self._series.values():
            yield self._family(one)
        yield from self._processes()

    def _family(self, one: Series) -> Metric:
        if isinstance(one.kind, str):
            kind = CounterMetricFamily if one.kind == COUNTER else GaugeMetricFamily
            family = kind(one.name, one.help, labels=one.labels)
            for values in one.values:
                (number,) = self.total(one.name, values)
                # Leave out the many combinations that never occurred.
                if number or len(one.values) == 1:
                    family.add_metric(values, number)
            return family
        histogram = HistogramMetricFamily(one.name, one.help, labels=one.labels)
        bounds = [*map(str, one.kind), "+Inf"]
        for values in one.values:
            *counts, total = self.total(one.name, values)
            if any(counts) or len(one.values) == 1:
                below = [sum(counts[: k + 1]) for k in range(len(counts))]
                histogram.add_metric(values, list(zip(bounds, below, strict=True)), total)
        return histogram

    def _processes(self) -> Iterator[Metric]:
        """Yield memory, processor time and open files of each living process, by its row."""
        memory = GaugeMetricFamily(
            "digit_process_resident_memory_bytes", "Resident memory.", labels=["process"]
        )
        seconds = GaugeMetricFamily(
            "digit_process_cpu_seconds", "Processor time since its start.", labels=["process"]
        )
        files = GaugeMetricFamily(
            "digit_process_open_fds", "Open file descriptors.", labels=["process"]
        )
        for row, begin in enumerate(self._row_starts()):
            place = _PROC / str(int(self._numbers[begin]))
            with suppress(OSError):
                ticks = (place / "stat").read_text().rpartition(")")[2].split()[11:13]
                pages = (place / "statm").read_text().split()[1]
                # Read everything before adding anything: a dead process's ID may now be another
                # user's process, whose descriptors cannot be read.
                opened = len(list((place / "fd").iterdir()))
                memory.add_metric([str(row)], int(pages) * _PAGE_BYTES)
                seconds.add_metric([str(row)], sum(map(int, ticks)) / _TICKS_PER_SECOND)
                files.add_metric([str(row)], opened)
        yield from (memory, seconds, files)

    def _row_starts(self) -> range:
        return range(0, self._columns * self._rows, self._columns)


def _is_alive(pid: int) -> bool:
    """Return whether a process may still be alive; 0 is none."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        # EPERM: the process exists, but is another user's: a dead one's ID was reused.
        return error.errno == errno.EPERM
    return pid != 0
