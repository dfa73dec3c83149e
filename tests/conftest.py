"""Fixtures of all tests: the real models and the real app; also the order of the tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from starlette.testclient import TestClient
from xdist.scheduler import LoadScopeScheduling

from server.app import create_app
from server.image import Limits
from server.model import Models, load_models
from server.recognize import Recognizer
from server.settings import REPOSITORY, Settings, load_settings
from server.state import Readiness

TESTS = Path(__file__).parent
DATA = TESTS / "data"

# No deadline: the time of an example depends on what else the machine does.
hypothesis_settings.register_profile("short", deadline=None, max_examples=50)
hypothesis_settings.register_profile("long", deadline=None, max_examples=1000)
hypothesis_settings.load_profile("short")

# These run in one process: tests that share an export, which is slow, and attacks, one at a time.
TOGETHER = {
    "tests/attack": ("fuzz", "overload", "restarts", "slow"),
    "tests/export": ("main", "contract", "harvest", "locate_model", "to_onnx", "verify"),
}
GROUPS = {
    f"{folder}/test_{name}.py": folder for folder, names in TOGETHER.items() for name in names
}
# The longest start first, so that none is left over at the end. Some of them mostly wait, while the
# browser tests and trainings compute.
LONGEST = [
    *GROUPS,
    "tests/page/test_view.py",
    "tests/server/test_protocol.py",
    "tests/page/test_draw.py",
    "tests/server/test_main.py",
    "tests/server/test_master.py",
    "tests/page/test_bring.py",
    "tests/deploy/test_proxies.py",
    "tests/benchmarks/test_bench.py",
    "tests/server/test_openapi.py",
    "tests/deploy/test_platforms.py",
]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Run the tests of a file, and those of a group of files, in one process."""
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = lambda nodeid: GROUPS.get(file_of(nodeid), file_of(nodeid))
    return scheduler


def file_of(nodeid: str) -> str:
    """Return the file of a test."""
    return nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest tests."""
    order = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(file_of(item.nodeid), len(order)))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of picture files."""
    return DATA


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The default settings."""
    return load_settings({})


@pytest.fixture(scope="session")
def models(settings: Settings) -> Models:
    """The models in the repository."""
    return load_models(REPOSITORY / settings.locator, REPOSITORY / settings.classifier)


@pytest.fixture(scope="session")
def limits(settings: Settings, models: Models) -> Limits:
    """The default limits."""
    return Limits(settings.decode_budget_bytes, models.locator.working_size)


@pytest.fixture(scope="session")
def recognizer(models: Models, limits: Limits) -> Recognizer:
    """The repository's models with the default limits."""
    return Recognizer(models, limits)


@pytest.fixture(scope="session")
def client(recognizer: Recognizer, settings: Settings) -> Iterator[TestClient]:
    """A client of the real app with default settings."""
    app = create_app(recognizer, settings, Readiness())
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
