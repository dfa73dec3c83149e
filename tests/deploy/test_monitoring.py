"""The dashboard and the alerts: valid for Prometheus, and about metrics that exist."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from server.machine import MASTER_BYTES, MIB, WORKER_BYTES
from server.settings import REPOSITORY, load_settings
from tests.deploy.tools import judge, tool
from tests.drawings import seven

ALERTS = REPOSITORY / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = json.loads((REPOSITORY / "deploy" / "grafana" / "dashboard.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.fixture(scope="module")
def metrics(client: TestClient) -> str:
    """The metrics of a service that has read a picture, by either API."""
    client.post("/recognize.json", content=seven())
    client.post("/recognize.json", content=b"none")
    client.post(
        "/v2/models/recognize/infer",
        content=seven(),
        headers={"Inference-Header-Content-Length": "0"},
    )
    return client.get("/metrics").text


def test_metrics_are_valid(metrics: str) -> None:
    """The names, units and help of the metrics pass promtool."""
    command = [tool("promtool", "prometheus"), "check", "metrics"]

    verdict = subprocess.run(command, input=metrics, capture_output=True, text=True, check=False)

    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


def test_alerts() -> None:
    """The alerts are valid, and fire when they should and not before."""
    promtool = tool("promtool", "prometheus")

    judge(promtool, "check", "rules", str(ALERTS))
    judge(promtool, "test", "rules", str(ALERTS.with_name("alerts_test.yaml")))


@pytest.mark.parametrize("query", [*QUERIES, ALERTS.read_text()])
def test_names(metrics: str, query: str) -> None:
    """Every metric in a query is one that the service exports."""
    families = text_string_to_metric_families(metrics)
    names = {sample.name for family in families for sample in family.samples}

    assert set(re.findall(r"digit_\w+", query)) <= names


def test_memory() -> None:
    """The memory alert's threshold is above a process's default limits and below 256 MiB."""
    settings = load_settings({})
    most = MASTER_BYTES + WORKER_BYTES + settings.decode_budget_bytes + settings.bodies_bytes

    (bound,) = re.findall(r"resident_memory_bytes\) > (\S+)", ALERTS.read_text())

    assert most < float(bound) < 256 * MIB


def test_queries(tmp_path: Path) -> None:
    """Prometheus can parse the dashboard's queries."""
    rules = [
        {"record": f"query_{k}", "expr": query.replace("$__rate_interval", "5m")}
        for k, query in enumerate(QUERIES)
    ]
    # JSON is valid YAML.
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    judge(tool("promtool", "prometheus"), "check", "rules", str(path))
