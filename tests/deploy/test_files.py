"""Independent tools validate each platform's file."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.settings import REPOSITORY
from tests.deploy.tools import judge, tool

DEPLOY = REPOSITORY / "deploy"
# The tools of tests/requirements.txt are installed beside this Python.
HERE = "tests/requirements.txt"
DEBIAN = "Debian's package"


def test_dockerfile() -> None:
    """The Dockerfile passes hadolint."""
    judge(tool("hadolint", HERE), "Dockerfile")


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        ("app.json", "app.json"),
        ("render.yaml", "render.json"),
        ("fly.toml", "fly.json"),
        ("deploy/cloudrun/service.yaml", "cloudrun.json"),
    ],
)
def test_schema(file: str, schema: str) -> None:
    """A file has only names and values from its platform's reference."""
    check = tool("check-jsonschema", HERE)

    judge(check, "--schemafile", f"tests/deploy/schemas/{schema}", file)


def test_compose() -> None:
    """compose.yaml conforms to the Compose Specification."""
    judge(tool("check-jsonschema", HERE), "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_kubernetes() -> None:
    """Each resource is valid for Kubernetes, without unknown fields."""
    judge(tool("kubernetes-validate", HERE), "--strict", "deploy/kubernetes/digits.yaml")


def containers_of(file: str) -> list[dict[str, Any]]:
    """Return the containers in the first resource of a file."""
    spec = next(yaml.safe_load_all((DEPLOY / file).read_text()))["spec"]
    containers: list[dict[str, Any]] = spec.get("template", {}).get("spec", spec)["containers"]
    return containers


@pytest.mark.parametrize("file", ["cloudrun/service.yaml", "kserve/digits.yaml"])
def test_containers(file: str, tmp_path: Path) -> None:
    """Containers are valid for Kubernetes, without unknown fields."""
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "digits"},
        # Cloud Run names containers itself.
        "spec": {
            "containers": [{"name": "unnamed", **container} for container in containers_of(file)]
        },
    }
    (tmp_path / "pod.json").write_text(json.dumps(pod))

    judge(tool("kubernetes-validate", HERE), "--strict", str(tmp_path / "pod.json"))


@pytest.mark.parametrize("number", [0, 1])
def test_kserve(number: int, tmp_path: Path) -> None:
    """Each resource has only names and values from KServe's reference."""
    resource = list(yaml.safe_load_all((DEPLOY / "kserve/digits.yaml").read_text()))[number]
    (tmp_path / "resource.json").write_text(json.dumps(resource))

    check = tool("check-jsonschema", HERE)
    judge(
        check, "--schemafile", "tests/deploy/schemas/kserve.json", str(tmp_path / "resource.json")
    )


def test_kserve_finds_the_runtime() -> None:
    """The service names a runtime, and a format and protocol that the runtime supports."""
    runtime, service = yaml.safe_load_all((DEPLOY / "kserve/digits.yaml").read_text())
    model, spec = service["spec"]["predictor"]["model"], runtime["spec"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] in [
        known["name"] for known in spec["supportedModelFormats"]
    ]
    assert model["protocolVersion"] in spec["protocolVersions"]


@pytest.fixture
def unit(tmp_path: Path) -> str:
    """The systemd unit, with the paths of this checkout and this Python."""
    text = (DEPLOY / "systemd/digits.service").read_text()
    text = text.replace("/opt/digits/.venv/bin/python", sys.executable)
    path = tmp_path / "digits.service"
    path.write_text(text.replace("/opt/digits", str(REPOSITORY)))
    return str(path)


@pytest.fixture
def open_unit(unit: str) -> str:
    """The unit with the drop-in that lets it report to Sentry."""
    folder = Path(f"{unit}.d")
    folder.mkdir()
    shutil.copy(DEPLOY / "systemd/sentry.conf", folder)
    return unit


def test_systemd(open_unit: str) -> None:
    """Every line of the unit is valid for systemd."""
    said = judge(tool("systemd-analyze", f"{DEBIAN} systemd"), "verify", "--man=no", open_unit)

    # systemd warns about lines it does not understand; it may also warn about other units.
    assert [line for line in said.splitlines() if "digits.service" in line] == []


def exposure(unit: str, threshold: int) -> dict[str, str]:
    """Return systemd's exposure ratings; fail if the overall one is above threshold / 10."""
    analyze = tool("systemd-analyze", f"{DEBIAN} systemd")
    command = ["security", "--offline=yes", "--json=short", f"--threshold={threshold}", unit]
    return {one["json_field"]: one["exposure"] for one in json.loads(judge(analyze, *command))}


def test_sandbox(unit: str) -> None:
    """The unit's exposure, as systemd rates it, is at most 1.2 of 10; a plain unit's is 9.6."""
    assert exposure(unit, threshold=12)["IPAddressDeny"] == "0.1"


def test_sandbox_with_sentry(open_unit: str) -> None:
    """The drop-in for Sentry opens the network and nothing else."""
    assert exposure(open_unit, threshold=14)["IPAddressDeny"] == "0.2"


def test_one_dependency_file() -> None:
    """There is one dependency file: Heroku refuses files of more than one package manager."""
    managers = {"requirements.txt", "Pipfile", "Pipfile.lock", "poetry.lock", "uv.lock"}

    assert [name for name in managers if (REPOSITORY / name).exists()] == ["requirements.txt"]
    assert not (REPOSITORY / "runtime.txt").exists()
