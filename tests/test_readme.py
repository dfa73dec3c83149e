"""The README is right: its examples run, and its tables are complete."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from server.settings import REPOSITORY, SETTINGS, Setting
from tests.processes import PATIENCE_SECONDS, Service, serving
from tests.server.test_errors import all_problems

README = (REPOSITORY / "README.md").read_text()
LOCAL = "http://localhost:5000"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


CURLS = [line for line in README.splitlines() if "curl " in line and LOCAL in line]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving() as service:
        yield service


def run(command: list[str], text: str, service: Service) -> str:
    return subprocess.check_output(
        [*command, text.replace(LOCAL, service.url)],
        cwd=REPOSITORY,
        text=True,
        timeout=PATIENCE_SECONDS,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("command", CURLS)
def test_curl(command: str, service: Service) -> None:
    """Each curl command gets the number in its picture's name."""
    answer = json.loads(run(["sh", "-c"], command, service))

    answers = answer.get("answers", [answer])
    names = re.findall(r"tests/data/\w*?-?(\d+)\.", command)
    assert [answer["number"] for answer in answers] == names


@pytest.mark.parametrize("example", blocks("python"), ids=["standard library", "httpx"])
def test_python(example: str, service: Service) -> None:
    """The Python examples print the number and the confidence."""
    assert run([sys.executable, "-c"], example, service).startswith("7 0.9")


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_javascript(service: Service) -> None:
    """The JavaScript example prints the number."""
    (example,) = blocks("js")
    file = 'const file = require("fs").readFileSync("tests/data/7.png");'

    output = run(["node", "-e"], f"{file}\n(async () => {{ {example} }})()", service)

    assert output == "7\n"


def test_answer(client: TestClient) -> None:
    """The answer shown is the real one, except for figures."""
    shown = json.loads(blocks("json")[0])

    given = client.post(
        "/recognize.json", content=(REPOSITORY / "tests/data/7.png").read_bytes()
    ).json()

    assert shown.keys() == given.keys()
    assert shown["digits"][0].keys() == given["digits"][0].keys()
    assert shown["number"] == given["number"]
    assert shown["image"] == given["image"]
    assert shown["digits"][0]["box"] == pytest.approx(given["digits"][0]["box"], abs=8)


def test_problem(client: TestClient) -> None:
    """The problem document shown has the real one's fields and code."""
    response = client.post(
        "/recognize.json", content=b"hello", headers={"content-type": "text/plain"}
    )
    shown = json.loads(blocks("json")[1])

    assert shown.keys() == response.json().keys()
    assert shown["code"] == response.json()["code"]


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.variable)
def test_settings(setting: Setting) -> None:
    """Every setting is in the table with its default."""
    assert f"| `{setting.variable}` | {setting.default} |" in README


@pytest.mark.parametrize("problem", all_problems())
def test_errors(problem: type) -> None:
    """Every error is in the table with its status."""
    assert f"| {vars(problem)['status']} | `{vars(problem)['code']}` |" in README


def test_scores() -> None:
    """The README's accuracies and confident errors are those of models/SCORES.md."""
    scores = (REPOSITORY / "models" / "SCORES.md").read_text()
    measured = dict(re.findall(r"^\| (\w+) \| (.+) \|$", scores, re.MULTILINE))
    stated = re.findall(r"^\| .+ \| `(\w+)` \| (\d+) \| (.+%) \| (.+%) \|$", README, re.MULTILINE)

    assert {name for name, *_ in stated} == measured.keys() - {"set"}
    for name, *figures in stated:
        count, exact, _, none, _, wrong, *_ = measured[name].split(" | ")
        assert figures == [count, none if exact == "-" else exact, wrong], name


def test_figures_are_of_this_model(client: TestClient) -> None:
    """The answer shown and the scores name the current model."""
    picture = (REPOSITORY / "tests/data/7.png").read_bytes()
    model = client.post("/recognize.json", content=picture).json()["model"]
    scores = (REPOSITORY / "models" / "SCORES.md").read_text()

    assert json.loads(blocks("json")[0])["model"] == model
    assert f"`{model['name']}.onnx`, SHA-256 `{model['sha256']}...`" in scores


def test_steps() -> None:
    """The baseline of docs/reading.md's ablation table matches models/SCORES.md."""
    scores = (REPOSITORY / "models" / "SCORES.md").read_text()
    rows = re.findall(r"^\| \w+ \| (\d+) \| (\S+)%? \| .+? \| (.+?)% ", scores, re.MULTILINE)
    right = [
        round(int(count) * float((none if exact == "-" else exact).rstrip("%")) / 100)
        for count, exact, none in rows
    ]
    steps = (REPOSITORY / "docs" / "reading.md").read_text()

    assert f"| nothing | {sum(right):,} |" in steps


def test_security() -> None:
    """Every module and test that SECURITY.md names exists."""
    text = (REPOSITORY / "SECURITY.md").read_text()
    paths = set(re.findall(r"`((?:server|tests)/[\w/]+\.py)`", text))

    assert len(paths) > 10
    assert all((REPOSITORY / path).exists() for path in paths)


def test_known_vulnerabilities_are_of_locked_versions() -> None:
    """SECURITY.md's table has the locked versions, so that a new lock prompts a new review."""
    lock = (REPOSITORY / "requirements.lock").read_text()
    security = (REPOSITORY / "SECURITY.md").read_text()
    table = re.findall(r"^\| ([a-z0-9-]+) \| ([0-9.]+) \|", security, re.MULTILINE)
    assert table == re.findall(r"^([a-z0-9-]+)==([0-9.]+)", lock, re.MULTILINE)
