"""The command and variables with which each platform starts the service, read from its file."""

import json
import shlex
import tomllib
from dataclasses import dataclass, field
from typing import Any

import yaml

from server.machine import MIB
from server.settings import REPOSITORY

SERVER = ["python", "-m", "server"]


@dataclass(frozen=True)
class Platform:
    """A way to run the service.

    Attributes:
        environ: the variables that the platform and the file set.
        memory_bytes: the limit above which it is killed.
    """

    name: str
    command: list[str]
    environ: dict[str, str]
    memory_bytes: int = 0
    checks: list[str] = field(default_factory=list)


def load(path: str) -> Any:
    """Return a YAML file's first document, or a JSON file's."""
    return next(yaml.safe_load_all((REPOSITORY / path).read_text()))


def heroku() -> Platform:
    """The Procfile's web process on a dyno of 512 MB, whose buildpack sets two workers."""
    processes = yaml.safe_load((REPOSITORY / "Procfile").read_text())
    own = {name: entry["value"] for name, entry in load("app.json")["env"].items()}
    platform = {"DYNO": "web.1", "WEB_CONCURRENCY": "2", "WEB_CONCURRENCY_SET_BY": "heroku/python"}
    return Platform("Heroku", ["sh", "-c", processes["web"]], platform | own, 512 * MIB)


def render() -> Platform:
    """The blueprint's only service."""
    (service,) = load("render.yaml")["services"]
    own = {entry["key"]: entry["value"] for entry in service["envVars"]}
    return Platform(
        "Render",
        ["sh", "-c", service["startCommand"]],
        {"RENDER": "true", "PORT": "10000"} | own,
        512 * MIB,
        [service["healthCheckPath"]],
    )


def image() -> Platform:
    """The Dockerfile's final stage, under compose.yaml; other platforms inherit its variables."""
    lines = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    words = [word for line in lines if line.startswith("ENV ") for word in shlex.split(line)[1:]]
    environ = dict(word.split("=", 1) for word in words)
    # The packages come from the tests' own environment.
    del environ["PYTHONPATH"]
    (command,) = (json.loads(line[4:]) for line in lines if line.startswith("CMD "))
    limit = load("compose.yaml")["services"]["digits"]["mem_limit"]
    return Platform("Docker", command, environ, int(limit.removesuffix("m")) * MIB)


def fly() -> Platform:
    """The image in a Fly.io machine."""
    config = tomllib.loads((REPOSITORY / "fly.toml").read_text())
    (machine,), service = config["vm"], config["http_service"]
    assert str(service["internal_port"]) == image().environ["PORT"]
    return Platform(
        "Fly.io",
        image().command,
        {"FLY_APP_NAME": config["app"]} | image().environ | config.get("env", {}),
        int(machine["memory"].removesuffix("mb")) * MIB,
        [check["path"] for check in service["checks"]],
    )


def _in_container(name: str, container: dict[str, Any], environ: dict[str, str]) -> Platform:
    own = {entry["name"]: entry["value"] for entry in container.get("env", [])}
    (port,) = (entry["containerPort"] for entry in container["ports"])
    assert str(port) == image().environ["PORT"]
    probes = [container[key] for key in container if key.endswith("Probe")]
    return Platform(
        name,
        image().command,
        image().environ | environ | own,
        int(container["resources"]["limits"]["memory"].removesuffix("Mi")) * MIB,
        [probe["httpGet"]["path"] for probe in probes],
    )


def cloud_run() -> Platform:
    """The image, with the PORT that Cloud Run sets."""
    (container,) = load("deploy/cloudrun/service.yaml")["spec"]["template"]["spec"]["containers"]
    return _in_container("Cloud Run", container, {"K_SERVICE": "digits", "PORT": "8080"})


def kubernetes() -> Platform:
    """The Deployment's container."""
    (container,) = load("deploy/kubernetes/digits.yaml")["spec"]["template"]["spec"]["containers"]
    return _in_container("Kubernetes", container, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})


def kserve() -> Platform:
    """The runtime's container."""
    (container,) = load("deploy/kserve/digits.yaml")["spec"]["containers"]
    return _in_container("KServe", container, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})


def systemd() -> Platform:
    """The unit's command and variables."""
    lines = (REPOSITORY / "deploy/systemd/digits.service").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    words = [word for key, value in pairs if key == "Environment" for word in value.split()]
    unit = {key: value for key, value in pairs}
    return Platform(
        "systemd",
        ["python", *unit["ExecStart"].split()[1:]],
        dict(word.split("=", 1) for word in words) | {"INVOCATION_ID": "0" * 32},
        int(unit["MemoryMax"].removesuffix("M")) * MIB,
    )


PLATFORMS = [
    heroku(),
    render(),
    image(),
    fly(),
    cloud_run(),
    kubernetes(),
    kserve(),
    systemd(),
]
