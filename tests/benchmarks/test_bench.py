"""The benchmark: real services under a real load for a second, and the report of the figures."""

import io
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.bench import PHOTO_SIZE, batch, bodies, form, photo, report, table
from benchmarks.chart import bars
from benchmarks.load import BenchmarkError, Measured, Service, cpu_seconds, measure
from benchmarks.promises import promises
from server.settings import REPOSITORY
from tests.processes import serving

HERE = Path(sys.executable)
FLOOR = Service(
    "floor",
    ["-m", "uvicorn", "--port", "PORT", "--log-level", "warning", "benchmarks.peers.floors:app"],
    HERE,
)
OURS = Service("ours", ["-m", "server"], HERE)
ONE = Measured(start=0.31, idle=60.0, after=70.0, rate=2000.0, cpu=400.0, p50=3.5, p99=5.0)
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


@needs_wrk
@pytest.mark.parametrize(
    ("service", "sent"),
    [
        (FLOOR, "GET"),
        (OURS, "bare"),
        pytest.param(FLOOR, "form", marks=pytest.mark.slow),
        pytest.param(OURS, "form", marks=pytest.mark.slow),
    ],
)
def test_a_service_is_measured(service: Service, sent: str, tmp_path: Path) -> None:
    """A measurement has plausible figures."""
    found = measure(service, bodies()[sent], connections=2, seconds=1, folder=tmp_path)
    assert found.rate > 10
    assert 0 < found.cpu < 1e6
    assert 0 < found.p50 <= found.p99
    assert 0 < found.start < 30
    assert 10 < found.idle < 500


def test_a_service_that_exits_is_reported(tmp_path: Path) -> None:
    """A service that exits is reported with its exit status."""
    broken = Service("broken", ["-c", "raise SystemExit(3)"], HERE)
    with pytest.raises(BenchmarkError, match="broken ended with status 3"):
        measure(broken, None, connections=1, seconds=1, folder=tmp_path)


def test_a_wrong_answer_is_reported(tmp_path: Path) -> None:
    """A service that answers wrongly is not measured."""
    blank = io.BytesIO()
    Image.new("L", (28, 28), 255).save(blank, "PNG")
    with pytest.raises(BenchmarkError, match="ours read '', not '7'"):
        measure(OURS, form(blank.getvalue(), "0.png", "image/png"), 1, 1, tmp_path)


def test_processor_time_is_of_all_processes() -> None:
    """Processor time is that of the master and its workers."""
    with serving({"WEB_CONCURRENCY": "2"}) as service:
        assert cpu_seconds(service.process.pid) > 0.1


@needs_wrk
@pytest.mark.slow
def test_promises_are_measured(tmp_path: Path) -> None:
    """Each promise has a measurement."""
    small = (REPOSITORY / "tests" / "data" / "mnist-7.png").read_bytes()
    alone = form(small, "7.png", "image/png")
    rows = promises(OURS, alone, (batch(small, 4), 4), 1, tmp_path)
    assert all(re.match(r"\d", measured) for _, measured in rows)


def test_the_photo_is_like_a_phone_photo() -> None:
    """The photo has full size, and a realistic file size."""
    data = photo()
    assert Image.open(io.BytesIO(data)).size == PHOTO_SIZE
    assert 150_000 < len(data) < 600_000


def test_figures_stand_beside_the_floor() -> None:
    """The cost of a request is also given as a multiple of a constant answer's."""
    found = {("floor", "GET"): [ONE], ("ours", "form"): [Measured(0.4, 60, 70, 900, 1200, 8, 11)]}
    rows = table(found, {"floor": 30.0, "ours": 150.0})
    assert rows[2].startswith("| floor | GET | 2,000 (2,000 to 2,000) | 400 us | 1.0 |")
    assert rows[3] == (
        "| ours | form | 900 (900 to 900) | 1,200 us | 3.0 | 8.0 / 11.0 ms | 60 / 70 MB | 0.40 s "
        "| 150 MB |"
    )
    kept = [("a batch", "50%")]
    written = report(found, {"floor": 30.0, "ours": 150.0}, kept, rounds=1, seconds=2)
    assert "\n".join(rows) in written
    assert "\n| a batch | 50% |\n" in written


def test_the_chart_is_svg() -> None:
    """Each value has a bar, the longest for the largest, and names are escaped."""
    root = ET.fromstring(bars("Requests & more", {"ours": 200.0, "a <peer>": 50.0}))
    boxes = root.findall("{http://www.w3.org/2000/svg}rect")
    assert [float(box.get("width", 0)) for box in boxes] == [380, 95]
