"""Metrics of one process and of several."""

import os
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from server.metrics import COUNTER, GAUGE, SECONDS, Metrics, Series
from tests.drawings import seven

SEVEN = seven()
SERIES = [
    Series("asked", "How often.", COUNTER, ("by",), [("a",), ("b",)]),
    Series("waiting", "How many.", GAUGE),
    Series("seconds", "How long.", (0.1, 1.0)),
]


def samples(text: bytes) -> dict[str, float]:
    """Return the value of each sample by its name with labels, as Prometheus' parser reads them."""
    return {
        "".join([sample.name, *(f" {k}={v}" for k, v in sorted(sample.labels.items()))]): (
            sample.value
        )
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def in_child(metrics: Metrics, asked: float) -> None:
    """Count in a child process, and wait for its exit."""
    pid = os.fork()
    if not pid:
        metrics.claim()
        metrics.add("asked", asked, ("a",))
        metrics.add("waiting", 1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_kinds() -> None:
    """Counters add up, gauges are set, and the buckets of histograms are cumulative."""
    metrics = Metrics(SERIES, {"name": "digit"}, 1)
    metrics.claim()

    metrics.add("asked", 2, ("b",))
    metrics.set("waiting", 3)
    for seconds in (0.05, 0.1, 0.5, 7):
        metrics.observe("seconds", seconds)

    found = samples(metrics.exposition())
    assert found["asked_total by=b"] == 2
    assert "asked_total by=a" not in found
    assert found["waiting"] == 3
    assert [found[f"seconds_bucket le={bound}"] for bound in ("0.1", "1.0", "+Inf")] == [2, 3, 4]
    assert found["seconds_count"] == 4
    assert found["seconds_sum"] == pytest.approx(7.65)
    assert found["digit_model_info name=digit"] == 1


def test_processes_add_up() -> None:
    """Every process reports the sums over all, including those that have exited."""
    metrics = Metrics(SERIES, {}, 2)
    metrics.claim()
    metrics.add("asked", 1, ("a",))

    for _ in range(3):
        in_child(metrics, 10)

    assert samples(metrics.exposition())["asked_total by=a"] == 31


def test_what_died_waits_for_nothing() -> None:
    """A new process starts with gauges of 0, whatever its predecessor was doing."""
    metrics = Metrics(SERIES, {}, 1)

    in_child(metrics, 1)
    metrics.claim()

    assert metrics.total("waiting") == [0]
    assert metrics.total("asked", ("a",)) == [1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_process_of_another_user_counts() -> None:
    """A process that may not be signalled is alive: its row is kept, its figures left out."""
    metrics = Metrics(SERIES, {}, 1)
    metrics.claim()
    metrics.set("waiting", 1)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.setuid(65534)
            metrics.claim()
            found = samples(metrics.exposition())
            told = [name for name in found if name.endswith("process=0")]
            status = int(found["waiting"] != 1 or told != [])
        finally:
            os._exit(status)

    assert os.waitpid(pid, 0)[1] == 0


def test_process_figures() -> None:
    """Memory, processor time and open files agree with the kernel's figures."""
    metrics = Metrics([], {}, 1)
    metrics.claim()

    found = samples(metrics.exposition())

    assert 2**20 < found["digit_process_resident_memory_bytes process=0"] < 2**36
    assert found["digit_process_cpu_seconds process=0"] > 0
    assert found["digit_process_open_fds process=0"] >= 3


def test_metrics_of_requests(client: TestClient, data: Path) -> None:
    """Requests, pictures, digits, confidence, stages and refusals are counted."""
    before = samples(client.get("/metrics").content)

    client.post("/recognize.json", content=(data / "800.png").read_bytes())
    client.post("/recognize.json", content=b"hello")
    client.get("/nowhere")
    after = samples(client.get("/metrics").content)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown("digit_requests_total route=/recognize.json status=200") == 1
    assert grown("digit_requests_total route=/recognize.json status=415") == 1
    assert grown("digit_requests_total route=none status=404") == 1
    assert grown("digit_refusals_total code=unsupported_format") == 1
    assert grown("digit_pictures_total") == grown("digit_confidence_count") == 1
    assert grown("digit_digits_total") == 3
    for stage in ("read", "wait", "decode", "locate", "classify", "encode"):
        assert grown(f"digit_stage_seconds_count stage={stage}") >= 1
    assert after["digit_waiting"] == after["digit_bytes_in_flight"] == 0
    assert set(SECONDS) >= {0.0001, 10.0}
