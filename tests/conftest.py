"""What all tests share: the real model, the real app, and pictures that are drawn on the spot."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.image import Limits
from server.model import Models, load_models
from server.recognize import Recognizer
from server.settings import REPOSITORY, Settings, load_settings
from server.state import Readiness

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of true files."""
    return DATA


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The settings of an empty environment."""
    return load_settings({})


@pytest.fixture(scope="session")
def models(settings: Settings) -> Models:
    """The models in the repository."""
    return load_models(REPOSITORY / settings.locator, REPOSITORY / settings.classifier)


@pytest.fixture(scope="session")
def limits(settings: Settings, models: Models) -> Limits:
    """The limits of an empty environment."""
    return Limits(settings.decode_budget_bytes, models.locator.working_size)


@pytest.fixture(scope="session")
def recognizer(models: Models, limits: Limits) -> Recognizer:
    """The models in the repository under the default limits."""
    return Recognizer(models, limits)


@pytest.fixture(scope="session")
def client(recognizer: Recognizer, settings: Settings) -> Iterator[TestClient]:
    """A client of the real app with default settings."""
    app = create_app(recognizer, settings, Readiness())
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
