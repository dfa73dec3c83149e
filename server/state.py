"""What the endpoints share, and what they note of each request."""

from dataclasses import dataclass
from typing import TypedDict

from server.admission import Admission
from server.metrics import Metrics
from server.recognize import Recognizer
from server.settings import Settings
from server.telemetry import Record
from server.worker import Worker


@dataclass
class Readiness:
    """Whether the service should be sent requests: warm, and not about to stop."""

    is_warm: bool = False
    is_draining: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether it is both."""
        return self.is_warm and not self.is_draining


class State(TypedDict):
    """What the lifespan hands to the endpoints, and, for each request, its record."""

    recognizer: Recognizer
    worker: Worker
    admission: Admission
    settings: Settings
    readiness: Readiness
    metrics: Metrics
    record: Record
